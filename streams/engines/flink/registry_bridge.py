"""What the stages count, in Flink's own metric registry: counters under ``headrace``, with the labels as groups."""

from __future__ import annotations

import time
from typing import Any, Final

from streams.telemetry import CATALOGUE, Kind, Telemetry

_EVERY_S: Final = 0.5


class RegistryBridge:
    """Copies counters of a telemetry to a Flink metric group.

    Args:
        telemetry: What the stages count in.
        group: Flink's metric group of the operator.
    """

    def __init__(self, telemetry: Telemetry, group: Any) -> None:
        self._telemetry = telemetry
        self._group = group.add_group("headrace")
        self._told: dict[tuple[str, tuple[str, ...]], int] = {}
        self._counters: dict[tuple[str, tuple[str, ...]], Any] = {}
        self._told_at = 0.0

    def push(self) -> None:
        """Adds what was counted since the last time; at most twice a second."""
        now = time.monotonic()
        if now - self._told_at < _EVERY_S:
            return
        self._told_at = now
        totals = self._telemetry.snapshot()
        for metric in CATALOGUE:
            if metric.kind is not Kind.COUNTER:
                continue
            for labels, value in totals.values.get(metric.name, {}).items():
                at = (metric.name, labels)
                more = round(value) - self._told.get(at, 0)
                if more:
                    self._counter(metric.name, dict(zip(metric.labels, labels, strict=True)), at).inc(more)
                    self._told[at] = round(value)

    def _counter(self, name: str, labels: dict[str, str], at: tuple[str, tuple[str, ...]]) -> Any:
        if at not in self._counters:
            group = self._group
            for label, value in labels.items():
                group = group.add_group(label, value)
            self._counters[at] = group.counter(name)
        return self._counters[at]
