"""Erasures that come while the pipeline runs: from which record on a person's events do not go on.

As with a policy that takes over, this is a recorded fact: a mark says that from this offset of this partition on the events of this person are left
out, and it is durable before any row behind it is judged. So a record that is read again after a crash keeps its fate. Persons who were erased before
the start are known to the step ``erase`` beside the source; this step stands behind the front and knows those who came later.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from operators.contract import Outcome, dead_rows
from operators.erase import ERASED, REASON
from schemas.errors import HeadraceError
from streams.batch import Partition
from streams.log import log
from streams.mark_file import MarkFile, marks_in

_LOOK_EVERY_S: Final = 3.0


@dataclass(frozen=True, slots=True)
class ErasureMark:
    """From ``offset`` of the partition on, events of the person (by the hash of the user id) are left out."""

    topic: str
    partition: int
    offset: int
    person: str


def erasure_marks(path: Path, on_durable: Callable[[], None] = lambda: None) -> MarkFile[ErasureMark]:
    """Opens the file of marks."""
    return MarkFile(path, ErasureMark, "an erasure", on_durable)


def persons_marked(path: Path) -> frozenset[str]:
    """Gives the persons of whom the file has marks; reads whole lines only and changes nothing."""
    content = path.read_bytes() if path.exists() else b""
    return frozenset(mark.person for mark in marks_in(content[: content.rfind(b"\n") + 1], ErasureMark, "an erasure", path))


class LiveErasure:
    """The step behind the front that leaves out events of persons erased since the start. One thread at a time calls it.

    Free where nobody was erased since the start.

    Args:
        known: Persons whom the step ``erase`` leaves out already.
    """

    name: Final = "erase_live"

    def __init__(self, known: Collection[str]) -> None:
        self._known = frozenset(known)
        self._wanted: tuple[str, ...] = ()
        self._marks: MarkFile[ErasureMark] | None = None
        self._from: dict[tuple[str, int, str], int] = {}
        #: By partition, the last offset that came by in this life.
        self._reached: dict[Partition, int] = {}

    def start(self, marks: MarkFile[ErasureMark], *, is_settled: bool) -> None:
        """Adopts what earlier lives recorded; before the first batch.

        Args:
            marks: The recorded marks; new ones are recorded there.
            is_settled: Whether the life before stopped in order: nothing is read twice, so its persons are left out from the first row on.
        """
        persons = tuple(dict.fromkeys(mark.person for mark in marks.marks))
        if not is_settled:
            for mark in marks.marks:
                self._from.setdefault((mark.topic, mark.partition, mark.person), mark.offset)
        else:
            marks.clear()
        self._wanted = persons
        self._marks = marks

    @property
    def started(self) -> bool:
        """Whether ``start`` was called: persons may be wanted from then on."""
        return self._marks is not None

    def want(self, persons: Collection[str]) -> int:
        """Lets events of these persons go on no more from the next batch on; gives how many are new."""
        new = sorted(set(persons) - self._known - set(self._wanted))
        self._wanted = (*self._wanted, *new)
        return len(new)

    def __call__(self, batch: pl.DataFrame) -> Outcome:
        """Maps one batch of masked events."""
        wanted = self._wanted
        if not batch.height:
            return Outcome(batch)
        bounds = batch.group_by("topic", "partition").agg(pl.col("offset").min().alias("first"), pl.col("offset").max().alias("last"))
        spans = {(topic, partition): (first, last) for topic, partition, first, last in bounds.sort("topic", "partition").iter_rows()}
        # A partition that was read before ends for the person where it stands, though it is quiet now: what is read again there has its fate.
        places: Mapping[Partition, int] = {place: first for place, (first, _) in spans.items()} | {p: at + 1 for p, at in self._reached.items()}
        self._reached |= {place: last for place, (_, last) in spans.items()}
        if not wanted:
            return Outcome(batch)
        new = [ErasureMark(*place, first, person) for place, first in places.items() for person in wanted if (*place, person) not in self._from]
        if new:
            assert self._marks is not None, "persons are wanted after the start"
            self._marks.record(new)
            self._from |= {(mark.topic, mark.partition, mark.person): mark.offset for mark in new}
        if not batch["user_id"].is_in(wanted).any():
            return Outcome(batch)
        since = pl.DataFrame(
            [(*place, person, self._from[*place, person]) for place in spans for person in wanted],
            schema={"topic": pl.String, "partition": pl.Int32, "user_id": pl.String, "since": pl.Int64},
            orient="row",
        )
        offsets = batch.select("topic", "partition", "user_id", "offset").join(
            since, on=["topic", "partition", "user_id"], how="left", maintain_order="left"
        )
        gone = (offsets["offset"] >= offsets["since"]).fill_null(False)
        dead = dead_rows(batch.filter(gone), step=self.name, disposition="filtered", code=ERASED, reason=REASON)
        return Outcome(batch.filter(~gone), dead=dead)


class ErasureWatch:
    """Reads the list of erased persons again and again while the pipeline runs; to be used as a context manager.

    A list that cannot be read changes nothing and is tried again: no event of a person goes on because of it who was known before.

    Args:
        read: Gives the hashes of all erased persons.
        erasure: Takes new ones.
        look_every_s: Seconds between looks.
    """

    def __init__(self, read: Callable[[], Collection[str]], erasure: LiveErasure, look_every_s: float = _LOOK_EVERY_S) -> None:
        self._read = read
        self._erasure = erasure
        self._look_every_s = look_every_s
        self._is_away = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="erasures", daemon=True)

    def look(self) -> int:
        """Looks once; gives how many persons are new."""
        if not self._erasure.started:
            return 0
        try:
            found = self._read()
        except HeadraceError as error:
            if not self._is_away:  # one line an outage, not one a try
                log().warning("erasures.unread", problem=str(error))
            self._is_away = True
            return 0
        self._is_away = False
        new = self._erasure.want(found)
        if new:
            log().info("erasures.taken_up", persons=new)
        return new

    def _watch(self) -> None:
        while not self._ended.wait(self._look_every_s):
            self.look()

    def __enter__(self) -> ErasureWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
