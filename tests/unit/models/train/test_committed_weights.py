"""The committed weights are small, whole and of the agreed form."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.spec import GUARD_LABELS, NAME_ENTITIES, TOKEN_CLASSES
from models.tuned import WEIGHTS, Tuned, load_tuned, lora_a, save_tuned

_SIZE_MOST_BYTES = 1_000_000
_MODELS = {"guard": (GUARD_LABELS, GUARD_LABELS), "pii_tagger": (TOKEN_CLASSES, NAME_ENTITIES)}


@pytest.mark.parametrize("model", _MODELS)
def test_the_build_reads_them_and_thresholds_are_stated(model: str) -> None:
    path = WEIGHTS / f"{model}.safetensors"
    labels, thresholds = _MODELS[model]
    tuned = load_tuned(path, labels)
    assert path.stat().st_size < _SIZE_MOST_BYTES
    assert tuned.thresholds.keys() == set(thresholds)
    assert all(0 < value < 1 for value in tuned.thresholds.values())
    assert {"seed", "steps", "rows", "base"} <= tuned.provenance.keys()
    assert any(key.endswith(lora_a("")) for key in tuned.arrays), "a head alone was not fine-tuned"


def test_what_is_saved_is_what_is_read(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "x.safetensors"
    arrays = {"head.weight": np.ones((2, 384), np.float32), "head.bias": np.zeros(2, np.float32)}
    given = Tuned(arrays, ("a", "b"), 8, 16.0, {"a": 0.5, "b": 0.25}, {"seed": "3"})
    save_tuned(given, path)
    read = load_tuned(path, ("a", "b"))
    assert (read.labels, read.rank, read.alpha) == (("a", "b"), 8, 16.0)
    assert (dict(read.thresholds), dict(read.notes)) == ({"a": 0.5, "b": 0.25}, {"seed": "3"})
    np.testing.assert_array_equal(read.arrays["head.weight"], arrays["head.weight"])
