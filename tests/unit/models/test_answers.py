"""Only what can be an answer becomes a result; a refusal names the output and never what was in it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from models.answers import READERS
from models.failures import FailureKind, ModelFailure
from models.results import GuardScores, NameSpan, WindowScores
from models.spec import model_spec


def cells(*values: object) -> Any:
    column = np.empty((len(values), 1), np.object_)
    column[:, 0] = [value if isinstance(value, bytes) else json.dumps(value).encode() for value in values]
    return column


def read(model: str, outputs: dict[str, Any], chars: Sequence[int]) -> list[Any]:
    return READERS[model](model_spec(model), outputs, chars, "7")


def unit(count: int) -> Any:
    vectors = np.zeros((count, 384), np.float32)
    vectors[:, 0] = 1
    return vectors


def scores(*rows: Sequence[float]) -> Any:
    return np.array(rows, np.float32)


def test_right_answers_become_results_in_order() -> None:
    vectors = unit(2)
    vectors[1] = np.roll(vectors[1], 3)
    assert np.array_equal(read("embedder", {"EMBEDDING": vectors}, [1, 2]), vectors)
    given = {"SCORES": scores([0.5, 0.25, 0.0], [0.0, 0.0, 1.0]), "WINDOWS": cells([[0, 4, 0.5, 0.0, 0.0], [3, 7, 0.0, 0.25, 0.0]], [])}
    assert read("guard", given, [7, 0]) == [
        GuardScores(0.5, 0.25, 0.0, (WindowScores(0, 4, 0.5, 0.0, 0.0), WindowScores(3, 7, 0.0, 0.25, 0.0)), "7"),
        GuardScores(0.0, 0.0, 1.0, (), "7"),
    ]
    spans = {"SPANS": cells([[0, 3, "PERSON", 0.9], [3, 9, "LOCATION", 1.0]], [])}
    assert read("pii_tagger", spans, [9, 4]) == [(NameSpan(0, 3, "PERSON", 0.9), NameSpan(3, 9, "LOCATION", 1.0)), ()]


def test_a_row_does_not_keep_its_batch_in_memory() -> None:
    (row, _) = read("embedder", {"EMBEDDING": unit(2)}, [1, 1])
    assert row.base is None


WINDOW = cells([[0, 4, 0.5, 0.5, 0.5]])
HALF = scores([0.5, 0.5, 0.5])
WRONG: list[tuple[str, dict[str, Any]]] = [
    ("embedder", {}),
    ("embedder", {"EMBEDDING": None}),
    ("embedder", {"EMBEDDING": unit(1)[:, :383]}),
    ("embedder", {"EMBEDDING": unit(1)[:0]}),
    ("embedder", {"EMBEDDING": unit(1).astype(np.float64)}),
    ("embedder", {"EMBEDDING": unit(1) + np.nan}),
    ("embedder", {"EMBEDDING": unit(1) + np.inf}),
    ("embedder", {"EMBEDDING": unit(1) * 0.5}),
    ("guard", {"SCORES": HALF}),
    ("guard", {"SCORES": HALF[:, :2], "WINDOWS": WINDOW}),
    ("guard", {"SCORES": scores([0.5, 0.5, np.nan]), "WINDOWS": WINDOW}),
    ("guard", {"SCORES": scores([0.5, 0.5, 1.1]), "WINDOWS": WINDOW}),
    ("guard", {"SCORES": scores([0.5, 0.5, -0.1]), "WINDOWS": WINDOW}),
    ("guard", {"SCORES": scores([0.5, 0.5, 0.9]), "WINDOWS": WINDOW}),
    ("guard", {"SCORES": HALF, "WINDOWS": cells([[0, 5, 0.5, 0.5, 0.5]])}),
    ("guard", {"SCORES": HALF, "WINDOWS": cells([[-1, 4, 0.5, 0.5, 0.5]])}),
    ("guard", {"SCORES": HALF, "WINDOWS": cells([[0, 4, 0.5, 0.5]])}),
    ("guard", {"SCORES": HALF, "WINDOWS": cells(b"[[0,4,NaN,0.5,0.5]]")}),
    ("guard", {"SCORES": HALF, "WINDOWS": cells(b"")}),
    ("pii_tagger", {"SPANS": cells(b"\xff")}),
    ("pii_tagger", {"SPANS": cells({"secret words": 1})}),
    ("pii_tagger", {"SPANS": cells([[0, 5, "PERSON", 0.9]])}),
    ("pii_tagger", {"SPANS": cells([[2, 2, "PERSON", 0.9]])}),
    ("pii_tagger", {"SPANS": cells([[0, 3, "PERSON", 0.9], [2, 4, "PERSON", 0.9]])}),
    ("pii_tagger", {"SPANS": cells([[2, 4, "PERSON", 0.9], [0, 1, "PERSON", 0.9]])}),
    ("pii_tagger", {"SPANS": cells([[0, 4, "secret words", 0.9]])}),
    ("pii_tagger", {"SPANS": cells([[0, 4, "PERSON", 1.9]])}),
    ("pii_tagger", {"SPANS": np.zeros((1, 1), np.float32)}),
    ("pii_tagger", {"SPANS": np.hstack([cells([]), cells([])])}),
]


@pytest.mark.parametrize(("model", "outputs"), WRONG)
def test_what_cannot_be_an_answer_is_refused_without_its_words(model: str, outputs: dict[str, Any]) -> None:
    with pytest.raises(ModelFailure) as caught:
        read(model, outputs, [4])
    assert caught.value.kind is FailureKind.INVALID
    assert model in str(caught.value)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
