"""A bucket of state as bytes, and back: what snapshots hold on every engine.

Layout: 4 bytes ``HRSB``, 4 bytes version (big-endian), then one Arrow IPC stream with LZ4-compressed buffers.
"""

from __future__ import annotations

import struct
from io import BytesIO
from typing import Final

import polars as pl

from operators.contract import StateSpec
from schemas.errors import ConfigError

_MAGIC: Final = b"HRSB"
_HEADER: Final = struct.Struct(">4sI")


def to_bytes(frame: pl.DataFrame, version: int) -> bytes:
    """Gives the bytes of one bucket's frame, marked with the version of its step's ``StateSpec``."""
    body = BytesIO()
    frame.rechunk().write_ipc_stream(body, compression="lz4")
    return _HEADER.pack(_MAGIC, version) + body.getvalue()


def from_bytes(data: bytes, spec: StateSpec) -> pl.DataFrame:
    """Gives the frame back.

    Raises:
        ConfigError: The bytes are no bucket, or of another version or schema than the step now has.
    """
    if len(data) < _HEADER.size or data[: len(_MAGIC)] != _MAGIC:
        raise ConfigError(f"snapshot state: {len(data)} bytes do not start as a bucket of state does; the recovery directory is not this pipeline's")
    _, version = _HEADER.unpack_from(data)
    if version != spec.version:
        raise ConfigError(
            f"snapshot state: the step reads version {spec.version}, the snapshot holds version {version}; "
            "run the release that wrote it, or replay from an empty recovery directory"
        )
    frame = pl.read_ipc_stream(BytesIO(data[_HEADER.size :]))
    if frame.schema != spec.schema:
        raise ConfigError(
            f"snapshot state: version {version} has columns {list(spec.schema)}, the snapshot holds {frame.columns} or other types under the same "
            "version; the schema changed without a new version"
        )
    return frame
