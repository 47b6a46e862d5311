"""Triton's tensors become results, or the answer is refused: wrong shape, not finite, out of range, offsets outside of the text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.failures import FailureKind, ModelFailure
from models.results import GuardScores, NameSpan, WindowScores
from models.spec import EMBEDDING_SIZE, GUARD_LABELS, NAME_ENTITIES, ModelSpec

#: What a model's outputs are, by name, as they came.
Outputs = Mapping[str, NDArray[Any] | None]
#: Gives one result a text.
Reader = Callable[[ModelSpec, Outputs, Sequence[int], str], list[Any]]

#: How far a vector's length may be from 1, and a text's score from the largest of its windows (float32, and JSON with few digits).
LENGTH_TOLERANCE: Final = 1e-2
MAXIMUM_TOLERANCE: Final = 2e-3

_WINDOWS: Final = msgspec.json.Decoder(list[tuple[int, int, float, float, float]])
_SPANS: Final = msgspec.json.Decoder(list[tuple[int, int, str, float]])


def read_embeddings(spec: ModelSpec, outputs: Outputs, chars: Sequence[int], version: str) -> list[NDArray[np.float32]]:
    """Gives float32[384] a text, each of length 1.

    Args:
        spec: The model.
        outputs: Its answer.
        chars: Length of each text, in characters.
        version: Of the model, as the server told it.

    Raises:
        ModelFailure: Of kind invalid.
    """
    vectors = _floats(spec, outputs, "EMBEDDING", (len(chars), EMBEDDING_SIZE))
    lengths = np.linalg.norm(vectors, axis=1)
    if np.abs(lengths - 1.0).max(initial=0.0) > LENGTH_TOLERANCE:
        raise _invalid(spec, "EMBEDDING: a vector is not of length 1")
    # Copies: a row that is kept must not keep its whole batch.
    return [np.array(row) for row in vectors]


def read_guard_scores(spec: ModelSpec, outputs: Outputs, chars: Sequence[int], version: str) -> list[GuardScores]:
    """Gives the scores of each text; see ``read_embeddings``."""
    scores = _floats(spec, outputs, "SCORES", (len(chars), len(GUARD_LABELS)))
    if scores.size and not (scores.min() >= 0.0 and scores.max() <= 1.0):
        raise _invalid(spec, "SCORES: a score is outside 0 to 1")
    windows = _json(spec, outputs, "WINDOWS", len(chars), _WINDOWS)
    return [_guarded(spec, version, *one) for one in zip(scores.tolist(), windows, chars, strict=True)]


def read_name_spans(spec: ModelSpec, outputs: Outputs, chars: Sequence[int], version: str) -> list[tuple[NameSpan, ...]]:
    """Gives the names in each text; see ``read_embeddings``."""
    found = _json(spec, outputs, "SPANS", len(chars), _SPANS)
    return [_spans(spec, *one) for one in zip(found, chars, strict=True)]


#: How the answer of each model is read.
READERS: Final[Mapping[str, Reader]] = {"embedder": read_embeddings, "guard": read_guard_scores, "pii_tagger": read_name_spans}


def _guarded(
    spec: ModelSpec, version: str, scores: Sequence[float], windows: Sequence[tuple[int, int, float, float, float]], chars: int
) -> GuardScores:
    for start, end, *each in windows:
        if not (0 <= start <= end <= chars and all(0.0 <= score <= 1.0 for score in each)):
            raise _invalid(spec, "WINDOWS: a window lies outside of its text, or a score outside 0 to 1")
    largest = [max(window[2 + label] for window in windows) for label in range(len(scores))] if windows else scores
    if any(abs(of_windows - score) > MAXIMUM_TOLERANCE for of_windows, score in zip(largest, scores, strict=True)):
        raise _invalid(spec, "SCORES: a score is not the largest of its windows")
    injection, jailbreak, toxicity = scores
    return GuardScores(injection, jailbreak, toxicity, tuple(WindowScores(*window) for window in windows), version)


def _spans(spec: ModelSpec, found: Sequence[tuple[int, int, str, float]], chars: int) -> tuple[NameSpan, ...]:
    last = 0
    for start, end, entity, score in found:
        if not (last <= start < end <= chars):
            raise _invalid(spec, "SPANS: a span lies outside of its text, is empty, or overlaps the one before it")
        if entity not in NAME_ENTITIES or not 0.0 <= score <= 1.0:
            raise _invalid(spec, "SPANS: an entity is unknown, or a score outside 0 to 1")
        last = end
    return tuple(NameSpan(*span) for span in found)


def _floats(spec: ModelSpec, outputs: Outputs, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    array = _array(spec, outputs, name, shape)
    if array.dtype != np.float32:
        raise _invalid(spec, f"{name}: float32 is required, {array.dtype} came")
    if not np.isfinite(array).all():
        raise _invalid(spec, f"{name}: a number is not finite")
    return array


def _json(spec: ModelSpec, outputs: Outputs, name: str, count: int, decoder: msgspec.json.Decoder[Any]) -> list[Any]:
    array = _array(spec, outputs, name, (count, 1))
    if array.dtype != np.object_:
        raise _invalid(spec, f"{name}: bytes are required, {array.dtype} came")
    failed = False
    try:
        return [decoder.decode(cell) for cell in array.ravel()]
    except (msgspec.MsgspecError, UnicodeDecodeError, TypeError):
        failed = True  # raised below: the foreign error quotes what it read
    assert failed
    raise _invalid(spec, f"{name}: not the JSON that models/spec.py names")


def _array(spec: ModelSpec, outputs: Outputs, name: str, shape: tuple[int, ...]) -> NDArray[Any]:
    array = outputs.get(name)
    if array is None:
        raise _invalid(spec, f"{name}: is absent")
    if array.shape != shape:
        raise _invalid(spec, f"{name}: shape {list(shape)} is required, {list(array.shape)} came")
    return array


def _invalid(spec: ModelSpec, detail: str) -> ModelFailure:
    return ModelFailure(spec.name, FailureKind.INVALID, detail)
