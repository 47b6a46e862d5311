"""The laws of the fleet: each takes a maker of steps and a drawn case, and raises AssertionError where the step breaks it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import polars as pl

from operators.contract import EMPTY_STATE, KeyedStep, Order, Outcome, State, Step
from operators.state_bytes import from_bytes, to_bytes
from schemas.errors import record_error_codes
from schemas.events import COORDINATES, DEAD
from schemas.topics import OUTPUTS
from tests.property.event_streams import END, Case

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Subject:
    """A step held against the laws.

    Attributes:
        make: Gives a new step.
        takes: Schema of its input.
        horizon_ms: How long after the newest event time it may hold state.
        repeats: Whether its input may tell of the same event twice.
        entries_max: How many entries of state an event can make.
    """

    make: Callable[[], Step]
    takes: pl.Schema
    horizon_ms: int = 0
    repeats: bool = True
    entries_max: int = 1

    def frame(self, case: Case) -> pl.DataFrame:
        return case.raw if "value" in self.takes else case.rows.select(self.takes.names())

    def case(self, case: Case) -> Case:
        return case if self.repeats else case.without_repetitions()


@dataclass(slots=True)
class Played:
    """What a run gave, gathered over its batches; ``final`` is what must not depend on how it was run."""

    passed: list[Row] = field(default_factory=list)
    dead: list[Row] = field(default_factory=list)
    values: dict[tuple[str, Row], Row] = field(default_factory=dict)
    emitted: Counter[tuple[str, Row]] = field(default_factory=Counter)
    facts: Counter[tuple[str, str]] = field(default_factory=Counter)

    def take(self, outcome: Outcome) -> None:
        at = [outcome.batch.columns.index(name) for name in COORDINATES]
        self.passed.extend((tuple(row[index] for index in at), *map(str, row)) for row in outcome.batch.iter_rows())
        self.dead.extend(outcome.dead.rows())
        self.facts.update(outcome.facts)
        for name, records in outcome.outputs.items():
            topic = OUTPUTS[name]
            for record in records.iter_rows(named=True):
                self.emitted[name, tuple(record[column] for column in topic.id_columns)] += 1
                self._value(name, record, topic.revision_column)

    def _value(self, name: str, record: Mapping[str, Any], revision: str | None) -> None:
        key = name, (record[OUTPUTS[name].id_columns[0]],)
        known = self.values.get(key)
        at = list(record).index(revision) if revision else None
        row = tuple(str(value) if isinstance(value, list) else value for value in record.values())
        if known is None or at is None or row[at] >= known[at]:
            self.values[key] = row

    @property
    def final(self) -> tuple[list[Row], list[Row], dict[tuple[str, Row], Row], Counter[tuple[str, str]]]:
        return sorted(self.passed, key=lambda row: row[0]), sorted(self.dead, key=str), self.values, self.facts


class Disk:
    """A store of snapshots as an engine keeps it: a bucket is written when its frame is another object, and deleted when its id is gone."""

    def __init__(self) -> None:
        self._last: dict[str, pl.DataFrame] = {}
        self._bytes: dict[str, bytes] = {}

    def write(self, state: State, version: int) -> None:
        for gone in self._bytes.keys() - state.keys():
            del self._bytes[gone]
        for bucket, frame in state.items():
            if self._last.get(bucket) is not frame:
                self._bytes[bucket] = to_bytes(frame, version)
        self._last = dict(state)

    def restore(self, step: KeyedStep) -> State:
        return {bucket: from_bytes(data, step.state_spec) for bucket, data in self._bytes.items()}


def play(
    subject: Subject, case: Case, *, cuts: tuple[int, ...] = (), crash: int | None = None, each: Callable[[State, int], None] | None = None
) -> Played:
    """Runs a step over a case cut into batches, with a last empty batch that ends all windows; dies and resumes once where asked."""
    step, frame, played = subject.make(), subject.frame(case), Played()
    if not isinstance(step, KeyedStep):
        for start, end in _slices(cuts, frame.height):
            played.take(step(frame[start:end]))
        return played
    marks, disk, state = case.marks(), Disk(), EMPTY_STATE
    for number, (start, end) in enumerate(_slices(cuts, frame.height)):
        state, outcome = step.apply(state, frame[start:end], marks[end])
        played.take(outcome)
        disk.write(state, step.state_spec.version)
        if each is not None:
            each(state, end)
        if number == crash:
            step = subject.make()
            assert isinstance(step, KeyedStep)
            state = disk.restore(step)
            disk = Disk()
            disk.write(state, step.state_spec.version)
    state, outcome = step.apply(state, frame.clear(), END)
    played.take(outcome)
    if each is not None:
        each(state, frame.height + 1)
    return played


def _slices(cuts: tuple[int, ...], height: int) -> list[tuple[int, int]]:
    borders = [0, *cuts, height]
    return list(pairwise(borders))


def split_invariance(subject: Subject, drawn: Case) -> None:
    """One batch or ten: the same final values, rejects, rows and facts."""
    case = subject.case(drawn)
    cuts = tuple(min(cut, case.rows.height) for cut in case.cuts)
    whole = play(subject, case).final
    assert play(subject, case, cuts=cuts).final == whole
    assert play(subject, case, cuts=tuple(range(case.rows.height + 1))).final == whole


def crash_anywhere(subject: Subject, drawn: Case) -> None:
    """Cut, snapshot, restore into a new object, go on: the same result as never having stopped."""
    case = subject.case(drawn)
    cuts = tuple(min(cut, case.rows.height) for cut in case.cuts)
    assert play(subject, case, cuts=cuts, crash=case.crash).final == play(subject, case, cuts=cuts).final


def conservation(subject: Subject, drawn: Case) -> None:
    """Every row comes out once: passed on, rejected or filtered, the last two with a reason."""
    case = subject.case(drawn)
    step, frame = subject.make(), subject.frame(case)
    outcome = step.apply(EMPTY_STATE, frame, None)[1] if isinstance(step, KeyedStep) else step(frame)
    came = Counter(frame.select(*COORDINATES).rows())
    assert Counter(outcome.batch.select(*COORDINATES).rows()) + Counter(outcome.dead.select(*COORDINATES).rows()) == came
    assert outcome.dead.schema == DEAD
    dead = outcome.dead
    assert set(dead["step"]) <= {step.name}
    assert set(dead.filter(disposition="dead")["code"]) <= set(record_error_codes())
    assert set(dead["disposition"]) <= {"dead", "filtered"}
    assert all(dead["code"].is_not_null() & dead["reason"].is_not_null())


def once(subject: Subject, drawn: Case) -> None:
    """No output id comes twice."""
    case = subject.case(drawn)
    cuts = tuple(min(cut, case.rows.height) for cut in case.cuts)
    assert [key for key, count in play(subject, case, cuts=cuts).emitted.items() if count > 1] == []


def bounded_state(subject: Subject, drawn: Case) -> None:
    """State holds no more rows than the events make that are younger than the horizon, and nothing at the end."""
    case = subject.case(drawn)
    cuts = tuple(range(case.rows.height + 1))
    marks = [*case.marks(), END]
    touched = case.rows.select(pl.max_horizontal("event_time", "row_watermark")).to_series()

    def check(state: State, end: int) -> None:
        mark = marks[end]
        young = touched.head(end) if mark is None else touched.head(end).filter(touched.head(end) + subject.horizon_ms > mark)
        assert sum(frame.height for frame in state.values()) <= len(young) * subject.entries_max

    play(subject, case, cuts=cuts, each=check)


def declared_order(subject: Subject, drawn: Case) -> None:
    """Any interleaving of partitions gives the same; a log-ordered step does not even notice that other partitions exist.

    A batch step is held to more: its rows may come in any order at all.
    """
    case = subject.case(drawn)
    step = subject.make()
    if not isinstance(step, KeyedStep):
        back = list(range(case.rows.height))[::-1]
        flipped = replace(case, rows=case.rows[back], raw=case.raw[back])
        assert play(subject, flipped).final == play(subject, case).final
        return
    cuts = tuple(range(0, case.rows.height + 1, 2))
    final = play(subject, case, cuts=cuts).final
    assert play(subject, case.reinterleaved(), cuts=cuts).final == final
    if step.order is Order.LOG_ORDERED:
        alone = Played()
        for part in case.alone():
            played = play(subject, part, cuts=tuple(range(part.rows.height + 1)))
            alone.passed += played.passed
            alone.dead += played.dead
            alone.values |= played.values
            alone.facts += played.facts
        assert alone.final == final


LAWS: dict[str, Callable[[Subject, Case], None]] = {
    law.__name__: law for law in (split_invariance, crash_anywhere, conservation, once, bounded_state, declared_order)
}
