"""What another policy changes beside the fates of records: alerts, commands to agents, values of windows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

import polars as pl

from sinks.contract import OutputBatch
from streams.replay.comparison import AGENTS_MAX, OTHERS

#: Windows whose values differ, or that only one side has told so far; further ones are counted, not compared.
WINDOWS_MAX: Final = 1_000_000
_WINDOW: Final = pl.Schema({"window_uid": pl.String(), "revision": pl.Int64(), "agent_id": pl.String(), "values": pl.UInt64()})
_NO_VALUES: Final = frozenset({"window_uid", "revision", "generation"})

Outcome = tuple[str, ...]


class Effects:
    """Counts what two sides put out.

    Alerts are counted by rule, limit or quota and by whom they are about; commands by each of their reasons, by whom they are for and by what they
    say. Which event caused one does not count: under a lower maximum it is an earlier one. Windows are compared by their last values.
    Bounds: 10,000 agents and users, ``WINDOWS_MAX`` windows that differ.
    """

    def __init__(self) -> None:
        self._alerts: tuple[Counter[Outcome], Counter[Outcome]] = (Counter(), Counter())
        self._commands: tuple[Counter[Outcome], Counter[Outcome]] = (Counter(), Counter())
        self._names: set[str] = set()
        self._windows = (_WINDOW.to_frame(), _WINDOW.to_frame())
        self.windows_left = 0

    def add(self, old: OutputBatch, new: OutputBatch) -> None:
        """Takes in what both sides put out for one batch."""
        for number, outputs in enumerate((old, new)):
            self._count(self._alerts[number], outputs.get("alerts"), ("rule_id", "agent_id"))
            self._count(self._commands[number], outputs.get("agent_control"), ("reasons", "target", "command"))
        self._windows = self._unlike(_windows(old), _windows(new))

    def _count(self, counts: Counter[Outcome], frame: pl.DataFrame | None, columns: tuple[str, ...]) -> None:
        if frame is None or not frame.height:
            return
        listed = [name for name in columns if isinstance(frame.schema[name], pl.List)]
        one_each = frame.select(columns).explode(listed) if listed else frame.select(columns)
        for *key, count in one_each.group_by(columns).len().sort(columns).iter_rows():
            rule, name, *rest = (part or "(unknown)" for part in key)
            if name not in self._names and len(self._names) >= AGENTS_MAX:
                name = OTHERS
            self._names.add(name)
            counts[rule, name, *rest] += count

    def _unlike(self, old: pl.DataFrame, new: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Gives the windows that are not known to be alike: the last values of each that one side has told and the other has not."""
        if not old.height and not new.height:
            return self._windows
        left, right = (_last(pl.concat([before, now])) for before, now in zip(self._windows, (old, new), strict=True))
        alike = left.join(right, on=["window_uid", "revision", "values"], how="semi").select("window_uid")
        left, right = (side.join(alike, on="window_uid", how="anti") for side in (left, right))
        self.windows_left += sum(max(0, side.height - WINDOWS_MAX) for side in (left, right))
        return left.head(WINDOWS_MAX), right.head(WINDOWS_MAX)

    @property
    def _agents(self) -> Counter[str]:
        both = pl.concat(self._windows).unique("window_uid", keep="any")
        return Counter(dict(both.group_by("agent_id").len().iter_rows()))

    @property
    def is_same(self) -> bool:
        """Whether both sides put out as many of everything, and the same windows."""
        return self._alerts[0] == self._alerts[1] and self._commands[0] == self._commands[1] and not any(side.height for side in self._windows)

    def as_json(self) -> dict[str, list[dict[str, Any]]]:
        """Gives what differs as plain values."""
        return {
            "alerts": _differing(self._alerts, ("rule", "agent")),
            "commands": _differing(self._commands, ("rule", "target", "command")),
            "windows": [{"agent": agent, "windows": count} for agent, count in sorted(self._agents.items(), key=lambda one: (-one[1], one[0]))],
        }


def _windows(outputs: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    frame = outputs.get("agent_metrics")
    if frame is None or not frame.height:
        return _WINDOW.to_frame()
    values = pl.struct(name for name in frame.columns if name not in _NO_VALUES).hash().alias("values")
    return _last(frame.select("window_uid", "revision", "agent_id", values).cast(_WINDOW))


def _last(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.sort("revision").unique("window_uid", keep="last", maintain_order=True)


def _differing(sides: tuple[Counter[Outcome], Counter[Outcome]], names: Iterable[str]) -> list[dict[str, Any]]:
    old, new = sides
    keys = sorted(key for key in {*old, *new} if old[key] != new[key])
    return [{**dict(zip(names, key, strict=True)), "old": old[key], "new": new[key]} for key in keys]
