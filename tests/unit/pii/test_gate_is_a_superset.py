"""The gate never shuts out a text that a pattern matches."""

from __future__ import annotations

import re
import sys

import pytest
import regex

from operators.pii.fold import fold_table
from operators.pii.gate import Gate, GatePattern
from operators.pii.superset import superset

FLAGS = regex.IGNORECASE | regex.MULTILINE | regex.DOTALL


def test_the_fold_table_knows_every_character_that_matches_a_digit_or_a_letter() -> None:
    digit, letter = regex.compile(r"\d", FLAGS), regex.compile("[a-z]", FLAGS)
    other_digit, other_letter = re.compile(r"\d"), re.compile("[a-z]", re.IGNORECASE)
    everything = "".join(chr(code) for code in range(0x80, sys.maxunicode + 1) if not 0xD800 <= code < 0xE000)
    digits = set(digit.findall(everything)) | set(other_digit.findall(everything))
    letters = set(letter.findall(everything)) | set(other_letter.findall(everything))
    assert {chr(code) for code, to in fold_table().items() if to == "0"} == digits
    assert {chr(code): to for code, to in fold_table().items() if to != "0"} == dict.fromkeys(letters, "") | {
        "\u0130": "i", "\u0131": "i", "\u017f": "s", "\u212a": "k",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (r"\bT-\d{4}\b", "x T-1234 y"),
        (r"(?<=zip\s{0,4})\d{5}", "zip 12345"),
        (r"a?b*cd+(?=x)", "cddx"),
        (r"([ab])\1{2}", "bbb"),
        (r"[^a]z", "éz"),
        (r"\w+@\w+", "é@é"),
        (r"ſtar", "STAR"),
        (r"star", "\u017ftar"),
        (r"Ångström", "ångström"),
        (r"\d{3}", "١٢٣"),
        (r"kelvin", "\u212aelvin"),
        (r"\p{Lu}x", "Éx"),
        (r"(?:ab){e<=1}", "ac"),
        (r"a.b", "a\nb"),
        (r"(?>a+)b|c{2,}", "aab"),
        (r"^x$", "a\nx\nb"),
        (r"[а-я]{2}\d", "ДА7"),
        (r"\bé\b", "é"),
        (r"[\w.]+\s[-–]", "ü\u00a0–"),
    ],
)
def test_a_text_that_a_pattern_matches_passes_its_gate(pattern: str, text: str) -> None:
    assert regex.compile(pattern, FLAGS).search(text)
    # The second pattern keeps the database from being empty.
    gate = Gate([GatePattern.of(pattern), GatePattern.of("zzzzzzzz")])
    for around in ("", "é "):
        assert regex.compile(pattern, FLAGS).search(around + text) is None or gate.masks([around + text])[0] & 1


@pytest.mark.parametrize("pattern", [r"\p{Lu}x", "(?:ab){e<=1}", "a*", "(?i", "[[a-z]--[b]]x", r"x\K\d"])
def test_a_pattern_without_a_known_superset_has_no_gate(pattern: str) -> None:
    assert superset(pattern, ascii_text=True) is None
    assert superset(pattern, ascii_text=False) is None


def test_the_gate_is_shut_where_nothing_can_match() -> None:
    gate = Gate([GatePattern.of(r"\bT-\d{4}\b"), GatePattern.of("[a-z]+@[a-z]+")])
    assert gate.masks(["plain text", "T-12", "grüß dich"]) == [0, 0, 0]
    assert gate.masks(["T-1234", "a@b", "T-1234 a@b", "T-1234 ü"]) == [1, 2, 3, 1]
