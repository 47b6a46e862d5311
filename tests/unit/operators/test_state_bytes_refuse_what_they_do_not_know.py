"""Snapshot bytes give the same frame back, or a ConfigError that says what to do."""

from __future__ import annotations

import polars as pl
import pytest

from operators.contract import StateSpec
from operators.registry import OPERATORS
from operators.state_bytes import from_bytes, to_bytes
from schemas.errors import ConfigError

SPECS = [operator.state for operator in OPERATORS if operator.state is not None]
SPEC = StateSpec(3, pl.Schema({"a": pl.Int64(), "b": pl.List(pl.Int16())}), "16 bytes")
FRAME = pl.DataFrame({"a": [1, None], "b": [[1, 2], []]}, schema=SPEC.schema)


@pytest.mark.parametrize("spec", SPECS)
def test_an_empty_bucket_of_every_operator_comes_back(spec: StateSpec) -> None:
    empty = spec.schema.to_frame()
    assert from_bytes(to_bytes(empty, spec.version), spec).equals(empty)


def test_a_frame_of_several_chunks_comes_back() -> None:
    frame = pl.concat([FRAME, FRAME], rechunk=False)
    assert from_bytes(to_bytes(frame, 3), SPEC).equals(frame)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "0 bytes do not start"),
        (b"HRSB", "4 bytes do not start"),
        (b"ARROW1\x00\x00", "8 bytes do not start"),
        (to_bytes(FRAME, 2), "reads version 3, the snapshot holds version 2"),
        (to_bytes(FRAME.drop("b"), 3), "changed without a new version"),
        (to_bytes(FRAME.cast({"a": pl.Int32}), 3), "changed without a new version"),
    ],
)
def test_foreign_bytes_are_refused_before_the_first_record(data: bytes, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        from_bytes(data, SPEC)
