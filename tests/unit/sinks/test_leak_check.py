"""The second look finds what masking must have replaced, and nothing that masking lets through."""

from __future__ import annotations

from itertools import islice

import pytest

from governance.parse import default_policy
from operators.pii.mask import TextMasker
from operators.pii.step import mask_spec
from sinks.leak_check import LeakCheck
from tests.corpora.agent_text import endless
from tests.corpora.noisy_pii import NoisyPii

CHECK = LeakCheck(LeakCheck.ENTITIES)


@pytest.mark.parametrize(
    ("entity", "text"),
    [
        ("EMAIL_ADDRESS", "write to mia.li@example.com, please"),
        ("EMAIL_ADDRESS", '{"to":"MIA@EXAMPLE.CO.UK"}'),
        ("CREDIT_CARD", "card 4111 1111 1111 1111 was used"),
        ("CREDIT_CARD", "pan=5500005555555559;"),
        ("US_SSN", "ssn 536-22-1145."),
        ("PHONE_NUMBER", "call +49 30 901820 or"),
        ("PHONE_NUMBER", "+12125550147"),
    ],
)
def test_personal_data_is_found_wherever_it_stands(entity: str, text: str) -> None:
    assert CHECK.first(["clean", text]) == entity
    assert LeakCheck(LeakCheck.ENTITIES - {entity}).first([text]) is None


@pytest.mark.parametrize(
    "text",
    [
        "write to <EMAIL_ADDRESS> or <EMAIL_ADDRESS:kjdmgbpahcol>",
        "user@host.internal and @pytest.fixture",
        "order 4111 1111 1111 1112",  # the check digit is wrong
        "id 41111111111111111111",
        "000-12-3456, 536-22-11456, 123-45-6789",
        "+999 1234 5678",
        "2026-01-02T03:04:05.678Z took 5044 ms, trace 4bf92f3577b34da6a3ce929d0e0e4736",
    ],
)
def test_what_only_looks_like_it_passes(text: str) -> None:
    assert CHECK.first([text]) is None


def test_nothing_that_the_masker_lets_through_is_stopped_and_raw_texts_are() -> None:
    texts = [*islice(endless(11), 1_000), *NoisyPii(11).texts(2_000)]
    masked = TextMasker(mask_spec(default_policy(), b"k" * 32)).mask_plain(texts).values
    assert [text for text in masked if text is not None and CHECK.first([text]) is not None] == []
    assert {CHECK.first([text]) for text in texts} == {None, *LeakCheck.ENTITIES}
