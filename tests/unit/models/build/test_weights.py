"""Weights that do not fit are refused before anything is written, each problem with its place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from models.base_encoder import load_base
from models.build.repository import Order, build
from models.spec import GUARD_LABELS
from models.tuned import load_tuned
from schemas.errors import ConfigError

KEY = "encoder.layer.0.attention.self.query.weight"
METADATA = {"lora_alpha": "8", "lora_rank": "4", "labels": ",".join(GUARD_LABELS), "thresholds": json.dumps({"injection": 0.4})}


def changed(folder: Path, seeded: Path, metadata: dict[str, str] | None = None, **arrays: Any) -> Path:
    """Writes the seeded weights of guard with some arrays changed, or taken away where None is given."""
    kept = {**load_file(seeded / "guard.safetensors"), **{key.replace("__", "."): value for key, value in arrays.items()}}
    save_file(
        {key: value for key, value in kept.items() if value is not None}, folder / "guard.safetensors", METADATA if metadata is None else metadata
    )
    return folder / "guard.safetensors"


def test_a_delta_is_scaled_and_added(tmp_path: Path, seeded_weights: Path) -> None:
    tuned = load_tuned(changed(tmp_path, seeded_weights), GUARD_LABELS)
    arrays = {key: value.astype(np.float32) for key, value in load_file(tmp_path / "guard.safetensors").items()}
    base = load_base().weights
    merged = tuned.merged(base)
    np.testing.assert_allclose(merged[KEY], base[KEY] + 2 * arrays[f"{KEY}.lora_b"] @ arrays[f"{KEY}.lora_a"], atol=1e-6)
    assert [key for key in base if merged[key] is not base[key]] == [KEY, "encoder.layer.5.output.dense.weight"]
    assert tuned.thresholds == {"injection": 0.4}


@pytest.mark.parametrize(
    ("arrays", "metadata", "told"),
    [
        ({"head__bias": None}, None, "head.bias is missing"),
        ({f"{KEY.replace('.', '__')}__lora_b": None}, None, f"{KEY}.lora_a has no partner"),
        ({"head__weight": np.zeros((2, 384), np.float32)}, None, "head.weight has 2 rows, required are 3"),
        ({"head__bias": np.array([0, np.nan, 0], np.float32)}, None, "numbers that are not finite"),
        ({}, {**METADATA, "labels": "toxicity,injection"}, "its labels must be injection,jailbreak,toxicity, they are toxicity,injection"),
        ({}, {"labels": METADATA["labels"]}, "its metadata does not state lora_alpha and lora_rank"),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    tmp_path: Path, seeded_weights: Path, arrays: dict[str, Any], metadata: dict[str, str] | None, told: str
) -> None:
    path = changed(tmp_path, seeded_weights, metadata, **arrays)
    with pytest.raises(ConfigError, match=told.replace("(", r"\(")) as refused:
        load_tuned(path, GUARD_LABELS)
    assert str(path) in str(refused.value)


def test_a_delta_of_a_weight_that_the_base_has_not_is_refused(tmp_path: Path, seeded_weights: Path) -> None:
    strange = {"pooler__x__lora_a": np.zeros((4, 3), np.float32), "pooler__x__lora_b": np.zeros((5, 4), np.float32)}
    tuned = load_tuned(changed(tmp_path, seeded_weights, **strange), GUARD_LABELS)
    with pytest.raises(ConfigError, match=r"guard.safetensors: a delta of \[5, 3\] for pooler.x, the base has none"):
        tuned.merged(load_base().weights)


def test_what_is_no_safetensors_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "guard.safetensors").write_bytes(b"not weights")
    with pytest.raises(ConfigError, match="cannot be read as safetensors"):
        load_tuned(tmp_path / "guard.safetensors", GUARD_LABELS)


def test_without_weights_nothing_is_built(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"guard\.safetensors: no such file; .*headrace models train guard"):
        build(Order("cpu", tmp_path / "repository", weights=tmp_path))
    assert not (tmp_path / "repository").exists()
