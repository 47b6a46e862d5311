"""What people and agents write about cards, births and addresses, and what is left of it under the default policy."""

from __future__ import annotations

import json
from functools import cache

import polars as pl
import pytest

from governance.parse import default_policy
from operators.pii.step import Mask
from schemas.events import EVENT, ROW_WATERMARK

FIELDS = {"topic": "agent_events", "partition": 0, "kind": "agent", "event_type": "x", "event_time": 1_700_000_000_000, "agent_id": "a"}


@cache
def mask() -> Mask:
    # Building one takes seconds, and masking has no state that shows.
    return Mask(default_policy(), b"a key of thirty-two bytes or so.")


def masked(texts: list[str]) -> list[str]:
    rows = [{**FIELDS, "offset": at, "event_id": f"e{at}", "input": json.dumps(text)} for at, text in enumerate(texts)]
    outcome = mask()(pl.DataFrame(rows, schema={**EVENT, **ROW_WATERMARK}))
    assert outcome.batch.height == len(texts)
    return [json.loads(text) for text in outcome.batch["input"]]


CARDS = [
    ("I'll use my 7447 card.", "I'll use my <CARD_LAST_FOUR>."),
    ("pay with the 7447 credit card please", "pay with the <CARD_LAST_FOUR> please"),
    ("my Visa ending in 7447", "my Visa <CARD_LAST_FOUR>"),
    ("the last four digits are 7447", "the <CARD_LAST_FOUR>"),
    ('"last_four": "7447"', '"<CARD_LAST_FOUR>"'),
    ("payment credit_card_7447", "payment <CARD_LAST_FOUR>"),
    ("debit card (7447)", "<CARD_LAST_FOUR>)"),
    ("credit card #7447", "<CARD_LAST_FOUR>"),
]
BIRTHS = [
    ("born 1990-04-05", "born <DATE_TIME>"),
    ("dob 04/05/1990.", "dob <DATE_TIME>."),
    ("born on April 5, 1990", "born on <DATE_TIME>"),
    ("born on Apr. 5th 1990", "born on <DATE_TIME>"),
    ("born 5 April 1990", "born <DATE_TIME>"),
    ("the 5th of April, 1990", "the <DATE_TIME>"),
    ('{"dob":"1990-04-05"}', '{"dob":"<DATE_TIME>"}'),
    ('{"profile":"{\\"dob\\":\\"1990-04-05\\"}"}', '{"profile":"{\\"dob\\":\\"<DATE_TIME>\\"}"}'),
]
ADDRESSES = [
    ("Austin, TX 78750", "Austin, <US_ZIP>"),
    ("Austin, TX, 78750-1234", "Austin, <US_ZIP>"),
    ("my zip code is 78750", "my <US_ZIP>"),
    ("ZIP: 78750", "<US_ZIP>"),
    ("zip code 78750", "<US_ZIP>"),
    ('{"zip":"78750"}', '{"zip":"<US_ZIP>"}'),
    ('{"address1":"975 Sunset Drive","city":"Austin"}', '{"address1":"<LOCATION>","city":"Austin"}'),
]
#: What an airline's agents write all day. None of it is personal by pattern.
HARMLESS = [
    "flight HAT123 from JFK to LAX",
    "reservation NO6JO3, NM1VX1 and 4WQ150",
    "it costs 1234 dollars",
    "a $1000 gift card",
    "the 1000 gift card",
    "May 20th at 3 pm",
    "use credit_card_4421486 and certificate_4856383",
    "user mia_li_3668",
    "departs 15:00:00 EST",
    "bags: 3, insurance: no, total 2604.0",
    "-1234 cards left",
]


@pytest.mark.parametrize("table", [CARDS, BIRTHS, ADDRESSES], ids=["cards", "births", "addresses"])
def test_what_a_pattern_can_know_is_masked(table: list[tuple[str, str]]) -> None:
    assert masked([text for text, _ in table]) == [left for _, left in table]


def test_what_is_not_personal_stays() -> None:
    assert masked(HARMLESS) == HARMLESS
