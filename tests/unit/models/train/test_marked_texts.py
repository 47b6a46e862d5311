"""Texts that say where their names are, and what a token is then."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.base_encoder import load_base
from models.front.spans import names
from models.front.tokens import TextTokenizer
from models.spec import TOKEN_CLASSES
from models.train.names.marked import LEFT_OUT, NamedText, mark, read_marks, token_classes

_WORDS = st.text(st.sampled_from("ab c.\n"), min_size=1, max_size=5)
_PIECES = st.lists(st.tuples(st.sampled_from(["", "PERSON", "LOCATION", "UNSURE"]), _WORDS), max_size=8)


@pytest.fixture(scope="module")
def tokenizer() -> TextTokenizer:
    path: Path = load_base().tokenizer
    return TextTokenizer(path)


@given(_PIECES)
def test_marks_leave_the_text_and_say_where_each_name_is(pieces: list[tuple[str, str]]) -> None:
    found = read_marks("".join(mark(entity, text) if entity else text for entity, text in pieces))
    assert found.text == "".join(text for _, text in pieces)
    expected = [(entity, text) for entity, text in pieces if entity and text.strip()]
    assert [(entity, found.text[start:end]) for start, end, entity in found.spans] == expected


def test_a_name_begins_with_b_goes_on_with_i_and_what_is_unsure_is_left_out(tokenizer: TextTokenizer) -> None:
    text = read_marks("Hi [[PERSON|mia_li]]_3668, [[UNSURE|TX]] or [[LOCATION|New York]]?")
    tokens = tokenizer([text.text])[0]
    classes = [TOKEN_CLASSES[number] if number != LEFT_OUT else "left out" for number in token_classes(text, tokens)]
    words = [text.text[start:end] for start, end in zip(tokens.starts, tokens.ends, strict=True)]
    assert dict(zip(words[1:4], classes[1:4], strict=True)) == {"mia": "B-PERSON", "_": "I-PERSON", "li": "I-PERSON"}
    assert set(classes[4 : words.index(",")]) == {"O"}
    assert classes[words.index("TX") if "TX" in words else words.index("tx")] == "left out"
    assert classes[-3:] == ["B-LOCATION", "I-LOCATION", "O"]


def test_classes_that_are_right_give_the_marked_spans_back(tokenizer: TextTokenizer) -> None:
    text: NamedText = read_marks('{"name": {"first_name": "[[PERSON|Mia]]", "last_name": "[[PERSON|Li]]"}, "city": "[[LOCATION|Salt Lake City]]"}')
    tokens = tokenizer([text.text])[0]
    certain = np.eye(len(TOKEN_CLASSES), dtype=np.float32)[token_classes(text, tokens)]
    assert [(span.start, span.end, span.entity) for span in names(text.text, tokens, certain, TOKEN_CLASSES)] == list(text.spans)
