"""What a front is told by the build: windows, micro-batches, labels, and what runs the encoder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

FILE = "settings.json"


@dataclass(frozen=True, slots=True)
class Runner:
    """What runs the encoder.

    Attributes:
        kind: ``onnxruntime`` in this process, or ``triton``: another model of the same server (a TensorRT plan).
        model: File beside ``model.py``, or name of the other model.
        output: What it gives.
        providers: Of ONNX Runtime, each with its options; ignored for ``triton``.
    """

    kind: str
    model: str
    output: str
    providers: Mapping[str, Mapping[str, str]] = field(default_factory=lambda: {"CPUExecutionProvider": {}})


@dataclass(frozen=True, slots=True)
class Settings:
    """What a front is told.

    Attributes:
        runner: What runs the encoder.
        window_tokens: Longest row, special tokens included.
        overlap_tokens: What two windows of a text share (at most, where windows begin at sentences).
        rows_max: Rows that run at once.
        cells_max: Rows that run at once times the longest of them.
        text_bytes_max: Longest text that is read; a longer one is refused.
        labels: What the head gives.
        thresholds: By label or entity.
    """

    runner: Runner
    window_tokens: int = 128
    overlap_tokens: int = 32
    rows_max: int = 32
    cells_max: int = 2_048
    text_bytes_max: int = 1 << 20
    labels: tuple[str, ...] = ()
    thresholds: Mapping[str, float] = field(default_factory=dict)

    def text(self) -> str:
        """Gives the settings as JSON."""
        return json.dumps(asdict(self), indent=2, sort_keys=True) + "\n"


def read_settings(path: Path) -> Settings:
    """Gives the settings that ``Settings.text`` wrote."""
    found = json.loads(path.read_text(encoding="utf-8"))
    return Settings(**{**found, "runner": Runner(**found["runner"]), "labels": tuple(found["labels"])})
