"""Windows, counted again: a dictionary, a list of latencies, one event after the other.

A percentile of the pipeline is within one part in a hundred of the value that has the rank; here the values are sorted and the rank is looked up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from streams.verify.plain.ids import digest_of

#: Start, agent, type of event, tool.
Key = tuple[int, str, str, str | None]

_FAILED: Final = frozenset({"error", "failed", "failure", "timeout", "timed_out", "rejected", "aborted"})
_QUANTILES: Final = (("latency_p50_us", 500), ("latency_p95_us", 950), ("latency_p99_us", 990))
#: Bound of a percentile's relative error, and of the rounding of means.
QUANTILE_ERROR: Final = 0.01
_MEAN_ERROR: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Counted:
    """What a window needs of an event; names as they were published."""

    kind: str
    time_ms: int
    agent: str
    event_type: str
    tool: str | None
    status: str | None
    has_error: bool
    numbers: Mapping[str, int | None]


@dataclass(slots=True)
class Window:
    """One group of one window."""

    members: list[Counted] = field(default_factory=list)

    def values(self) -> dict[str, Any]:
        """Gives its fields, percentiles apart."""
        spans = sorted(self._all("latency_us"))
        sure = self._all("confidence_ppm")
        return {
            "revision": len(self.members),
            "events": len(self.members),
            "errors": sum(map(_has_failed, self.members)),
            "latency_count": len(spans),
            "latency_sum_us": sum(spans),
            "latency_min_us": spans[0] if spans else None,
            "latency_max_us": spans[-1] if spans else None,
            "latency_mean_us": sum(spans) / len(spans) if spans else None,
            "input_tokens": sum(self._all("input_tokens")),
            "output_tokens": sum(self._all("output_tokens")),
            "cost_nano_usd": sum(self._all("cost_nano_usd")),
            "tool_calls": sum(one.kind == "tool" for one in self.members),
            "confidence_count": len(sure),
            "confidence_sum_ppm": sum(sure),
            "confidence_mean": sum(sure) / len(sure) / 1_000_000 if sure else None,
            "first_event_time": min(one.time_ms for one in self.members),
            "last_event_time": max(one.time_ms for one in self.members),
        }

    def quantiles(self) -> dict[str, int | None]:
        """Gives the values that have the ranks."""
        spans = sorted(self._all("latency_us"))
        return {name: spans[permille * (len(spans) - 1) // 1_000] if spans else None for name, permille in _QUANTILES}

    def _all(self, name: str) -> list[int]:
        return [value for one in self.members if (value := one.numbers.get(name)) is not None]


def recount(events: Iterable[Counted], window_ms: int) -> dict[Key, Window]:
    """Counts events into tumbling windows."""
    windows: dict[Key, Window] = {}
    for one in events:
        key = (one.time_ms // window_ms * window_ms, one.agent, one.event_type, one.tool)
        windows.setdefault(key, Window()).members.append(one)
    return windows


def window_id(key: Key, window_ms: int) -> str:
    """Gives the id of a window."""
    start, agent, event_type, tool = key
    return digest_of("window", str(start), str(window_ms), agent, f"={event_type}", "" if tool is None else f"={tool}")


def differing(found: Mapping[str, Any], window: Window) -> list[str]:
    """Gives the names of fields in which a published window is not what was counted."""
    names = []
    for name, want in window.values().items():
        got = found[name]
        is_mean = name.endswith(("_mean", "_mean_us"))
        if got != want and not (is_mean and got is not None and want is not None and abs(got - want) <= _MEAN_ERROR * max(1.0, abs(want))):
            names.append(name)
    for name, want_us in window.quantiles().items():
        got = found[name]
        if (got is None) != (want_us is None) or (want_us is not None and abs(got - want_us) > QUANTILE_ERROR * want_us + 1e-6):
            names.append(name)
    return names


def _has_failed(one: Counted) -> bool:
    return (one.status or "").lower() in _FAILED or one.event_type.endswith(".failed") or one.has_error
