"""A lane: the keyed half of the pipeline for its share of the keys. Engine-independent.

Folds lane batches through the keyed steps and gives the records to publish. Holds the state of the steps and the marks of all partitions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import polars as pl

from operators.contract import EMPTY_STATE, NO_DEAD, KeyedStep, State, Step
from operators.windows.watermark import merge
from schemas.coordinates import record_uid
from schemas.errors import record_error_codes
from schemas.frames import output_schema
from sinks.contract import OutputBatch
from streams.balance import Balance
from streams.batch import LaneBatch, Marks, Partition
from streams.intake import empty_rows
from streams.telemetry import Telemetry
from streams.topology import Topology

#: A watermark after every event: closes all windows at the end of a finite input.
END_OF_TIME: Final = 2**62

_CODES: Final = frozenset(record_error_codes())


class Lane:
    """The keyed steps of one lane with their state.

    Args:
        topology: The pipeline.
        partitions: Every input partition of the pipeline: until each has a mark there is no merged watermark.
        telemetry: Counts.
        states: State by step name, as of the snapshot.
        marks: Watermarks by partition, as of the snapshot.
        joined: What an earlier life gave as ``joined``, as of the snapshot.
        number: Of this lane.
        balance: What an earlier life gave as ``balance``, as of the snapshot.
        empty: What ``empty_rows`` gives, where front steps run already: they are not for two threads at once.
    """

    def __init__(
        self,
        topology: Topology,
        partitions: Sequence[Partition],
        telemetry: Telemetry,
        states: Mapping[str, State] | None = None,
        marks: Marks | None = None,
        joined: Mapping[Partition, int] | None = None,
        number: int = 0,
        balance: Balance | None = None,
        empty: pl.DataFrame | None = None,
    ) -> None:
        self._number = number
        self.balance = Balance() if balance is None else balance
        self._topology = topology
        self._telemetry = telemetry
        self._states: dict[str, State] = {step.name: EMPTY_STATE for step in topology.keyed_steps} | dict(states or {})
        self._marks: dict[Partition, int | None] = dict.fromkeys(partitions) | {p: m for p, m in (marks or {}).items() if p in set(partitions)}
        self._joined = dict(joined or {})
        if marks is not None:
            self._join([partition for partition in partitions if partition not in marks], merge(marks))
        self._watermark: int | None = merge(self._marks)
        self._empty = empty_rows(topology) if empty is None else empty

    @property
    def states(self) -> Mapping[str, State]:
        """State by step name."""
        return self._states

    @property
    def joined(self) -> Mapping[Partition, int]:
        """Partitions that were added after the pipeline began, with the watermark from which they count."""
        return self._joined

    def _join(self, added: Sequence[Partition], floor: int | None) -> None:
        """Lets new partitions begin at the watermark that the others have reached.

        State before it was freed. A row of a new partition from before it would open a freed window anew, with a lower revision than the one that
        was published: so it is late, as it would be in an old partition.
        """
        if floor is not None:
            self._joined |= dict.fromkeys(added, floor)
            self._marks |= dict.fromkeys(added, floor)

    @property
    def marks(self) -> Marks:
        """Watermarks by partition."""
        return self._marks

    def apply(self, batches: Sequence[LaneBatch]) -> OutputBatch:
        """Folds batches in the order given; gives the records to publish, by topic. Rows of several batches go through each step at once."""
        rows = [batch.rows for batch in batches if batch.rows is not None]
        shared = [batch.shared for batch in batches if batch.shared is not None]
        for batch in batches:
            for partition, mark in batch.marks.items():
                before = self._marks.get(partition)
                self._marks[partition] = mark if before is None or (mark is not None and mark > before) else before
            self.balance.enter(batch.source, batch.entered)
        merged = merge(self._marks)
        moved = merged is not None and (self._watermark is None or merged > self._watermark)
        if moved:
            self._watermark = merged
        dead = [batch.dead for batch in batches]
        outputs: dict[str, list[pl.DataFrame]] = {}
        for batch in batches:
            for topic, frame in batch.outputs.items():
                outputs.setdefault(topic, []).append(frame)
        if not rows and not shared and not moved:
            return self._publish(outputs, dead)
        events = self._from_joining(pl.concat(rows)) if rows else self._empty
        return self._fold(events, self._from_joining(pl.concat(shared)) if shared else None, dead, outputs)

    def _from_joining(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Raises the row watermarks of partitions that joined late to where they joined."""
        if not self._joined:
            return rows
        mark = pl.col("row_watermark")
        for (topic, partition), floor in self._joined.items():
            of_it = (pl.col("topic") == topic) & (pl.col("partition") == partition)
            mark = pl.when(of_it).then(pl.max_horizontal(mark, pl.lit(floor))).otherwise(mark)
        return rows.with_columns(mark.alias("row_watermark"))

    def finish(self) -> OutputBatch:
        """Closes every window, as at the end of a finite input."""
        self._watermark = END_OF_TIME
        return self._fold(self._empty, None, [], {})

    def _fold(
        self, events: pl.DataFrame, shared: pl.DataFrame | None, before: Sequence[pl.DataFrame], outputs: dict[str, list[pl.DataFrame]]
    ) -> OutputBatch:
        rows, here = self._through(self._topology.keyed, events, outputs)
        for topic, passed in rows.group_by("topic").len().iter_rows():
            self._telemetry.outcome(topic, "passed", passed)
        if "enriched_events" not in self._topology.outputs:
            self.balance.leave("passed", rows)
        self._telemetry.dead(here)
        if self._topology.shared is not None and (shared is not None or any(self._states[step.name] for step in self._topology.shared_steps)):
            # Rows that end here have a dead letter from the steps before: the same rule judged the same records there.
            self._through(self._topology.shared_steps, self._topology.shared.schema.to_frame() if shared is None else shared, outputs)
        return self._publish(outputs, [*before, here])

    def _through(self, steps: Sequence[Step], rows: pl.DataFrame, outputs: dict[str, list[pl.DataFrame]]) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Takes rows through steps in order; gives what is left and what ended, and adds what they put out."""
        dead: list[pl.DataFrame] = []
        for step in steps:
            height = rows.height
            with self._telemetry.stage(step.name, height):
                if isinstance(step, KeyedStep):
                    self._states[step.name], outcome = step.apply(self._states[step.name], rows, self._watermark)
                else:
                    outcome = step(rows)
            assert height == outcome.batch.height + outcome.dead.height, f"step {step.name} lost or made rows"
            rows = outcome.batch
            dead.append(outcome.dead)
            for topic, frame in outcome.outputs.items():
                if frame.height:
                    outputs.setdefault(topic, []).append(frame)
            self._telemetry.outcome_facts(outcome.facts)
        return rows, _joined(dead)

    def _publish(self, outputs: Mapping[str, Sequence[pl.DataFrame]], dead: Sequence[pl.DataFrame]) -> OutputBatch:
        batch = {topic: pl.concat(frames) if len(frames) > 1 else frames[0] for topic, frames in outputs.items()}
        ended = _joined(dead)
        letters = ended.filter(pl.col("disposition") == "dead") if ended.height else ended
        if letters.height:
            batch["dead_letters"] = dead_letters(letters)
        self._balanced(batch, ended.filter(pl.col("disposition") == "filtered") if ended.height else ended)
        return batch

    def _balanced(self, batch: OutputBatch, filtered: pl.DataFrame) -> None:
        """Counts what leaves the lane, from the records that are put out themselves."""
        self.balance.leave("passed", batch.get("enriched_events"))
        self.balance.leave("dead", batch.get("dead_letters"))
        self.balance.leave("filtered", filtered)
        if self.balance.entered:  # an engine that carries no counts with its batches has no balance to show
            self._telemetry.balance(self._number, self.balance.sums(), self.balance.unaccounted())


def _joined(dead: Sequence[pl.DataFrame]) -> pl.DataFrame:
    rows = [frame for frame in dead if frame.height]
    return pl.concat(rows) if rows else NO_DEAD


def dead_letters(dead: pl.DataFrame) -> pl.DataFrame:
    """Gives the records of the ``dead_letters`` topic for rows of ``schemas.events.DEAD``."""
    unknown = set(dead["code"].unique()) - _CODES
    assert not unknown, f"codes that are not in the error tree: {sorted(unknown)}"
    coordinates = dead.select("topic", "partition", "offset").iter_rows()
    uids = pl.Series("record_uid", [record_uid(topic, partition, offset) for topic, partition, offset in coordinates], dtype=pl.String)
    schema = output_schema("dead_letters")
    return dead.with_columns(uids).select(schema.names()).cast(schema)
