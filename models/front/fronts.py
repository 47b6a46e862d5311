"""The fronts of the three models: from texts to the tensors that a client is given.

A text scores the same alone as in any batch: its windows depend on itself only, padding is masked, and no scale is shared between rows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .rows import Encode, run_rows
from .settings import Settings
from .spans import names
from .tokens import TextTokenizer, Tokens
from .windows import Window, most_central, room, sentence_starts, sentence_windows, strides

Tensors = dict[str, NDArray[Any]]
#: Gives the outputs of a model for texts, one row a text.
Front = Callable[[Sequence[str]], Tensors]

_DIGITS: Final = 6


class _Windowed:
    """Reads texts window by window."""

    def __init__(self, tokenizer: TextTokenizer, encode: Encode, settings: Settings) -> None:
        self._tokenizer, self._encode, self._settings = tokenizer, encode, settings
        self._size = room(settings.window_tokens)

    def _run(self, texts: Sequence[str]) -> list[tuple[Tokens, list[Window], list[NDArray[np.float32]]]]:
        """Gives for each text its tokens, its windows, and what the encoder made of each."""
        tokens = self._tokenizer(texts)
        windows = [self._windows(text, one) for text, one in zip(texts, tokens, strict=True)]
        rows = [self._tokenizer.row(one, *window) for one, cut in zip(tokens, windows, strict=True) for window in cut]
        made = iter(run_rows(self._encode, rows, self._settings, self._tokenizer.padding_id))
        return [(one, cut, [next(made) for _ in cut]) for one, cut in zip(tokens, windows, strict=True)]

    def _windows(self, text: str, tokens: Tokens) -> list[Window]:
        return sentence_windows(sentence_starts(text, tokens), tokens.count, self._size, self._settings.overlap_tokens)


class Embedder(_Windowed):
    """One vector of length 1 a text: the mean over its windows, each weighing as many tokens as it has. A text with nothing to read has one too."""

    def __call__(self, texts: Sequence[str]) -> Tensors:
        """Gives EMBEDDING."""
        vectors = [np.average(made, axis=0, weights=[window.stop - window.first + 2 for window in windows]) for _, windows, made in self._run(texts)]
        found = np.array(vectors, np.float32)
        return {"EMBEDDING": found / np.linalg.norm(found, axis=1, keepdims=True)}

    def _windows(self, text: str, tokens: Tokens) -> list[Window]:
        return super()._windows(text, tokens) or [Window(0, 0)]


class Guard(_Windowed):
    """Scores of each window, and of the text: the largest. A text with nothing to read scores 0 and has no windows."""

    def __call__(self, texts: Sequence[str]) -> Tensors:
        """Gives SCORES and WINDOWS."""
        scores = np.zeros((len(texts), len(self._settings.labels)), np.float32)
        told = []
        for row, (tokens, windows, made) in enumerate(self._run(texts)):
            if windows:
                scores[row] = np.max(made, axis=0)
            told.append(
                [
                    [int(tokens.starts[window.first]), int(tokens.ends[window.stop - 1]), *(round(float(score), _DIGITS) for score in one)]
                    for window, one in zip(windows, made, strict=True)
                ]
            )
        return {"SCORES": scores, "WINDOWS": _json_rows(told)}


class PiiTagger(_Windowed):
    """Names in each text; each token's class is taken from the window in which it is most central."""

    def __call__(self, texts: Sequence[str]) -> Tensors:
        """Gives SPANS."""
        labels, thresholds = self._settings.labels, self._settings.thresholds
        told = []
        for text, (tokens, windows, made) in zip(texts, self._run(texts), strict=True):
            classes = merged(windows, made, tokens.count, len(labels))
            told.append([[*span[:3], round(span.score, _DIGITS)] for span in names(text, tokens, classes, labels, thresholds)])
        return {"SPANS": _json_rows(told)}

    def _windows(self, text: str, tokens: Tokens) -> list[Window]:
        return strides(tokens.count, self._size, self._settings.overlap_tokens)


def merged(windows: Sequence[Window], made: Sequence[NDArray[np.float32]], count: int, labels: int) -> NDArray[np.float32]:
    """Gives float32[tokens, labels]: the classes of each token from the window in which it is most central.

    Args:
        windows: Of a text.
        made: What the encoder made of each: a row for each token, the first of them for ``[CLS]``; rows behind the window's own are padding.
        count: Tokens of the text.
        labels: Classes.
    """
    found = np.zeros((count, labels), np.float32)
    chosen = most_central(windows, count)
    for number, (window, classes) in enumerate(zip(windows, made, strict=True)):
        own = chosen[window.first : window.stop] == number
        found[window.first : window.stop][own] = classes[1 : window.stop - window.first + 1][own]
    return found


def _json_rows(values: Sequence[object]) -> NDArray[np.object_]:
    """Gives object[rows, 1] of JSON texts in bytes."""
    rows = np.empty((len(values), 1), object)
    rows[:, 0] = [json.dumps(value, separators=(",", ":")).encode() for value in values]
    return rows


FRONTS: Final[Mapping[str, type[Embedder] | type[Guard] | type[PiiTagger]]] = {"embedder": Embedder, "guard": Guard, "pii_tagger": PiiTagger}
