"""Where a Kafka lane stands: ids that the replay has not met stay known, offsets only grow, and all of it survives a snapshot."""

from __future__ import annotations

from copy import deepcopy

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from schemas.topics import OUTPUTS
from sinks.kafka_position import KafkaPosition, message_ids

TOPICS = st.sampled_from(sorted(OUTPUTS))
OFFSETS = st.dictionaries(TOPICS, st.dictionaries(st.integers(0, 5), st.integers(0, 9)))
UNMET = st.dictionaries(TOPICS, st.dictionaries(st.text(max_size=3), st.none(), min_size=1))
REVISIONS = st.lists(st.tuples(st.sampled_from(["w", "v", "w:v"]), st.integers(0, 12)), max_size=8)


def ids_of(rows: list[tuple[str, int]]) -> list[str]:
    return [f"{window}:{revision}" for window, revision in rows]


@given(OFFSETS, UNMET)
def test_a_position_comes_back_from_its_bytes(offsets: dict[str, dict[int, int]], unmet: dict[str, dict[str, None]]) -> None:
    position = KafkaPosition(offsets, unmet)
    assert KafkaPosition.from_bytes(position.to_bytes()) == position


@given(OFFSETS, UNMET, st.integers(1, 4))
def test_the_lanes_part_the_partitions_and_change_nothing_of_the_whole(
    offsets: dict[str, dict[int, int]], unmet: dict[str, dict[str, None]], lanes: int
) -> None:
    whole = KafkaPosition(offsets, unmet)
    before = deepcopy(whole)
    parts = [whole.of_lane(lane, lanes) for lane in range(lanes)]
    for lane, part in enumerate(parts):
        assert part.offsets == {topic: {p: offset for p, offset in of_topic.items() if p % lanes == lane} for topic, of_topic in offsets.items()}
    assert all(part.unmet == unmet for part in parts)
    parts[0].wrote("alerts", ["new"])
    parts[0].advance("alerts", 0, 99)
    assert whole == before


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 9))))
def test_offsets_never_go_back(moves: list[tuple[int, int]]) -> None:
    position = KafkaPosition()
    for partition, offset in moves:
        position.advance("alerts", partition, offset)
    assert position.offsets.get("alerts", {}) == {p: max(o for q, o in moves if q == p) for p, _ in moves}


@given(st.lists(st.sampled_from("abcdef")), st.lists(st.sampled_from("abcdef")))
def test_ids_stay_until_the_replay_meets_them(wrote: list[str], met: list[str]) -> None:
    position = KafkaPosition()
    position.met("alerts", met)  # nothing is known yet
    position.wrote("alerts", wrote)
    position.met("alerts", met)
    assert list(position.unmet["alerts"]) == [name for name in dict.fromkeys(wrote) if name not in met]


@given(REVISIONS, REVISIONS)
def test_a_revision_is_forgotten_when_itself_or_a_higher_one_comes_by(wrote: list[tuple[str, int]], met: list[tuple[str, int]]) -> None:
    position = KafkaPosition()
    position.wrote("agent_metrics", ids_of(wrote))
    position.met("agent_metrics", ids_of(met))
    left = [(window, revision) for window, revision in dict.fromkeys(wrote) if not any(w == window and r >= revision for w, r in met)]
    assert list(position.unmet["agent_metrics"]) == ids_of(left)


def test_ids_of_one_topic_say_nothing_of_another() -> None:
    position = KafkaPosition()
    position.wrote("alerts", ["a"])
    position.met("enriched_events", ["a"])
    assert position.unmet["alerts"] == {"a": None}


def test_met_topics_do_not_swell_the_snapshot() -> None:
    position = KafkaPosition()
    position.wrote("alerts", ["a"])
    position.met("alerts", ["a"])
    assert position.to_bytes() == KafkaPosition().to_bytes()


def test_a_message_id_joins_the_id_columns() -> None:
    frame = pl.DataFrame({"window_uid": ["w", "v"], "revision": [3, 12], "event_uid": ["e", "f"]})
    assert message_ids(OUTPUTS["agent_metrics"], frame) == ["w:3", "v:12"]
    assert message_ids(OUTPUTS["enriched_events"], frame) == ["e", "f"]
