"""What became of a run's records: the counts every engine reports when it stops."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from streams.telemetry import Telemetry


@dataclass(frozen=True, slots=True)
class RunSummary:
    """Counts of one run, by record and not by batch.

    Attributes:
        rows_in: Records read from the input.
        dead: Dead letters, by code.
        filtered: Records left out on purpose, by reason (``duplicate``).
        outputs: Records written, by output topic; without rows that a replay left out because they were there before.
    """

    rows_in: int
    dead: Mapping[str, int] = field(default_factory=dict)
    filtered: Mapping[str, int] = field(default_factory=dict)
    outputs: Mapping[str, int] = field(default_factory=dict)

    @property
    def passed(self) -> int:
        """Records that went the whole way: in less dead less filtered."""
        return self.rows_in - sum(self.dead.values()) - sum(self.filtered.values())


def summary_of(telemetry: Telemetry, sink: str) -> RunSummary:
    """Gives the counts of a run that had the telemetry for itself; outputs are those of the named sink."""
    totals = telemetry.snapshot()
    outputs: dict[str, int] = {}
    for (of, topic, result), rows in totals.values["sink_rows_total"].items():
        if of == sink and result == "written" and rows:
            outputs[topic] = outputs.get(topic, 0) + round(rows)
    return RunSummary(
        rows_in=totals.by("events_total", outcome="polled"),
        dead={code: count for code, count in totals.each("dead_letters_total", "code").items() if count},
        filtered={code: count for code, count in totals.each("filtered_total", "code").items() if count},
        outputs=outputs,
    )
