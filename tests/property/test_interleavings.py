"""Records of several partitions in many interleavings: from row watermarks to windows the final values and the lateness are the same.

agent_events[0]     a   b       c            what one interleaving polls:  a x b y c z
tool_executions[0]    x     y      z         and another:                  x y z a b c
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import polars as pl
import pytest
from hypothesis import Phase, given, settings

from governance.parse import default_policy
from operators.contract import NO_DEAD, Outcome
from operators.deduplicate import Deduplicate
from operators.enrich import Enrich
from operators.windows.measure import Measure
from operators.windows.watermark import Partition, row_watermarks
from streams.batch import LaneBatch
from streams.lane import Lane
from streams.telemetry import Telemetry
from streams.topology import Topology
from tests.property.event_streams import FULL, Case, cases

Watermarks = Callable[[pl.DataFrame, Mapping[Partition, int]], tuple[pl.DataFrame, dict[Partition, int]]]


class NoRows:
    """The front of a pipeline whose rows are drawn: asked for its columns alone."""

    name = "no_rows"

    def __call__(self, batch: pl.DataFrame) -> Outcome:
        return Outcome(FULL.to_frame())


def by_partition(rows: pl.DataFrame, before: Mapping[Partition, int]) -> tuple[pl.DataFrame, dict[Partition, int]]:
    return row_watermarks(rows, before, {})


def over_all_partitions(rows: pl.DataFrame, before: Mapping[Partition, int]) -> tuple[pl.DataFrame, dict[Partition, int]]:
    """The mutant: one watermark for all that was polled, as if the order in which partitions are read were a fact of the log."""
    highest, marks = max(before.values(), default=None), []
    after = dict(before)
    for topic, partition, time in rows.select("topic", "partition", "event_time").iter_rows():
        marks.append(highest)
        highest = time if highest is None else max(highest, time)
        after[topic, partition] = highest
    return rows.with_columns(pl.Series("row_watermark", marks, dtype=pl.Int64)), after


def ended(case: Case, watermarks: Watermarks) -> dict[str, Any]:
    """Gives what is left at the end of a run over one interleaving."""
    topology = Topology(
        name="interleaved",
        inputs=("agent_events", "tool_executions"),
        front=(NoRows(),),
        key="agent_id",
        lanes=1,
        shards=1,
        window_ms=10,
        keyed=(Deduplicate(ttl_ms=90, bucket_ms=30), Measure(window_ms=10, lateness_ms=20), Enrich()),
        outputs=("agent_metrics", "enriched_events"),
        policy=default_policy(),
    )
    partitions: list[Partition] = case.rows.select("topic", "partition").unique().sort("topic", "partition").rows()
    lane, marks, outputs = Lane(topology, partitions, Telemetry()), dict[Partition, int](), []
    borders = [0, *case.cuts, case.rows.height]
    for begin, end in pairwise(borders):
        rows, marks = watermarks(case.rows[begin:end].drop("row_watermark"), marks)
        outputs.append(lane.apply([LaneBatch(rows.select(FULL.names()), dict(marks), NO_DEAD, rows.height, None, None)]))
    outputs.append(lane.finish())
    final: dict[str, Any] = {}
    for output in outputs:
        for window in output.get("agent_metrics", pl.DataFrame()).to_dicts():
            if window["revision"] >= final.get(window["window_uid"], window)["revision"]:
                final[window["window_uid"]] = window
        for event in output.get("enriched_events", pl.DataFrame()).to_dicts():
            final["late", event["topic"], event["partition"], event["offset"]] = event["late"], event["row_watermark"]  # type: ignore[index]
    return final


@settings(deadline=None, max_examples=12)
@given(case=cases())
def test_interleavings_change_neither_final_values_nor_lateness(case: Case) -> None:
    assert ended(case, by_partition) == ended(case.reinterleaved(), by_partition)


def test_a_watermark_over_all_partitions_is_caught() -> None:
    @settings(deadline=None, max_examples=80, database=None, derandomize=True, phases=[Phase.generate])
    @given(case=cases())
    def same(case: Case) -> None:
        assert ended(case, over_all_partitions) == ended(case.reinterleaved(), over_all_partitions)

    with pytest.raises(AssertionError):
        same()
