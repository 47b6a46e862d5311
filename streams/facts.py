"""What the shell decided about records with a model's help: by coordinates, durable before it takes effect, adopted by a replay.

A model may be up in one life of the run and away in the next, or answer otherwise after an update. So its answers are facts, written down before
anything follows from them: a record that is read again after a crash gets what it got before, and is not asked about again. No value is written, only
places and numbers.

A journal is a file of frames, each ``magic, length, CRC-32, Arrow IPC``; one frame is what one step decided about one batch.
"""

from __future__ import annotations

import os
import struct
import threading
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

import polars as pl

from operators.contract import BatchStep, StateSpec
from operators.state_bytes import from_bytes, to_bytes
from schemas.errors import FatalError
from schemas.events import COORDINATES
from streams.batch import Partition
from streams.recovery import disk_errors, make_durable_directory, write_all, write_durably

#: The file is written anew, without what no start can need, whenever it has grown by so much.
_GROWTH_BYTES: Final = 4 * 2**20
_MAGIC: Final = b"HRF1"
_HEADER: Final = struct.Struct("<4sQI")
_PLACE: Final = list(COORDINATES)


class Facts(Protocol):
    """Where a step keeps what it decided."""

    def known(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Gives the facts about those of the rows (by coordinates) that were decided before."""
        ...

    def record(self, facts: pl.DataFrame) -> None:
        """Takes facts in; they may take effect after this returns."""
        ...


@runtime_checkable
class DecidingStep(BatchStep, Protocol):
    """A step whose outcome depends on more than its rows: what it decides is a fact."""

    @property
    def facts_spec(self) -> StateSpec:
        """How its facts look: COORDINATES first."""
        ...

    def keep_in(self, facts: Facts) -> None:
        """Says where facts are kept; before the first batch."""
        ...


class LastFacts:
    """Keeps the facts of the last batch in memory: for runs that nobody resumes. A batch that is tried again gets what it got before."""

    def __init__(self, spec: StateSpec) -> None:
        self._last = pl.DataFrame(schema=spec.schema)

    def known(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Gives the facts about those of the rows that were in the last batch."""
        return _about(self._last, rows)

    def record(self, facts: pl.DataFrame) -> None:
        """Keeps the facts, and forgets those before."""
        self._last = facts


class FactsJournal:
    """One step's facts on disk. May be used by several threads.

    Bounds: what lies between the last committed snapshot and the newest record, in memory; on disk 4 MiB more.

    Args:
        path: The file; made where it is absent. A frame that a crash tore never took effect, and goes.
        spec: How the facts look.
        on_durable: Called when facts have become durable, before they take effect.

    Raises:
        FatalError: The file holds something else than whole frames of these facts before its end.
    """

    def __init__(self, path: Path, spec: StateSpec, on_durable: Callable[[], None] = lambda: None) -> None:
        self._path = path
        self._spec = spec
        self._on_durable = on_durable
        self._lock = threading.Lock()
        make_durable_directory(path.parent)
        with disk_errors(path):
            content = path.read_bytes() if path.exists() else b""
            frames, end = self._read(content)
            self._frames = frames
            self._newest: dict[Partition, int] = {}
            for frame in frames:
                self._note(frame)
            self._file = self._open()
            os.ftruncate(self._file, end)
            os.fdatasync(self._file)
        self._bytes_max = end + _GROWTH_BYTES

    def known(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Gives the facts about those of the rows (by coordinates) that were decided before, in this life or an earlier one."""
        with self._lock:
            if not self._may_know(rows):
                return pl.DataFrame(schema=self._spec.schema)
            return _about(pl.concat(self._frames), rows)

    def record(self, facts: pl.DataFrame) -> None:
        """Makes facts durable; they may take effect only after this returns.

        Raises:
            FatalError: They could not be written.
        """
        if not facts.height:
            return
        with self._lock, disk_errors(self._path):
            write_all(self._file, self._framed(facts))
            os.fdatasync(self._file)
            self._frames.append(facts)
            self._note(facts)
        self._on_durable()

    def forget(self, reached: Mapping[Partition, int]) -> None:
        """Drops facts that no start can need any more: from memory now, from the file once it has grown enough to be worth it.

        Args:
            reached: By partition, an offset behind which no snapshot within reach begins.
        """
        with self._lock:
            self._frames = [frame for frame in self._frames if not _passed(frame, reached)]
            with disk_errors(self._path):
                if os.fstat(self._file).st_size <= self._bytes_max:
                    return
            write_durably(self._path, b"".join(map(self._framed, self._frames)))
            with disk_errors(self._path):
                os.close(self._file)
                self._file = self._open()
                self._bytes_max = os.fstat(self._file).st_size + _GROWTH_BYTES

    def close(self) -> None:
        """Closes the file."""
        os.close(self._file)

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def _framed(self, facts: pl.DataFrame) -> bytes:
        data = to_bytes(facts, self._spec.version)
        return _HEADER.pack(_MAGIC, len(data), zlib.crc32(data)) + data

    def _read(self, content: bytes) -> tuple[list[pl.DataFrame], int]:
        """Gives the whole frames, and where they end; only the last one may be torn."""
        frames: list[pl.DataFrame] = []
        at = 0
        for begin, data, is_whole in _frames(content):
            if not is_whole:
                # After a loss of power a file may have grown by bytes that were never written: they are zeros.
                if begin + len(data) < len(content) and content[at:].strip(b"\0"):
                    raise FatalError(f"{self._path}: a frame in the middle is damaged; restore the file from a backup of the directory")
                break
            frames.append(from_bytes(data, self._spec))
            at = begin + len(data)
        return frames, at

    def _note(self, facts: pl.DataFrame) -> None:
        for topic, partition, newest in facts.group_by("topic", "partition").agg(pl.col("offset").max()).iter_rows():
            self._newest[topic, partition] = max(newest, self._newest.get((topic, partition), newest))

    def _may_know(self, rows: pl.DataFrame) -> bool:
        """Tells at the cost of one small group-by that rows are new: so are all that are not a replay."""
        if not self._frames:
            return False
        oldest = rows.group_by("topic", "partition").agg(pl.col("offset").min()).iter_rows()
        return any(offset <= self._newest.get((topic, partition), -1) for topic, partition, offset in oldest)


def places_of(batch: pl.DataFrame, rows: Collection[int]) -> pl.DataFrame:
    """Gives the coordinates of some rows of a batch, in the order of the rows named."""
    return batch.select(pl.col(_PLACE).gather(pl.Series(list(rows), dtype=pl.UInt32)))


def about(batch: pl.DataFrame, facts: pl.DataFrame) -> pl.DataFrame:
    """Gives what is known of each row of a batch, in their order; nulls where nothing is."""
    return batch.select(_PLACE).join(facts, on=_PLACE, how="left", maintain_order="left")


def _frames(content: bytes) -> Iterator[tuple[int, bytes, bool]]:
    """Gives each frame: where its data begins, the data, and whether it is whole."""
    at = 0
    while at < len(content):
        header = content[at : at + _HEADER.size]
        if len(header) < _HEADER.size:
            yield at, header, False
            return
        magic, length, crc = _HEADER.unpack(header)
        begin = at + _HEADER.size
        data = content[begin : begin + length]
        is_whole = magic == _MAGIC and len(data) == length and zlib.crc32(data) == crc
        yield begin, data, is_whole
        if not is_whole:
            return
        at = begin + length


def _about(facts: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    return facts.join(rows.select(_PLACE), on=_PLACE, how="semi").unique(_PLACE, keep="first", maintain_order=True)


def _passed(frame: pl.DataFrame, reached: Mapping[Partition, int]) -> bool:
    """Whether every record of the frame lies before what was reached."""
    newest = frame.group_by("topic", "partition").agg(pl.col("offset").max()).iter_rows()
    return all(offset < reached.get((topic, partition), 0) for topic, partition, offset in newest)
