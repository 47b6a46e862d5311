"""The id of an event's user is found wherever it stands, by the short way (looks) as by the long one (the texts taken apart before)."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote

import polars as pl
import pytest

from governance.parse import default_policy
from operators.pii.event_values import EventValues
from operators.pii.key_names import KEY_ENTITIES, KeyNames
from operators.pii.leaves import LeafReader
from operators.pii.mask import MaskSpec, TextMasker
from operators.pii.replace import Actions
from schemas.events import CONTENT

USER = "mia_li_3668"
INNER = json.dumps({"id": USER, "more": ["x"]})
TEXTS = (
    json.dumps({"user": USER}),
    json.dumps({"user": USER.upper(), USER: 1}),
    json.dumps({"inner": INNER, "no": "thing"}),
    json.dumps({"inner": json.dumps({"deeper": INNER})}),
    json.dumps({"first": 1, "b": base64.b64encode(INNER.encode()).decode()}),
    json.dumps({"p": quote(INNER, safe="")}),
    json.dumps(USER).replace("i", "\\u0069"),
    json.dumps({"é": f"of {USER.title()}"}, ensure_ascii=False),
    json.dumps({"middle_name": "Ann", "last_name": "Li", "note": "Ann Li wrote"}),
    json.dumps({"nothing": "at all", "part": f"x{USER}x"}),
)


def masked(others: tuple[str, ...], *, apart: bool) -> list[str | None]:
    """Masks an event whose input names its user, and whose output is one of the others."""
    policy = default_policy()
    values = EventValues(policy.pii, LeafReader(KeyNames(KEY_ENTITIES), 64))
    if apart:
        values._parts_hint = ""  # every text holds a part
    empty: dict[str, list[str | None]] = {column: [None] * len(others) for column in CONTENT}
    columns = {**empty, CONTENT[0]: [json.dumps({"of": USER})] * len(others), CONTENT[1]: list(others)}
    found = values.found(pl.DataFrame({"user_id": [USER] * len(others), **columns}, schema_overrides=dict.fromkeys(CONTENT, pl.String)))
    assert bool(found.looks) is not apart
    named = [found.names.get(row, {}).get(CONTENT[1], ()) for row in range(len(others))]
    looks = [found.looks.get(row, {}).get(CONTENT[1], ()) for row in range(len(others))]
    masker = TextMasker(MaskSpec(Actions(key=b"sixteen bytes ok"), names=frozenset({"PERSON_ID", "PERSON"})))
    return masker.mask_json(others, named, looks, found.documents).values


def test_the_short_way_masks_what_the_long_one_masks() -> None:
    short = masked(TEXTS, apart=False)
    assert short == masked(TEXTS, apart=True)
    assert [text != raw for text, raw in zip(short, TEXTS, strict=True)] == [True] * 9 + [False]


@pytest.mark.parametrize("user", ["12345678", "a b-c/d", "José_1"])
def test_ids_that_json_may_write_otherwise_are_always_looked_for(user: str) -> None:
    values = EventValues(default_policy().pii, LeafReader(KeyNames(KEY_ENTITIES), 64))
    columns = {CONTENT[0]: [json.dumps(user, ensure_ascii=False)], CONTENT[1]: ['{"no":"trace of it"}']}
    rest = {column: pl.Series([None], dtype=pl.String) for column in CONTENT[2:]}
    found = values.found(pl.DataFrame({"user_id": [user], **columns, **rest}))
    assert set(found.looks[0]) == {CONTENT[0], CONTENT[1]}
