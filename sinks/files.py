"""The sink to JSONL files: DIR/<topic>.jsonl, for people who debug and for golden tests.

One JSON object a line, with the fields of the topic's Avro schema in their order; null fields are written as null, times as milliseconds.
Columns that hold JSON text (``EMBEDDED``) are embedded as the JSON they are, character for character, not as a string with escapes; an absent
value and the JSON text ``null`` look the same.

Each lane appends to part files of its own, hidden in DIR. ``publish`` joins them in the order of the lanes, so that the result depends on what
each lane wrote and not on how their writes interleaved, and renames the whole into place; every topic gets a file, an empty one too, so
that no file of an earlier run stays. A run that fails leaves what was there before.

Lanes are single-process. A write survives the death of the process; a power cut it survives only after ``publish``.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import polars as pl

from schemas.errors import ConfigError, FatalError
from schemas.events import CONTENT
from schemas.frames import output_schema
from schemas.topics import OUTPUTS, OutputTopic
from sinks.contract import OutputBatch, Receipt
from sinks.errors import SinkError, file_failure

#: Columns that hold JSON text.
EMBEDDED: Final = CONTENT

_POSITION: Final = msgspec.json.Decoder(dict[str, int])
_COPY_BYTES: Final = 1 << 20


class FilesSink:
    """All output topics as files in one directory.

    Args:
        directory: Created where it is missing.

    Raises:
        ConfigError: The directory cannot be created or written.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as directory:
        ...     sink = FilesSink(Path(directory))
        ...     lane = sink.open_lane(0, 1, sink.begin())
        ...     lane.close()
        ...     [path.name for path in sink.publish()][:2]
        ['agent_control.jsonl', 'agent_metrics.jsonl']
    """

    name = "files"
    rows_max = None

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lanes: dict[int, FilesLane] = {}
        failure: SinkError | None = None
        try:
            directory.mkdir(parents=True, exist_ok=True)
            if not os.access(directory, os.W_OK | os.X_OK):
                raise ConfigError(f"files: {directory} is not writable: check its permissions")
        except OSError as error:
            failure = file_failure(error, f"files: {directory}")
        if failure is not None:
            raise ConfigError(str(failure))

    @property
    def topics(self) -> frozenset[str]:
        """Every output topic."""
        return frozenset(OUTPUTS)

    def begin(self) -> bytes:
        """Gives the position of empty files."""
        return b""

    def open_lane(self, lane: int, lane_count: int, position: bytes) -> FilesLane:
        """Opens a lane's part files at the position: what lies after it will be written again, over it, or is cut off when the lane closes.

        Raises:
            RetryableError: The disk is full.
            FatalError: The files cannot be opened, or are shorter than the position.
        """
        failure: SinkError | None = None
        try:
            opened = FilesLane(self._directory, lane, position)
        except OSError as error:
            failure = file_failure(error, f"files lane {lane}")
        if failure is not None:
            raise failure
        self._lanes[lane] = opened
        return opened

    def publish(self) -> list[Path]:
        """Joins the lanes' part files into DIR/<topic>.jsonl and gives these paths; the lanes must be closed.

        Raises:
            RetryableError: The disk is full; the files of before are untouched where they were not replaced yet.
            FatalError: A lane is still open, or the files cannot be written.
        """
        still_open = sorted(number for number, lane in self._lanes.items() if lane.is_open)
        if still_open:
            raise FatalError(f"files: lanes {still_open} are open: close them before publishing")
        failure: SinkError | None = None
        try:
            published = [self._publish(topic) for topic in sorted(OUTPUTS)]
            self._sync_directory()
            return published
        except OSError as error:
            failure = file_failure(error, f"files: {self._directory}")
        raise failure

    def _publish(self, topic: str) -> Path:
        target = self._directory / f"{topic}.jsonl"
        joined = self._directory / f".{topic}.joined"
        with joined.open("wb") as out:
            for number in sorted(self._lanes):
                with _part(self._directory, topic, number).open("rb") as part:
                    while chunk := part.read(_COPY_BYTES):
                        out.write(chunk)
            out.flush()
            os.fsync(out.fileno())
        joined.replace(target)
        for part_path in self._directory.glob(f".{topic}.*.part"):
            part_path.unlink()
        return target

    def _sync_directory(self) -> None:
        descriptor = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class FilesLane:
    """One lane's part files.

    Rows count from the moment at which the known size of their file moves past them; what a failed write left behind is overwritten.

    Bounds: ids written since opening are kept, about 100 bytes each.
    """

    def __init__(self, directory: Path, lane: int, position: bytes) -> None:
        self._where = f"files lane {lane}"
        self._sizes = dict.fromkeys(OUTPUTS, 0) | (_POSITION.decode(position) if position else {})
        self._seen: dict[str, set[str]] = {topic: set() for topic in OUTPUTS}
        self._files: dict[str, int] = {}
        try:
            for topic, size in self._sizes.items():
                descriptor = os.open(_part(directory, topic, lane), os.O_RDWR | os.O_CREAT, 0o644)
                self._files[topic] = descriptor
                there = os.fstat(descriptor).st_size
                if there < size:
                    raise FatalError(f"{self._where}: the part file of {topic} has {there} bytes, the position says {size}: start the run afresh")
        except BaseException:
            self.close()
            raise

    @property
    def is_open(self) -> bool:
        """Whether ``close`` was not called yet."""
        return bool(self._files)

    def write(self, batch: OutputBatch, deadline_s: float) -> Receipt:
        """Appends the rows whose id was not written since the lane was opened.

        Args:
            batch: Records by topic.
            deadline_s: Not enforced: a local disk has no way to give up.

        Raises:
            RetryableError: The disk is full; nothing of the batch counts.
            FatalError: A frame has other columns than its schema, or holds what JSON cannot; or the file cannot be written.
        """
        new = {topic: self._new_rows(OUTPUTS[topic], frame) for topic, frame in batch.items() if topic in OUTPUTS}
        data = {topic: _lines(topic, frame) for topic, (frame, _) in new.items()}
        failure: SinkError | None = None
        try:
            for topic, lines in data.items():
                _write_at(self._files[topic], lines, self._sizes[topic])
        except OSError as error:
            failure = file_failure(error, self._where)
        if failure is not None:
            raise failure
        for topic, (_, ids) in new.items():
            self._sizes[topic] += len(data[topic])
            self._seen[topic].update(ids)
        written = {topic: frame.height for topic, (frame, _) in new.items()}
        return Receipt(written, {topic: batch[topic].height - rows for topic, rows in written.items()})

    def position(self) -> bytes:
        """Gives the sizes of the part files as JSON."""
        return msgspec.json.encode(self._sizes)

    def close(self) -> None:
        """Cuts off what lies after the last row that counts and closes the files. Does nothing when they are closed."""
        while self._files:
            topic, descriptor = self._files.popitem()
            try:
                if os.fstat(descriptor).st_size > self._sizes[topic]:
                    os.ftruncate(descriptor, self._sizes[topic])
            finally:
                os.close(descriptor)

    def _new_rows(self, topic: OutputTopic, frame: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
        """Gives the rows whose id is new, in order, and their ids."""
        columns = output_schema(topic.name).names()
        if set(columns) != set(frame.columns):
            missing, extra = sorted(set(columns) - set(frame.columns)), sorted(set(frame.columns) - set(columns))
            raise FatalError(f"topic {topic.name}: the frame must have the columns of its schema; missing: {missing}, not in the schema: {extra}")
        ids = frame.select(pl.concat_str(topic.id_columns, separator=":")).to_series().to_list()
        # A dict keeps the first row of each id and the order of the rows.
        fresh: dict[str, int] = {}
        for row, row_id in enumerate(ids):
            if row_id not in self._seen[topic.name]:
                fresh.setdefault(row_id, row)
        return frame.select(columns)[list(fresh.values())], list(fresh)


def _lines(topic: str, frame: pl.DataFrame) -> bytes:
    """Gives the rows as JSON lines."""
    floats = frame.select(pl.selectors.float())
    if not all(column.is_finite().all() for column in floats):
        raise FatalError(f"topic {topic}: a number is NaN or infinite, which JSON cannot hold; it must be rejected before a sink")
    embedded = [name for name in EMBEDDED if name in frame.columns]
    return msgspec.json.Encoder().encode_lines(_objects(topic, frame.iter_rows(named=True), embedded))


def _objects(topic: str, rows: Iterable[dict[str, Any]], embedded: Sequence[str]) -> list[dict[str, Any]]:
    objects = []
    for row in rows:
        for name in embedded:
            if row[name] is not None:
                row[name] = _raw(topic, name, row[name])
        objects.append(row)
    return objects


def _raw(topic: str, name: str, text: str) -> msgspec.Raw:
    """Gives JSON text as it is; line ends between its tokens become spaces, so that a row stays a line."""
    valid = True
    try:
        msgspec.json.decode(text)
    except msgspec.DecodeError:
        valid = False
    if not valid:
        raise FatalError(f"topic {topic}: column {name} must hold JSON text; a value of {len(text)} characters is not JSON")
    return msgspec.Raw(text.replace("\n", " ").replace("\r", " ").encode())


def _write_at(descriptor: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        count = os.pwrite(descriptor, view, offset)
        view, offset = view[count:], offset + count


def _part(directory: Path, topic: str, lane: int) -> Path:
    return directory / f".{topic}.{lane}.part"
