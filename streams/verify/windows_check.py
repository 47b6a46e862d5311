"""Every window against a recount of the events that passed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from streams.verify.findings import Findings, Kind
from streams.verify.plain.event import Partition
from streams.verify.plain.fates import Judged
from streams.verify.plain.windows import Counted, Key, Window, differing, recount, window_id
from streams.verify.published import Published, Row


@dataclass(frozen=True, slots=True)
class Extent:
    """Which windows are compared.

    Attributes:
        length_ms: Of a window.
        from_ms: Windows that begin before it may have events that were not read.
        to_ms: Windows that end after it are not asked for; None compares all.
        closed_ms: Windows that end by then must have been published; None where none need be.
        ends: By partition, the offset behind the last record that must be counted; those behind may be.
    """

    length_ms: int
    from_ms: int | None
    to_ms: int | None
    closed_ms: int | None
    ends: Mapping[Partition, int]

    def holds(self, start: int) -> bool:
        """Tells whether a window is compared."""
        return (self.from_ms is None or start >= self.from_ms) and (self.to_ms is None or start + self.length_ms <= self.to_ms)


def counted(judged: Judged, published: Published) -> Counted | None:
    """Gives what windows count of a record, under the names that it was published with."""
    event = judged.event
    if event is None or not judged.counted:
        return None
    rows = published.events.get(judged.place)
    names: Mapping[str, Any] = rows[0].values if rows else event.names
    return Counted(
        event.kind,
        event.time_ms,
        names["agent_id"],
        names["event_type"],
        names.get("tool_name"),
        names.get("status"),
        event.content.get("error") is not None,
        event.numbers,
    )


def newest_windows(published: Published) -> dict[str, Row]:
    """Gives of each window the row with the highest (generation, revision)."""
    newest: dict[str, Row] = {}
    for row in published.rows["agent_metrics"].values():
        values = row.values
        before = newest.get(values["window_uid"])
        if before is None or (values["generation"], values["revision"]) > (before.values["generation"], before.values["revision"]):
            newest[values["window_uid"]] = row
    return newest


def check_windows(passed: Sequence[tuple[Judged, Counted]], published: Published, extent: Extent, findings: Findings) -> dict[str, int]:
    """Compares all windows of the extent; gives how many were compared, and how many were in motion."""
    settled = recount((one for judged, one in passed if judged.place[2] < extent.ends[judged.place[:2]]), extent.length_ms)
    wanted = recount((one for _, one in passed), extent.length_ms)
    newest = newest_windows(published)
    told = {"windows": 0, "windows in motion": 0}
    for key, window in wanted.items():
        if not extent.holds(key[0]):
            continue
        row = newest.pop(window_id(key, extent.length_ms), None)
        least = settled.get(key)
        if row is None:
            if least is not None and extent.closed_ms is not None and key[0] + extent.length_ms <= extent.closed_ms:
                words = f"window {window_id(key, extent.length_ms)} of {len(least.members)} events is not there"
                findings.add(Kind.LOST, "agent_metrics", words, *_first_place(passed, key, extent.length_ms))
            continue
        told["windows"] += 1
        told["windows in motion"] += _compare(row, key, least, window, extent, findings)
    for row in newest.values():
        if extent.holds(row.values["window_start"]):
            findings.add(Kind.UNEXPECTED, "agent_metrics", f"window {row.values['window_uid']} counts events that are not there", row.place)
    return told


def _compare(row: Row, key: Key, least: Window | None, window: Window, extent: Extent, findings: Findings) -> bool:
    """Compares one window; tells whether it was in motion, so that its values could not be."""
    values = row.values
    revision, least_events, most = values["revision"], 0 if least is None else len(least.members), len(window.members)
    named = {"window_start": key[0], "window_end": key[0] + extent.length_ms, "agent_id": key[1], "event_type": key[2], "tool_name": key[3]}
    wrong = [name for name, want in named.items() if values[name] != want]
    if not least_events <= revision <= most:
        wrong.append(f"revision ({revision}, want {most if least_events == most else f'{least_events} to {most}'})")
    in_motion = revision not in (most, least_events)
    if not in_motion or least_events == most:
        held = least if least is not None and revision == least_events else window
        wrong += [name for name in differing(values, held) if name != "revision"]
    if wrong:
        findings.add(Kind.DIFFERENT, "agent_metrics", f"window {values['window_uid']}: fields differ: {', '.join(wrong)}", row.place)
    return in_motion and least_events != most


def _first_place(passed: Sequence[tuple[Judged, Counted]], key: Key, length_ms: int) -> list[tuple[str, int, int]]:
    """Gives where the first event of a window lies."""
    for judged, one in passed:
        if (one.time_ms // length_ms * length_ms, one.agent, one.event_type, one.tool) == key:
            return [judged.place]
    return []
