"""Rows of tokens through an encoder: sorted by length, in micro-batches, and back in the order they came."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from .batches import by_length, padded
from .settings import Settings

#: Runs int32[rows, tokens] of ids and the mask beside them; gives float32 with a row for each.
Encode = Callable[[NDArray[np.int32], NDArray[np.int32]], NDArray[np.float32]]


def onnx_encoder(folder: Path, settings: Settings, threads: int) -> Encode:
    """Gives an encoder that ONNX Runtime runs in this process.

    Args:
        folder: Where the model of the settings lies.
        settings: Which model, which output, which providers.
        threads: Threads of one run; 0 means one a core. They sleep between runs instead of
            spinning: the pipeline shares these cores.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    providers = [(name, dict(given)) for name, given in settings.runner.providers.items()]
    session = onnxruntime.InferenceSession(str(folder / settings.runner.model), options, providers=providers)
    output = settings.runner.output

    def encode(ids: NDArray[np.int32], mask: NDArray[np.int32]) -> NDArray[np.float32]:
        found: NDArray[np.float32] = session.run([output], {"input_ids": ids, "attention_mask": mask})[0]
        return found

    return encode


def run_rows(encode: Encode, rows: Sequence[NDArray[np.int64]], settings: Settings, padding_id: int) -> list[NDArray[np.float32]]:
    """Gives what the encoder makes of each row, in the order of the rows."""
    found: list[NDArray[np.float32]] = [np.empty(0, np.float32)] * len(rows)
    for group in by_length([len(row) for row in rows], settings.rows_max, settings.cells_max):
        for row, made in zip(group, encode(*padded([rows[number] for number in group], padding_id)), strict=True):
            found[row] = made
    return found
