"""What an agent may do now, by the commands of ``agent_control``: the contract of ``docs/agent-control.md`` without a client."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from governance.limits import COMMANDS, Command


class Orders:
    """Commands taken so far. In which order they were taken does not matter, nor how often each was.

    Bounds: one entry a command that no later ``resume`` to its target took back; ``forget`` drops those that ended.
    """

    def __init__(self) -> None:
        self._held: dict[tuple[str, str], dict[str, tuple[Command, int, float]]] = {}
        self._resumed: dict[tuple[str, str], int] = {}

    def take(self, record: Mapping[str, Any]) -> None:
        """Takes in one record of the topic, times in ms."""
        target = record["target_kind"], record["target"]
        issued_at, command = record["issued_at"], Command(record["command"])
        held = self._held.setdefault(target, {})
        if command is Command.RESUME:
            self._resumed[target] = max(issued_at, self._resumed.get(target, issued_at))
            self._held[target] = {uid: order for uid, order in held.items() if order[1] > issued_at}
        elif target not in self._resumed or issued_at > self._resumed[target]:
            held[record["control_uid"]] = command, issued_at, math.inf if record["until"] is None else record["until"]

    def standing(self, *, agent: str, at: int, user: str | None = None, tool: str | None = None) -> Command | None:
        """Gives the strongest command that holds at an event time for an agent, while it works for a user and calls a tool; None where it is free."""
        targets = [("agent", agent), ("fleet", "fleet"), *(("user", name) for name in (user,) if name), *(("tool", name) for name in (tool,) if name)]
        holding = [command for target in targets for command, _, until in self._held.get(target, {}).values() if until > at]
        return max(holding, key=COMMANDS.index, default=None)

    def forget(self, before: int) -> None:
        """Drops the commands that ended before an event time."""
        for target, held in self._held.items():
            self._held[target] = {uid: order for uid, order in held.items() if order[2] > before}
