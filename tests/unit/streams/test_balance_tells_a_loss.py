"""Whatever enters a lane leaves it; a record that is lost or doubled anywhere on the way shows in the balance, also after a restart."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import polars as pl
import pytest

from governance.parse import default_policy
from operators.contract import BatchStep, Outcome
from operators.enrich import Enrich
from streams.balance import Balance
from streams.batch import LaneBatch
from streams.config import Config
from streams.intake import Board, Intake, IntakeState
from streams.lane import Lane
from streams.pipeline import build_topology
from streams.telemetry import Telemetry
from streams.topology import Topology
from tests.fixtures.records import raw_frame

PARTITION = ("agent_events", 3)


@pytest.fixture(scope="module")
def pipeline() -> Topology:
    return build_topology(Config(), default_policy(), bytes(32), None)


def record(number: int) -> bytes:
    said = {"event_id": f"e{number}", "event_type": "agent.executed", "timestamp": 1_700_000_000_000 + number, "agent_id": f"a{number % 7}"}
    return json.dumps(said).encode()


#: Ten events, one of them again, and one that is broken.
VALUES = [*map(record, range(10)), record(3), b"{"]


class Bench:
    """An intake with its lanes, as an engine holds them."""

    def __init__(self, topology: Topology, state: IntakeState | None = None, balances: list[Balance] | None = None) -> None:
        self.telemetry = Telemetry()
        board = Board([PARTITION])
        self.intake = Intake(topology, [PARTITION], board, {}, lambda _marks: None, self.telemetry, state)
        made = balances or [Balance() for _ in range(topology.lanes)]
        self.lanes = [Lane(topology, [PARTITION], self.telemetry, number=number, balance=balance) for number, balance in enumerate(made)]

    def run(self, raw: pl.DataFrame, spoil: Callable[[list[LaneBatch]], list[LaneBatch]] = lambda batches: batches) -> None:
        for lane, batch in zip(self.lanes, spoil(self.intake.take(raw)), strict=True):
            lane.apply([batch])

    @property
    def unaccounted(self) -> dict[str, int]:
        """What the page of metrics says, by lane."""
        return self.telemetry.snapshot().each("unaccounted_records", "lane")

    def sides(self) -> dict[str, int]:
        return self.telemetry.snapshot().each("balance_records", "side")


def test_what_enters_passes_ends_or_is_left_out(pipeline: Topology) -> None:
    bench = Bench(pipeline)
    bench.run(raw_frame(VALUES))
    assert bench.sides() == {"in": 12, "passed": 10, "dead": 1, "filtered": 1}
    assert set(bench.unaccounted.values()) == {0}


class LosesOne:
    """An enrich that puts one event less out than it passes."""

    name = "enrich"

    def __call__(self, batch: pl.DataFrame) -> Outcome:
        made = Enrich()(batch)
        return replace(made, outputs={topic: frame.head(max(0, frame.height - 1)) for topic, frame in made.outputs.items()})


def losing(pipeline: Topology, step: BatchStep) -> Topology:
    return replace(pipeline, keyed=tuple(step if one.name == step.name else one for one in pipeline.keyed))


def test_an_event_that_is_not_put_out_is_told(pipeline: Topology) -> None:
    bench = Bench(losing(pipeline, LosesOne()))
    bench.run(raw_frame(VALUES))
    assert sum(bench.unaccounted.values()) == sum(count > 0 for count in bench.unaccounted.values()) > 0


def test_a_batch_that_does_not_reach_its_lane_is_told_with_the_next_one(pipeline: Topology) -> None:
    bench = Bench(pipeline)
    empty = [LaneBatch(None, {}) for _ in bench.lanes]
    bench.run(raw_frame(VALUES), lambda _batches: empty)
    bench.run(raw_frame([record(99)]))
    assert sum(bench.unaccounted.values()) == 12


def test_dead_letters_that_are_lost_are_told(pipeline: Topology) -> None:
    bench = Bench(pipeline)
    bench.run(raw_frame(VALUES), lambda batches: [replace(batch, dead=batch.dead.clear()) for batch in batches])
    assert sum(bench.unaccounted.values()) == 1


def test_a_batch_that_comes_twice_is_told(pipeline: Topology) -> None:
    bench = Bench(pipeline)

    def doubled(batches: list[LaneBatch]) -> list[LaneBatch]:
        return [replace(batch, rows=None if batch.rows is None else pl.concat([batch.rows] * 2)) for batch in batches]

    bench.run(raw_frame([record(1)]), doubled)
    assert sum(bench.unaccounted.values()) == -1


def test_the_balance_goes_on_over_a_restart(pipeline: Topology) -> None:
    first = Bench(pipeline)
    first.run(raw_frame(VALUES))
    kept = [Balance.from_rows(json.loads(json.dumps(lane.balance.to_rows()))) for lane in first.lanes]
    second = Bench(pipeline, replace(first.intake.state), kept)
    second.run(raw_frame([record(50)]).with_columns(pl.lit(12, dtype=pl.Int64).alias("offset")))
    assert (second.sides()["in"], second.sides()["passed"]) == (13, 11)
    assert set(second.unaccounted.values()) == {0}
    forgot = Bench(pipeline, replace(first.intake.state), None)
    forgot.run(raw_frame([record(50)]))
    assert sum(forgot.unaccounted.values()) != 0, "a snapshot without the balance of the lanes"
