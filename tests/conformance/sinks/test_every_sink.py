"""What every sink keeps: whole batches, once, within the deadline, whatever happens to the place."""

from __future__ import annotations

import itertools
import time
from concurrent.futures import ThreadPoolExecutor

import polars as pl
import pytest

from schemas.errors import FatalError, RetryableError
from schemas.topics import OUTPUTS
from sinks.contract import OutputBatch, Receipt, Sink, SinkLane
from tests.conformance.sinks import places, vector_places
from tests.conformance.sinks.places import Place
from tests.fixtures.outputs import records, sorted_rows

DEADLINE_S = 10.0
METRICS = "agent_metrics"
pytestmark = pytest.mark.integration


def batch_of(sink: Sink, count: int, *, first: int = 0, seed: int = 0) -> OutputBatch:
    return {topic: records(topic, count, first=first, seed=seed) for topic in sorted(sink.topics)}


def open_first(sink: Sink) -> SinkLane:
    return sink.open_lane(0, 1, sink.begin())


def assert_holds(place: Place, sink: Sink, *batches: OutputBatch) -> None:
    """A reader finds these records, each once, and no others."""
    found = place.read(sink)
    for topic in sink.topics:
        given = pl.concat([place.kept(topic, batch[topic]) for batch in batches if topic in batch] or [found[topic].clear()])
        assert sorted_rows(found[topic], topic) == sorted_rows(given, topic), topic


def assert_counts(receipt: Receipt, batch: OutputBatch) -> None:
    """Every row is counted once: as written, as skipped or as left out."""
    left_out = {topic: sum(receipt.left_out.get(topic, {}).values()) for topic in batch}
    counted = {topic: receipt.written[topic] + receipt.skipped[topic] + left_out[topic] for topic in batch}
    assert counted == {topic: frame.height for topic, frame in batch.items()}


def assert_all_new(place: Place, receipt: Receipt, batch: OutputBatch) -> None:
    """Every row that the place keeps was written by this write."""
    assert dict(receipt.written) == {topic: place.kept(topic, frame).height for topic, frame in batch.items()}
    assert_counts(receipt, batch)


def test_what_was_written_is_read_back_equal(place: Place) -> None:
    sink = place.sink()
    lane = open_first(sink)
    batch = batch_of(sink, 50)
    receipt = lane.write(batch, DEADLINE_S)
    lane.close()
    assert_all_new(place, receipt, batch)
    assert set(receipt.skipped.values()) == {0}
    assert_holds(place, sink, batch)


def test_a_replay_from_an_older_position_changes_nothing(place: Place) -> None:
    sink = place.sink()
    lane = open_first(sink)
    before, after = batch_of(sink, 20), batch_of(sink, 20, first=20)
    lane.write(before, DEADLINE_S)
    position = lane.position()
    lane.write(after, DEADLINE_S)
    lane.close()
    successor = place.sink()
    lane = successor.open_lane(0, 1, position)
    assert_counts(lane.write(after, DEADLINE_S), after)
    lane.close()
    assert_holds(place, successor, before, after)


def test_a_replay_from_the_beginning_changes_nothing(place: Place) -> None:
    sink = place.sink()
    beginning = sink.begin()
    batch = batch_of(sink, 20)
    lane = sink.open_lane(0, 1, beginning)
    lane.write(batch, DEADLINE_S)
    lane.close()
    successor = place.sink()
    lane = successor.open_lane(0, 1, beginning)
    assert_counts(lane.write(batch, DEADLINE_S), batch)
    lane.close()
    assert_holds(place, successor, batch)


def test_a_successor_at_the_latest_position_goes_on(place: Place) -> None:
    sink = place.sink()
    lane = open_first(sink)
    before, after = batch_of(sink, 20), batch_of(sink, 20, first=20)
    lane.write(before, DEADLINE_S)
    position = lane.position()
    lane.close()
    successor = place.sink()
    lane = successor.open_lane(0, 1, position)
    lane.write(after, DEADLINE_S)
    lane.close()
    assert_holds(place, successor, before, after)


def test_a_refused_batch_leaves_nothing(place: Place) -> None:
    sink = place.sink()
    lane = open_first(sink)
    batch = batch_of(sink, 20)
    with pytest.raises(FatalError) as refusal:
        lane.write(place.poisoned(batch), DEADLINE_S)
    assert refusal.value.__context__ is None, "a foreign error travels along"
    lane.close()
    assert_holds(place, sink)


def test_a_sink_that_is_away_is_retryable_and_the_batch_lands_once(place: Place) -> None:
    sink = place.sink()
    lane = open_first(sink)
    before, after = batch_of(sink, 20), batch_of(sink, 200, first=20)
    lane.write(before, DEADLINE_S)
    with place.away():
        for _ in range(2):
            with pytest.raises(RetryableError) as refusal:
                lane.write(after, DEADLINE_S)
            assert refusal.value.retry_after_ms > 0
            assert refusal.value.__context__ is None, "a foreign error travels along"
    receipt = lane.write(after, DEADLINE_S)
    lane.close()
    assert_all_new(place, receipt, after)
    assert_holds(place, sink, before, after)


def test_a_lane_closes_while_the_sink_is_away(place: Place) -> None:
    sink = place.sink()
    lane = open_first(sink)
    batch = batch_of(sink, 20)
    lane.write(batch, DEADLINE_S)
    with place.away():
        lane.close()
    assert_holds(place, sink, batch)


def test_a_hanging_sink_raises_by_the_deadline(place: Place) -> None:
    sink = place.sink()
    lane = open_first(sink)
    lane.write(batch_of(sink, 20), DEADLINE_S)
    batch = batch_of(sink, 20, first=20)
    with place.hanging():
        for _ in range(2):  # on the open connection, then on a new one
            began = time.monotonic()
            with pytest.raises(RetryableError):
                lane.write(batch, 2.0)
            assert time.monotonic() - began < 3.5
    lane.write(batch, DEADLINE_S)
    lane.close()
    assert_holds(place, sink, batch_of(sink, 20), batch)


@pytest.mark.parametrize("order", list(itertools.permutations([(0, 1), (0, 3), (1, 2)])))
def test_the_highest_generation_then_revision_wins_in_any_order(place: Place, order: tuple[tuple[int, int], ...]) -> None:
    sink = place.sink()
    lane = open_first(sink)
    versions = {version: records(METRICS, 5, seed=sum(version), generation=version[0], revision=version[1]) for version in order}
    lane.write({METRICS: versions[order[0]]}, DEADLINE_S)
    lane.write({METRICS: pl.concat([versions[order[1]], versions[order[2]]])}, DEADLINE_S)
    lane.close()
    found = place.read(sink)[METRICS]
    highest = found.sort("generation", "revision").unique("window_uid", keep="last")
    assert sorted_rows(highest, METRICS) == sorted_rows(versions[1, 2], METRICS)


def test_lanes_write_at_the_same_time(place: Place) -> None:
    sink = place.sink()
    beginning = sink.begin()
    batches = {number: [batch_of(sink, 10, first=10 * (5 * number + part), seed=number) for part in range(5)] for number in range(4)}

    def run(number: int) -> None:
        lane = sink.open_lane(number, 4, beginning)
        for batch in batches[number]:
            assert_counts(lane.write(batch, DEADLINE_S), batch)
        lane.close()

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(run, range(4)))
    assert_holds(place, sink, *(batch for number in range(4) for batch in batches[number]))


def test_empty_frames_and_foreign_topics_are_nothing(place: Place) -> None:
    sink = place.sink()
    lane = open_first(sink)
    foreign = records(METRICS, 3)
    receipt = lane.write({**{topic: records(topic, 0) for topic in sink.topics}, "no_such_topic": foreign}, DEADLINE_S)
    assert lane.write({}, DEADLINE_S) == Receipt({}, {})
    lane.close()
    assert not any(receipt.written.values())
    assert "no_such_topic" not in receipt.written
    assert_holds(place, sink)


def test_a_sink_has_a_name_and_known_topics(place: Place) -> None:
    sink = place.sink()
    assert sink.name
    assert sink.topics <= set(OUTPUTS)


def test_every_waiver_names_a_test_of_this_suite_with_its_reason() -> None:
    claims = {name for name in globals() if name.startswith("test_")}
    vectors = (vector_places.EdgePlace, vector_places.LocalPlace, vector_places.ServerPlace)
    for kind in (places.TimescalePlace, places.FilesPlace, places.KafkaPlace, *vectors):
        assert set(kind.waivers) <= claims
        assert all(len(reason) > 20 for reason in kind.waivers.values())
