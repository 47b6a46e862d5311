"""Micro-batches: rows of like length run together, so that little is computed for padding."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def by_length(lengths: Sequence[int], rows_max: int, cells_max: int) -> list[list[int]]:
    """Groups rows by length; each row is in one group.

    Args:
        lengths: Tokens of each row.
        rows_max: Rows of a group at most.
        cells_max: Rows of a group times its longest row at most (one row alone may be longer), so that what is computed at once stays in the caches.

    Returns:
        Numbers of rows, shortest rows first; equal lengths in the order they came.
    """
    groups: list[list[int]] = []
    group: list[int] = []
    for row in sorted(range(len(lengths)), key=lengths.__getitem__):
        if group and (len(group) == rows_max or (len(group) + 1) * lengths[row] > cells_max):
            groups.append(group)
            group = []
        group.append(row)
    return [*groups, group] if group else groups


def padded(rows: Sequence[NDArray[np.int64]], padding_id: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Gives int32[rows, longest] of ids, padded behind, and the mask that is 1 where a token is."""
    longest = max(map(len, rows))
    ids = np.full((len(rows), longest), padding_id, np.int32)
    mask = np.zeros((len(rows), longest), np.int32)
    for number, row in enumerate(rows):
        ids[number, : len(row)] = row
        mask[number, : len(row)] = 1
    return ids, mask
