"""Every record of the input against its event or dead letter on the output."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from streams.verify.findings import Account, Findings, Kind
from streams.verify.plain.event import CONTENT, Event, Partition, Place, Record
from streams.verify.plain.fates import Fate, Judged
from streams.verify.plain.ids import content_digest, event_id, record_id
from streams.verify.published import Published, Row

_NUMBERS: Final = ("step_number", "latency_us", "input_tokens", "output_tokens", "cost_nano_usd", "confidence_ppm")
#: Names that masking may change; then it is written in ``masked`` or the name is not the producer's.
_NAMES: Final = (
    *("event_id", "event_type", "agent_id", "session_id", "execution_id", "workflow_id", "step_id", "parent_id", "trace_id", "span_id"),
    *("tool_call_id", "tool_name", "model", "status", "step_type"),
)
_UNTOUCHED: Final = ("pass", "throttle")


@dataclass(frozen=True, slots=True)
class Span:
    """Which records of a partition are held against the output.

    Attributes:
        begin: First offset.
        end: Offset behind the last one that must have an end.
        to: Offset behind the last one that may have one.
    """

    begin: int
    end: int
    to: int


class EventsCheck:
    """Compares records with events and dead letters.

    Args:
        published: The output topics.
        spans: What is compared, by partition.
        findings: Takes differences in.
        user_hashes: Gives the hashes that may stand for a raw user id.
    """

    def __init__(
        self, published: Published, spans: Mapping[Partition, Span], findings: Findings, user_hashes: Callable[[str], frozenset[str]]
    ) -> None:
        self._published = published
        self._spans = spans
        self._findings = findings
        self._user_hashes = user_hashes
        self._names: dict[tuple[str, str], str] = {}
        self.accounts = {partition: Account() for partition in spans}
        self.late = 0
        self.compared = 0

    def take(self, record: Record, judged: Judged) -> None:
        """Holds one record against the output."""
        span = self._spans[judged.place[:2]]
        if not span.begin <= judged.place[2] < span.to:
            return
        account = self.accounts[judged.place[:2]]
        account.records += 1
        rows, letters = self._published.events.get(judged.place, []), self._published.letters.get(judged.place, [])
        self._one_end(judged, rows, letters)
        if rows:
            account.out += 1
            self._event(record, judged, rows[0])
        elif letters:
            account.dead += 1
            self._letter(record, judged, letters[0])
        elif Fate.DUPLICATE in judged.fates:
            account.duplicates += 1
        elif Fate.ERASED in judged.fates:
            account.erased += 1
        elif judged.place[2] >= span.end:
            account.ahead += 1
        else:
            account.lost += 1
            what = "enriched_events" if Fate.PASSED in judged.fates else "dead_letters"
            self._findings.add(Kind.LOST, what, "the record has no event, no dead letter and no reason to be left out", judged.place)

    def strangers(self, known: set[Place]) -> None:
        """Finds events and dead letters of records that are not in the input."""
        for what, by_place in (("enriched_events", self._published.events), ("dead_letters", self._published.letters)):
            for place, rows in by_place.items():
                span = self._spans.get(place[:2])
                if place not in known and span is not None and span.begin <= place[2] < span.to:
                    self._findings.add(Kind.UNEXPECTED, what, "it names an input record that is not there", rows[0].place, place)

    def _one_end(self, judged: Judged, rows: list[Row], letters: list[Row]) -> None:
        if len(rows) > 1:
            self._findings.add(Kind.DUPLICATED, "enriched_events", "one record gave several events", *(row.place for row in rows), judged.place)
        if rows and letters:
            self._findings.add(Kind.DUPLICATED, "dead_letters", "one record gave an event and a dead letter", letters[0].place, rows[0].place)

    def _event(self, record: Record, judged: Judged, row: Row) -> None:
        event = judged.event
        if Fate.PASSED not in judged.fates or event is None:
            words = f"the record must end as {' or '.join(sorted(judged.fates))} {' or '.join(sorted(judged.codes))}".rstrip()
            repeated = Fate.DUPLICATE in judged.fates
            self._findings.add(Kind.DUPLICATED if repeated else Kind.UNEXPECTED, "enriched_events", words, row.place, judged.place)
            return
        self.compared += 1
        values = row.values
        wrong = [
            *(name for name in _NUMBERS if values[name] != event.numbers.get(name)),
            *(name for name in _NAMES if not self._is_same_name(name, event.names.get(name), values[name])),
            *(name for name, want in _own(record, event).items() if values[name] != want),
            *(f"{name} (masked text)" for name in CONTENT if not _is_same_content(name, event, values)),
        ]
        if not self._is_same_user(event.names.get("user_id"), values["user_id"]):
            wrong.append("user_id")
        if values["event_uid"] != event_id(values["kind"], values["agent_id"], values["event_id"]):
            wrong.append("event_uid")
        if wrong:
            self._findings.add(Kind.DIFFERENT, "enriched_events", f"fields differ: {', '.join(wrong)}", row.place, judged.place)
        if values["row_watermark"] != judged.watermark:
            self._findings.add(
                Kind.LATE, "enriched_events", "row_watermark is not what the partition's log and idle marks give", row.place, judged.place
            )
        if values["late"] != judged.late:
            self._findings.add(Kind.LATE, "enriched_events", f"late must be {str(judged.late).lower()}", row.place, judged.place)
        self.late += judged.late

    def _letter(self, record: Record, judged: Judged, row: Row) -> None:
        values = row.values
        if Fate.DEAD not in judged.fates and values["code"] not in judged.codes:
            words = f"the record must end as {' or '.join(sorted(judged.fates))}, it is dead with {values['code']}"
            self._findings.add(Kind.UNEXPECTED, "dead_letters", words, row.place, judged.place)
            return
        self.compared += 1
        wrong = [] if values["code"] in judged.codes else ["code"]
        wrong += [name for name, want in {"kafka_time": record.time_ms, "traceparent": record.trace}.items() if values[name] != want]
        if values["record_uid"] != record_id(*judged.place):
            wrong.append("record_uid")
        if wrong:
            self._findings.add(Kind.DIFFERENT, "dead_letters", f"fields differ: {', '.join(wrong)}", row.place, judged.place)

    def _is_same_name(self, name: str, raw: str | None, found: str | None) -> bool:
        """Tells whether a published name stands for a raw one: itself, or always the same other one."""
        if raw is None or found is None:
            return raw is found
        return raw == found or self._names.setdefault((name, raw), found) == found

    def _is_same_user(self, raw: str | None, found: str | None) -> bool:
        if raw is None:
            return found is None
        return found is None or found in self._user_hashes(raw)


def _own(record: Record, event: Event) -> dict[str, Any]:
    return {
        "kind": event.kind,
        "event_time": event.time_ms,
        "kafka_time": record.time_ms,
        "traceparent": record.trace,
        "value_bytes": event.size,
        "depends_on": event.depends_on,
    }


def _is_same_content(name: str, event: Event, values: Mapping[str, Any]) -> bool:
    """Tells whether a content column in which nothing was masked is the producer's; others are looked at in the sample."""
    if values["action"] not in _UNTOUCHED or name in _masked_columns(values):
        return True
    found = values["content"][name]
    if name not in event.content:
        return found is None
    return bool(found == content_digest(event.content[name]))


def _masked_columns(values: Mapping[str, Any]) -> set[str]:
    """Gives the content columns in which something was masked; all of them where only the number of masks is known."""
    spans = values.get("masked_spans")
    if spans is None:
        return set(CONTENT) if values["masked_count"] else set()
    return {span["column"] for span in spans}
