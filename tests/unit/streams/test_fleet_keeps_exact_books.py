"""The simulated fleet: the same for the same seed, and what it says of its records is true of their bytes."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from itertools import islice
from typing import Any

import pytest

from schemas.errors import record_error_codes
from schemas.topics import INPUTS
from streams.fleet import CORPORA, Book, Faults, Fleet, FleetRecord, corpus
from streams.fleet.corpora import measure
from streams.fleet.faults import SPOILERS
from streams.fleet.fleet import NO_FAULTS

BASE_MS = 1_700_000_000_000
WINDOW_MS = 10_000
LATENESS_MS = 60_000
MANY = Faults(duplicate=0.1, conflict=0.05, late=0.05, malformed=0.05, disorder=0.2)
OWNERS = {"workflow_events": "workflow_id", "system_events": "service"}


@pytest.fixture(scope="module")
def records() -> list[FleetRecord]:
    return list(islice(Fleet(7, agents=6, rate=300, base_time_ms=BASE_MS, faults=MANY).records(), 6_000))


def body(record: FleetRecord) -> dict[str, Any]:
    event = json.loads(record.value)
    assert isinstance(event, dict)
    return event


def passed(records: list[FleetRecord]) -> list[FleetRecord]:
    return [record for record in records if record.fate.disposition == "passed"]


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others() -> None:
    def first(seed: int) -> list[FleetRecord]:
        return list(islice(Fleet(seed, base_time_ms=BASE_MS).records(), 500))

    assert first(1) == first(1)
    assert first(1) != first(2)


def test_every_fault_occurs(records: list[FleetRecord]) -> None:
    fates = Counter((record.fate.disposition, record.fate.code, record.fate.late) for record in records)
    wanted = {("passed", None, False), ("passed", None, True), ("filtered", "duplicate", False), ("dead", "id_conflict", False)}
    assert set(fates) == wanted | {("dead", code, False) for code in SPOILERS}
    assert set(INPUTS) == {record.topic for record in records}
    assert set(SPOILERS) <= set(record_error_codes())


def test_passed_records_have_the_fields_of_their_topic_and_ids_of_their_own(records: list[FleetRecord]) -> None:
    ids = Counter()
    for record in passed(records):
        event = body(record)
        assert event["timestamp"] == record.event_time_ms
        assert event[OWNERS.get(record.topic, "agent_id")].encode() == record.key
        ids[record.topic, record.key, event["event_id"]] += 1
    assert max(ids.values()) == 1


def test_duplicates_repeat_the_bytes_of_an_earlier_record_and_conflicts_only_its_id(records: list[FleetRecord]) -> None:
    before: dict[tuple[str, bytes, str], bytes] = {}
    for record in records:
        if record.fate.code in (*SPOILERS, None) and record.fate.disposition == "dead":
            continue
        event = body(record)
        at = (record.topic, record.key, event["event_id"])
        if record.fate.code == "duplicate":
            assert before[at] == record.value
        elif record.fate.code == "id_conflict":
            assert before[at] != record.value
        else:
            before[at] = record.value


def test_late_means_late_by_its_own_partition_and_nothing_else_is(records: list[FleetRecord]) -> None:
    """The watermark of one agent's stream is at most that of its partition: late here is late there. The others are never late."""
    watermark: dict[tuple[str, bytes], int] = defaultdict(int)
    highest = 0
    for record in passed(records):
        assert record.event_time_ms is not None
        end = record.event_time_ms - record.event_time_ms % WINDOW_MS + WINDOW_MS
        if record.fate.late:
            assert end + LATENESS_MS <= watermark[record.topic, record.key]
        else:
            assert end + LATENESS_MS > highest
        watermark[record.topic, record.key] = max(record.event_time_ms, watermark[record.topic, record.key])
        highest = max(record.event_time_ms, highest)


def test_the_book_counts_what_was_sent(records: list[FleetRecord]) -> None:
    book = Book(WINDOW_MS)
    for record in records:
        book.add(record)
    assert book.total == len(records) == book.passed.total() + book.dead.total() + book.filtered.total()
    assert book.windows.total() == book.passed.total() - book.late
    assert book.late == sum(record.fate.late for record in records) > 0
    assert all(start % WINDOW_MS == 0 for start in book.windows)


def test_records_are_due_at_the_rate_and_event_times_follow() -> None:
    records = list(islice(Fleet(1, rate=200, base_time_ms=BASE_MS, faults=NO_FAULTS).records(), 401))
    assert [record.due_ms for record in records] == [index * 5 for index in range(401)]
    assert all(record.event_time_ms == BASE_MS + record.due_ms for record in records)


def test_closing_records_reach_every_partition_after_every_window() -> None:
    fleet = Fleet(1, base_time_ms=BASE_MS)
    closing = fleet.closing({"agent_events": 3, "system_events": 1}, WINDOW_MS, due_ms=4_000)
    assert [(record.topic, record.partition) for record in closing] == [
        ("agent_events", 0),
        ("agent_events", 1),
        ("agent_events", 2),
        ("system_events", 0),
    ]
    assert {record.event_time_ms for record in closing} == {BASE_MS + 15_000}


def test_personal_data_and_attacks_flow() -> None:
    text = b"".join(record.value for record in islice(Fleet(1, base_time_ms=BASE_MS).records(), 3_000)).decode()
    for sign in ("@example.", "Ignore all previous instructions", "evil.example", "AKIA", "social security"):
        assert sign in text, sign


@pytest.mark.parametrize("name", ["fleet", "distinct"])
def test_a_corpus_is_what_its_facts_say(name: str) -> None:
    assert measure(corpus(name).records()) == CORPORA[name]


def test_distinct_keeps_four_of_five_leaves_different_and_fleet_repeats() -> None:
    assert CORPORA["distinct"].distinct_share >= 0.8
    assert CORPORA["fleet"].distinct_share <= 0.35


def test_a_replay_goes_on_where_another_ended() -> None:
    whole = list(islice(corpus("fleet").records(start_ms=BASE_MS), 5_000))
    assert whole[4_500:] == list(islice(corpus("fleet").records(start_ms=BASE_MS, first=4_500), 500))
    ids = {(record.topic, record.key, json.loads(record.value)["event_id"]) for record in whole}
    assert len(ids) == len(whole)
