"""Runs: the frames that one time bucket of state is made of, so that a snapshot writes only what is new.

A batch appends one small frame (a run) under an id of its own, ``<bucket>/<sequence>``, instead of rewriting the bucket. Runs are merged
now and then by the step that owns them. An id may come again with another frame, as any bucket may: the frame object tells what is new.
"""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from operators.contract import State


def runs_by_bucket(ids: Iterable[str]) -> dict[str, list[int]]:
    """Gives the sequence numbers of each bucket's runs, oldest first."""
    buckets: dict[str, list[int]] = {}
    for run in ids:
        bucket, _, sequence = run.rpartition("/")
        buckets.setdefault(bucket, []).append(int(sequence))
    for sequences in buckets.values():
        sequences.sort()
    return buckets


def run_id(bucket: str, sequence: int) -> str:
    """Gives the id of a run."""
    return f"{bucket}/{sequence}"


def frames_of(state: State, bucket: str, sequences: Iterable[int]) -> list[pl.DataFrame]:
    """Gives the frames of some runs of a bucket, in the order asked."""
    return [state[run_id(bucket, sequence)] for sequence in sequences]
