"""Seeded weights in the place of trained ones, for tests only: they are of the right shape and mean nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from models.build.heads import LABELS
from models.spec import GUARD_LABELS, NAME_ENTITIES

RANK, ALPHA = 4, 8


def write_weights(folder: Path, seed: int = 7) -> Path:
    """Writes the weights of every model that has some; gives the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, labels in LABELS.items():
        draw = np.random.default_rng([seed, len(labels)])
        arrays = {"head.weight": draw.normal(0, 0.3, (len(labels), 384)), "head.bias": draw.normal(0, 0.3, len(labels))}
        for layer, linear, size_in, size_out in ((0, "attention.self.query", 384, 384), (5, "output.dense", 1536, 384)):
            key = f"encoder.layer.{layer}.{linear}.weight"
            arrays[f"{key}.lora_a"] = draw.normal(0, 0.05, (RANK, size_in))
            arrays[f"{key}.lora_b"] = draw.normal(0, 0.05, (size_out, RANK))
        thresholds = dict.fromkeys(GUARD_LABELS if name == "guard" else NAME_ENTITIES, 0.5 if name == "guard" else 0.3)
        metadata = {"lora_alpha": str(ALPHA), "lora_rank": str(RANK), "labels": ",".join(labels), "thresholds": json.dumps(thresholds)}
        save_file({key: array.astype(np.float16) for key, array in arrays.items()}, folder / f"{name}.safetensors", metadata)
    return folder
