"""Erase: nothing of an erased person goes on, and nobody else's event is touched."""

from __future__ import annotations

import polars as pl

from operators.erase import Erase
from schemas.events import EVENT, MASKED


def events(*users: str | None) -> pl.DataFrame:
    rows = [{"topic": "agent_events", "partition": 0, "offset": n, "user_id": user, "agent_id": "a"} for n, user in enumerate(users)]
    return pl.DataFrame(rows, schema={**EVENT, **MASKED})


def test_events_of_erased_persons_are_left_out_and_say_why() -> None:
    outcome = Erase({"u_1", "u_3"})(events("u_1", "u_2", None, "u_3"))
    assert outcome.batch["user_id"].to_list() == ["u_2", None]
    told = ("erase", "filtered", "erased")
    assert outcome.dead.select("offset", "step", "disposition", "code").rows() == [(0, *told), (3, *told)]
    assert "u_1" not in str(outcome.dead.to_dicts())


def test_where_nobody_was_erased_the_batch_is_the_same() -> None:
    batch = events("u_1", None)
    assert Erase(())(batch).batch is batch
    assert Erase({"u_9"})(batch).batch is batch
