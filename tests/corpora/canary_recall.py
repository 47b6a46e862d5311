"""What masking misses of the canary corpus without any fault, by the same search that looks for leaks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import polars as pl

from governance.parse import default_policy
from models.results import TextModels
from schemas.events import RAW
from streams.config import Config
from streams.front_steps import front_steps
from streams.registry import open_registry
from tests.corpora.canary_leaves import TIME_MS, Canary
from tests.corpora.canary_writings import Search

_KEY = b"a key for tests, thirty-two bytes long"


def raw(canaries: Sequence[Canary]) -> pl.DataFrame:
    """Gives the records as they are polled."""
    rows = [
        (one.topic, 0, offset, TIME_MS, one.key, one.event, next((value.decode() for name, value in one.headers if name == "traceparent"), None))
        for offset, one in enumerate(canaries)
    ]
    return pl.DataFrame(rows, schema=RAW, orient="row")


def missed(canaries: Sequence[Canary], models: TextModels | None = None) -> set[str]:
    """Gives the values that come out of the front steps in any writing."""
    frame = raw(canaries)
    for step in front_steps(Config(), default_policy(), _KEY, open_registry(Config()), models):
        outcome = step(frame)
        frame = outcome.batch
        assert outcome.dead.is_empty(), "what is rejected would count as masked"
    data = "\n".join(repr(row) for row in frame.rows()).encode("utf-8", "surrogatepass")
    return Search(one.value for one in canaries).found_in(data)


def counts(canaries: Sequence[Canary], out: set[str]) -> Iterator[tuple[str, str, int, int]]:
    """Gives entity, kind of leaf, canaries and how many of them were missed, in order."""
    for entity, leaf in sorted({(one.entity, one.leaf) for one in canaries}):
        held = [one for one in canaries if (one.entity, one.leaf) == (entity, leaf)]
        yield entity, leaf, len(held), sum(one.value in out for one in held)
