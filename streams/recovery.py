"""The recovery directory: everything a run needs to go on where the last one stopped, held by one run at a time.

lease            locked by the run that owns the directory: the engine would let two runs share its snapshots
begin.json       where every input and output partition stood before the first poll, and what the pipeline was made of
facts.jsonl      idle marks, each durable before it takes effect
decided/         what models said of records and what was done without them, likewise (``streams.facts``)
clean            present after an orderly stop: nothing was in flight
started.json     when the run that resumed from this snapshot first began
policies/        the policies that judged, by digest, and from which records on (``streams.policy_marks``)
engine/          the engine's own snapshots
state/           packs of state frames, referred to by the engine's snapshots (``streams.packs``)
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Self

from schemas.errors import ConfigError, FatalError
from streams.batch import Partition

#: The file of idle marks is written anew, without those that no start can need, whenever it has grown by so much.
_FACTS_GROWTH_BYTES: Final = 256 * 1024
#: File in the directory: who was erased while the pipeline ran, and from where on.
ERASURE_MARKS: Final = "erasure_marks.jsonl"


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What a pipeline's state depends on; a run with another one must not touch it.

    Attributes:
        pipeline: Name of the pipeline.
        lanes: Number of lanes.
        source_lanes: Number of source lanes.
        output_partitions: Partition count of each output topic.
        keyed_steps: Name and state version of each keyed step.
        policy: Digest of the policy.
        models: Names of the steps that ask models.
        keys: Ids of the keys that values are hashed and sealed with; empty in a record of before there were ids.
    """

    pipeline: str
    lanes: int
    source_lanes: int
    output_partitions: Mapping[str, int]
    keyed_steps: Mapping[str, int]
    policy: str
    models: tuple[str, ...] = ()
    keys: str = ""


@dataclass(frozen=True, slots=True)
class Begin:
    """The world before the first poll.

    Attributes:
        fingerprint: What the pipeline is made of.
        inputs: First offset to read, by input partition.
        sinks: Position of each sink before anything was written, by sink name.
    """

    fingerprint: Fingerprint
    inputs: Mapping[Partition, int]
    sinks: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class IdleMark:
    """A recorded fact: from ``offset`` on, the partition's watermark is at least ``watermark`` ms."""

    topic: str
    partition: int
    offset: int
    watermark: int


class RecoveryDirectory:
    """The recovery directory, leased exclusively while open.

    Args:
        path: The directory; made when absent.

    Raises:
        ConfigError: Another run holds it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        make_durable_directory(path)
        self._lease = os.open(path / "lease", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lease, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(self._lease, 32).decode("ascii", "replace").strip()
            os.close(self._lease)
            raise ConfigError(
                f"recovery.dir {path}: held by another run (process {holder or 'unknown'}); one directory serves one run at a time: "
                "stop that run, or give this pipeline a directory of its own"
            ) from error
        os.ftruncate(self._lease, 0)
        os.pwrite(self._lease, f"{os.getpid()}\n".encode(), 0)
        self._facts_lock = threading.Lock()
        self._facts = self._open_facts()
        # A line that a crash tore never took effect. It goes before the next mark would be written on to its end.
        os.ftruncate(self._facts, (path / "facts.jsonl").read_bytes().rfind(b"\n") + 1)
        self._facts_bytes_max = os.fstat(self._facts).st_size + _FACTS_GROWTH_BYTES

    def _open_facts(self) -> int:
        return os.open(self.path / "facts.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    @property
    def engine_path(self) -> Path:
        """Where the engine keeps its snapshots."""
        return self.path / "engine"

    @property
    def packs_path(self) -> Path:
        """Where lanes keep their state packs."""
        return self.path / "state"

    @property
    def decided_path(self) -> Path:
        """Where steps keep what they decided with the help of models."""
        return self.path / "decided"

    def begin(self) -> Begin | None:
        """Gives what the first run recorded, None before it."""
        path = self.path / "begin.json"
        if not path.exists():
            return None
        try:
            found = json.loads(path.read_bytes())
            return Begin(
                fingerprint=Fingerprint(**{**found["fingerprint"], "models": tuple(found["fingerprint"].get("models", ()))}),
                inputs={(topic, int(partition)): offset for topic, partition, offset in found["inputs"]},
                sinks={name: bytes.fromhex(position) for name, position in found["sinks"].items()},
            )
        except (ValueError, KeyError, TypeError) as error:
            raise FatalError(
                f"{path}: not readable as the begin record of a run ({type(error).__name__}); restore it from a backup of the directory"
            ) from error

    def record_begin(self, begin: Begin) -> None:
        """Writes the begin record durably; must return before the first poll."""
        content = {
            "fingerprint": asdict(begin.fingerprint),
            "inputs": [[topic, partition, offset] for (topic, partition), offset in sorted(begin.inputs.items())],
            "sinks": {name: position.hex() for name, position in begin.sinks.items()},
        }
        write_durably(self.path / "begin.json", json.dumps(content, indent=1).encode())

    def check(self, now: Fingerprint) -> None:
        """Compares with the fingerprint of the last run.

        Raises:
            ConfigError: The state cannot be carried over; each difference is a problem with its way out. Another policy is allowed after an
                orderly stop only: then no event in flight was judged by the old one.
        """
        begin = self.begin()
        if begin is None:
            return
        then = begin.fingerprint
        problems = [
            f"recovery.dir {self.path}: {name} was {getattr(then, name)}, is {getattr(now, name)}; set it back, or start the pipeline under a new "
            "name with an empty recovery directory"
            for name in ("pipeline", "lanes", "source_lanes", "output_partitions", "keyed_steps")
            if getattr(then, name) != getattr(now, name)
        ]
        if then.policy != now.policy and not self.stopped_cleanly:
            problems.append(
                f"recovery.dir {self.path}: the policy changed from {then.policy} to {now.policy} while events were in flight; run once more "
                f"with the old policy ({self.path}/policies/{then.policy}.yaml) and stop it in order (SIGTERM), then start with the new one"
            )
        if then.models != now.models and not self.stopped_cleanly:
            problems.append(
                f"recovery.dir {self.path}: steps that ask models were {_listed(then.models)}, are {_listed(now.models)}, while events were in "
                "flight; set the configuration (models) back, run once more and stop it in order (SIGTERM), then start with the new one"
            )
        if then.keys and then.keys != now.keys and not self.stopped_cleanly:
            problems.append(
                f"recovery.dir {self.path}: the keys of hashes and sealed values changed from {then.keys} to {now.keys} while events were in flight; "
                "put the old ones back (privacy), run once more and stop it in order (SIGTERM), then start with the new ones"
            )
        if problems:
            raise ConfigError(*problems)

    @property
    def stopped_cleanly(self) -> bool:
        """Whether the last run ended in order."""
        return (self.path / "clean").exists()

    @property
    def is_settled(self) -> bool:
        """Whether nothing can be in flight: before the first run, and after an orderly stop."""
        return self.stopped_cleanly or not (self.path / "begin.json").exists()

    def mark_running(self) -> None:
        """Takes back the mark of an orderly stop; call before the first poll."""
        (self.path / "clean").unlink(missing_ok=True)
        _sync_directory(self.path)

    def mark_clean(self) -> None:
        """Records an orderly stop: the last snapshot holds everything that was written."""
        write_durably(self.path / "clean", b"")

    def began_at(self, start: str) -> int:
        """Gives when a start was first tried, ms: a try that died is the same start as the one after it, and writes the same.

        Args:
            start: What the start is known by.
        """
        path = self.path / "started.json"
        known = _read_started(path)
        if start not in known:
            known = {start: time.time_ns() // 1_000_000}
            write_durably(path, json.dumps(known).encode())
        return known[start]

    def keep_policy(self, digest: str, text: str) -> None:
        """Keeps the text of a policy that judges, so that its decisions can be explained later."""
        path = self.path / "policies" / f"{digest}.yaml"
        path.parent.mkdir(exist_ok=True)
        if not path.exists():
            write_durably(path, text.encode())

    def policy_text(self, digest: str) -> str:
        """Gives the text of a policy that judged.

        Raises:
            ConfigError: It is not there.
        """
        path = self.path / "policies" / f"{digest}.yaml"
        try:
            return path.read_text(encoding="utf-8")
        except OSError as error:
            raise ConfigError(
                f"{path}: cannot be read ({_name_of(error)}), and events in flight were judged by it; restore it from a backup of the directory"
            ) from error

    @property
    def erasure_marks_path(self) -> Path:
        """Where it is recorded from where on events of persons are left out who were erased while the pipeline ran."""
        return self.path / ERASURE_MARKS

    @property
    def policy_marks_path(self) -> Path:
        """Where it is recorded which policy judges which records."""
        return self.path / "policies" / "marks.jsonl"

    def record_idle(self, marks: Sequence[IdleMark]) -> None:
        """Makes idle marks durable; they may take effect only after this returns. May be called from several threads.

        Raises:
            FatalError: They could not be written.
        """
        with self._facts_lock, disk_errors(self.path / "facts.jsonl"):
            write_all(self._facts, _lines(marks))
            os.fdatasync(self._facts)

    def forget_idle(self, reached: Mapping[Partition, int]) -> None:
        """Drops idle marks that no start can need any more, once the file has grown enough to be worth it.

        Args:
            reached: By partition, an offset behind which no snapshot within reach begins.
        """
        with self._facts_lock:
            if os.fstat(self._facts).st_size <= self._facts_bytes_max:
                return
            needed = [
                IdleMark(topic, partition, offset, watermark)
                for (topic, partition), marks in self.idle_marks().items()
                for offset, watermark in marks
                if offset >= reached.get((topic, partition), 0)
            ]
            write_durably(self.path / "facts.jsonl", _lines(needed))
            os.close(self._facts)
            self._facts = self._open_facts()
            self._facts_bytes_max = os.fstat(self._facts).st_size + _FACTS_GROWTH_BYTES

    def idle_marks(self) -> dict[Partition, list[tuple[int, int]]]:
        """Gives the recorded idle marks: (offset, watermark) by partition, the highest watermark per offset.

        A torn last line (the process died while writing it) never took effect and is left out.
        """
        highest: dict[Partition, dict[int, int]] = defaultdict(dict)
        for line in (self.path / "facts.jsonl").read_bytes().split(b"\n")[:-1]:
            try:
                mark = IdleMark(**json.loads(line))
            except (ValueError, TypeError) as error:
                raise FatalError(f"{self.path}/facts.jsonl: a line is not an idle mark; restore the file from a backup of the directory") from error
            at = highest[mark.topic, mark.partition]
            at[mark.offset] = max(mark.watermark, at.get(mark.offset, mark.watermark))
        return {partition: sorted(at.items()) for partition, at in highest.items()}

    def close(self) -> None:
        """Gives the lease back."""
        os.close(self._facts)
        os.close(self._lease)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def write_durably(path: Path, content: bytes) -> None:
    """Replaces a file in one step; the new content survives a power loss after this returns.

    Raises:
        FatalError: It could not be written; the old content stands.
    """
    part = path.with_name(path.name + ".part")
    with disk_errors(path):
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            write_all(handle, content)
            os.fdatasync(handle)
        finally:
            os.close(handle)
        part.rename(path)
        _sync_directory(path.parent)


def make_durable_directory(path: Path) -> None:
    """Makes a directory and those above it that are absent; they survive a power loss after this returns.

    Raises:
        ConfigError: It cannot be made.
    """
    absent = [each for each in (path, *path.parents) if not each.exists()]
    try:
        path.mkdir(parents=True, exist_ok=True)
        for each in absent:
            _sync_directory(each.parent)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be made a directory ({_name_of(error)}); choose another or mend its permissions") from error


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turns an error of the operating system into ours."""
    try:
        yield
    except OSError as error:
        raise FatalError(f"{path}: not written ({_name_of(error)}); free space or mend the disk and start again: nothing is lost") from error


def _read_started(path: Path) -> dict[str, int]:
    try:
        return {str(start): int(at) for start, at in json.loads(path.read_bytes()).items()}
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, AttributeError) as error:
        raise FatalError(
            f"{path}: not readable as the time of a start ({type(error).__name__}); delete it: the next start is entered anew"
        ) from error


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"


def _name_of(error: OSError) -> str:
    return errno.errorcode.get(error.errno or 0, "an error without a number")


def _lines(marks: Sequence[IdleMark]) -> bytes:
    return b"".join(json.dumps(asdict(mark), separators=(",", ":")).encode() + b"\n" for mark in marks)


def write_all(handle: int, content: bytes) -> None:
    """Writes all of the content."""
    view = memoryview(content)
    while view:
        view = view[os.write(handle, view) :]


def _sync_directory(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
