"""What must hold after every fault: each record has its one fate, each output is there once, tables say the same, nothing personal is out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime
from hashlib import blake2b
from typing import Any, Final

from schemas.topics import OUTPUTS
from streams.fleet.book import RAW_MARK
from tests.chaos.load import ANY, WINDOW_MS, Place, Sent
from tests.corpora.canary_writings import Search
from tests.fixtures.deployment import Deployment
from tests.integration.privacy.canaries import bytes_below
from tests.integration.privacy.test_no_personal_value_gets_out import tables_of, topics_of

_TABLES: Final = {
    "metric_windows": "agent_metrics",
    "guardrail_decisions": "guardrail_decisions",
    "alerts": "alerts",
    "dead_letters": "dead_letters",
    "audit_records": "audit_log",
}
#: Searched at once.
_PIECE_BYTES: Final = 4 << 20
_OVERLAP_BYTES: Final = 4_096


def assert_delivered(deployment: Deployment, sent: Sent) -> None:
    """Holds the output of a run that has come to the end of its input against the book of what was sent.

    Lost: a record without its fate. Twice: an id, or a fate, that occurs again. Nothing here uses headrace's own steps.
    """
    ids = {topic: Counter[str]() for topic in OUTPUTS}
    fates: dict[Place, str] = {}
    doubled: list[Place] = []
    counted: Counter[tuple[Any, ...]] = Counter()
    by_start: Counter[int] = Counter()
    revisions: dict[str, tuple[tuple[Any, ...], int, int]] = {}
    for topic, output in OUTPUTS.items():
        for record in deployment.records_of(topic):
            ids[topic][str(record[output.id_columns[0]]) + (f":{record['revision']}" if topic == "agent_metrics" else "")] += 1
            place = (record.get("topic"), record.get("partition"), record.get("offset"))
            if topic in ("enriched_events", "dead_letters"):
                fate = "passed" if topic == "enriched_events" else str(record["code"])
                if place in fates:
                    doubled.append(place)  # type: ignore[arg-type]
                fates[place] = fate  # type: ignore[index]
            if topic == "enriched_events" and not record["late"]:
                start = _ms(record["event_time"]) // WINDOW_MS * WINDOW_MS
                counted[start, record["agent_id"], record["event_type"], record["tool_name"]] += 1
                by_start[start] += place not in sent.fates or sent.fates[place] != ANY  # type: ignore[index,comparison-overlap]
            elif topic == "agent_metrics":
                key = (_ms(record["window_start"]), record["agent_id"], record["event_type"], record["tool_name"])
                before = revisions.get(record["window_uid"], (key, -1, 0))
                if record["revision"] > before[1]:
                    revisions[record["window_uid"]] = (key, record["revision"], record["events"])
    expected = {place: fate.code or fate.disposition for place, fate in sent.fates.items() if fate.disposition != "filtered"}
    lost = [place for place in expected if place not in fates]
    assert lost == [], f"{len(lost)} of {len(expected)} records are lost, the first at {lost[:3]}"
    assert doubled == [], f"{len(doubled)} records have two fates, the first at {doubled[:3]}"
    other = {place: (fate, expected.get(place)) for place, fate in fates.items() if expected.get(place) not in (fate, ANY.disposition)}
    assert other == {}, f"{len(other)} records have another fate (came, expected): {dict(list(other.items())[:3])}"
    twice = {topic: [uid for uid, count in found.items() if count > 1][:3] for topic, found in ids.items()}
    assert {topic: uids for topic, uids in twice.items() if uids} == {}, "ids that occur twice"
    assert by_start == sent.windows, "events by window, as the book has them"
    windows = Counter({key: events for key, _, events in revisions.values()})
    assert windows == counted, "windows, recounted from the enriched events"
    _assert_tables(deployment, ids, {uid: revision for uid, (_, revision, _) in revisions.items()})
    whole = deployment.headrace("audit", "verify")
    assert whole.returncode == 0, whole.stdout + whole.stderr[-2000:]


def _assert_tables(deployment: Deployment, ids: dict[str, Counter[str]], windows: dict[str, int]) -> None:
    for table, topic in _TABLES.items():
        column = OUTPUTS[topic].id_columns[0]
        rows = Counter(str(row[0]) for row in deployment.table(table, [column]))
        expected = Counter(windows.keys()) if topic == "agent_metrics" else ids[topic]
        assert rows == expected, f"table {table}: {(rows - expected).total()} too many, {(expected - rows).total()} missing"
    assert dict(deployment.table("metric_windows", ["window_uid", "revision"])) == windows


def _ms(value: datetime | int) -> int:
    return value if isinstance(value, int) else round(value.timestamp() * 1_000)


class Leaks:
    """Looks for what was planted, in whatever is handed to it.

    Args:
        values: Canaries that masking knows.
    """

    def __init__(self, values: Iterable[str]) -> None:
        self._values = tuple(values)
        self._search = Search(self._values)
        self._clean: set[bytes] = set()
        self.searched_bytes = 0
        self.found: dict[str, set[str]] = {}

    def look(self, places: Iterable[tuple[str, bytes]]) -> None:
        """Searches places, in any writing."""
        for place, data in places:
            self.searched_bytes += len(data)
            for at in range(0, len(data), _PIECE_BYTES):
                piece = data[at : at + _PIECE_BYTES + _OVERLAP_BYTES]
                digest = blake2b(piece, digest_size=16).digest()
                if digest in self._clean:  # files that have not changed since the last look
                    continue
                found = self._search.found_in(piece) if self._values else set()
                if RAW_MARK in piece:  # every address of the fleet
                    found.add("an address of the fleet")
                if found:
                    self.found.setdefault(place, set()).update(found)
                else:
                    self._clean.add(digest)

    def assert_none(self) -> None:
        """Fails with the places of what was found, and with what was planted there (made for tests, no person's)."""
        assert self.searched_bytes > 0
        assert self.found == {}, {place: sorted(found)[:3] for place, found in self.found.items()}


def written(deployment: Deployment) -> Iterator[tuple[str, bytes]]:
    """Gives all that a pipeline has written: files below its folder, output topics (aborted records too), tables."""
    yield from bytes_below(deployment.folder)
    yield from topics_of(deployment)
    if deployment.dsn:
        yield from tables_of(deployment)
