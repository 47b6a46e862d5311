"""The section ``limits`` of a policy: limits of agents, and quotas over all partitions."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

import yaml

from governance.limits import NO_LIMITS, Budget, Command, Concurrency, Depth, LimitsPolicy, Measure, Per, Quota, Scope
from governance.nodes import NodeReader, pick
from governance.rules import KINDS
from governance.verdict import Action, Enforcement, Severity, Verdict

_ID: Final = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*")
#: A day; longer windows would hold state for as long.
_WINDOW_S_MAX: Final = 86_400
#: Content that waits for a person is kept as long.
_REVIEW_S_MAX: Final = 90 * 86_400
_TOTAL_MAX: Final = 1 << 53
_COUNT_MAX: Final = 1_000_000
_DEPTH_MAX: Final = 10_000
_QUIET_S: Final = 600
_HEAD: Final = ("id", "description", "severity")
_JUDGING: Final = ("verdict", "action")
_SENT: Final = (Command.THROTTLE, Command.PAUSE, Command.STOP)

Values = Mapping[str, yaml.Node]
AnyLimit = Budget | Concurrency | Depth
_T = TypeVar("_T")


def limits_policy(reader: NodeReader, node: yaml.Node | None, taken: frozenset[str]) -> LimitsPolicy:
    """Gives the section; where it is absent nothing is limited. Problems go to the reader.

    Args:
        reader: Reads the document.
        node: The section.
        taken: Ids of the policy's rules, which no limit may have.
    """
    values = reader.mapping(node, "limits", (), ("agents", "quotas", "hold"))
    section = _Section(reader, set(taken))
    hold = reader.mapping(values.get("hold"), "limits.hold", (), ("throttle_s", "pause_s", "review_s"))
    throttle_s, pause_s = (reader.integer(*pick(hold, key, "limits.hold"), 1, _WINDOW_S_MAX) for key in ("throttle_s", "pause_s"))
    review_s = reader.integer(*pick(hold, "review_s", "limits.hold"), 1, _REVIEW_S_MAX)
    return LimitsPolicy(
        agents=reader.sequence(values.get("agents"), "limits.agents", section.limit),
        quotas=reader.sequence(values.get("quotas"), "limits.quotas", section.quota),
        throttle_ms=NO_LIMITS.throttle_ms if throttle_s is None else throttle_s * 1000,
        pause_ms=NO_LIMITS.pause_ms if pause_s is None else pause_s * 1000,
        review_ms=NO_LIMITS.review_ms if review_s is None else review_s * 1000,
    )


@dataclass(frozen=True, slots=True)
class _Head:
    """What limits and quotas both say; placeholders where there was a problem, for then no policy is made."""

    id: str
    description: str
    enforcement: Enforcement
    severity: Severity
    kinds: tuple[str, ...]


class _Section:
    """Reads limits and quotas, and knows the ids that are taken."""

    def __init__(self, reader: NodeReader, taken: set[str]) -> None:
        self._reader = reader
        self._taken = taken
        self._types: Mapping[str, tuple[tuple[str, ...], tuple[str, ...], Callable[[Values, str], AnyLimit]]] = {
            Budget.type: (("per", "measure", "window_s", "max"), (), self._budget),
            Concurrency.type: (("max", "ends"), ("quiet_s",), self._concurrency),
            Depth.type: (("max",), ("memory_s",), self._depth),
        }

    def limit(self, node: yaml.Node, path: str) -> AnyLimit | None:
        """Gives one entry of ``agents``."""
        known = tuple(self._types)
        if not isinstance(node, yaml.MappingNode):
            self._reader.mapping(node, path)
            return None
        named = next((value for key, value in node.value if key.value == "type"), None)
        if named is None:
            self._reader.problem(node, f"{path}.type", f"is missing; add one of {', '.join(known)}")
            return None
        kind = self._reader.word(named, f"{path}.type", known)
        if kind is None:
            return None
        required, optional, make = self._types[kind]
        return make(self._reader.mapping(node, path, ("type", *_HEAD, *_JUDGING, *required), ("enforcement", "kinds", *optional)), path)

    def quota(self, node: yaml.Node, path: str) -> Quota | None:
        """Gives one entry of ``quotas``."""
        reader = self._reader
        values = reader.mapping(node, path, (*_HEAD, "per", "measure", "window_s", "max"), ("enforcement", "kinds", "control", "hold_s"))
        head = self._head(values, path)
        per = reader.choice(*pick(values, "per", path), Scope) or Scope.USER
        control = reader.choice(*pick(values, "control", path), Command, _SENT)
        hold_s = reader.integer(*pick(values, "hold_s", path), 0, _WINDOW_S_MAX)
        if control is None and "hold_s" in values:
            reader.problem(values["hold_s"], f"{path}.hold_s", "says how long a command holds and there is none; add control, or remove it")
        hold_ms = hold_s * 1000 if hold_s is not None else None if control is Command.STOP else 0
        measure, window_ms, total = self._counted(values, path)
        return Quota(head.id, head.description, head.enforcement, head.severity, head.kinds, per, measure, window_ms, total, control, hold_ms)

    def _budget(self, values: Values, path: str) -> Budget:
        per = self._reader.choice(*pick(values, "per", path), Per) or Per.AGENT
        return self._agent_limit(Budget, values, path, per, *self._counted(values, path))

    def _concurrency(self, values: Values, path: str) -> Concurrency:
        reader = self._reader
        open_max = reader.integer(*pick(values, "max", path), 1, _COUNT_MAX) or 1
        quiet_s = reader.integer(*pick(values, "quiet_s", path), 1, _WINDOW_S_MAX) or _QUIET_S
        return self._agent_limit(Concurrency, values, path, open_max, reader.texts(*pick(values, "ends", path)), quiet_s * 1000)

    def _depth(self, values: Values, path: str) -> Depth:
        reader = self._reader
        depth_max = reader.integer(*pick(values, "max", path), 1, _DEPTH_MAX) or 1
        memory_s = reader.integer(*pick(values, "memory_s", path), 1, _WINDOW_S_MAX) or _QUIET_S
        return self._agent_limit(Depth, values, path, depth_max, memory_s * 1000)

    def _counted(self, values: Values, path: str) -> tuple[Measure, int, int]:
        reader = self._reader
        measure = reader.choice(*pick(values, "measure", path), Measure) or Measure.EVENTS
        window_s = reader.integer(*pick(values, "window_s", path), 1, _WINDOW_S_MAX) or 1
        return measure, window_s * 1000, reader.integer(*pick(values, "max", path), 0, _TOTAL_MAX) or 0

    def _agent_limit(self, make: Callable[..., _T], values: Values, path: str, *parts: object) -> _T:
        reader, head = self._reader, self._head(values, path)
        verdict = reader.choice(*pick(values, "verdict", path), Verdict) or Verdict.ALLOW
        action = reader.choice(*pick(values, "action", path), Action) or Action.PASS
        if "verdict" in values and verdict is Verdict.ALLOW and action is not Action.PASS:
            reader.problem(values["action"], f"{path}.action", f"must be pass where the verdict is allow, came '{action}'")
        return make(head.id, head.description, verdict, action, head.enforcement, head.severity, head.kinds, *parts)

    def _head(self, values: Values, path: str) -> _Head:
        reader = self._reader
        node, at = pick(values, "id", path)
        name = reader.text(node, at)
        if node is not None and name is not None:
            if not _ID.fullmatch(name):
                reader.problem(node, at, f"must be lower case words joined by '.', '_' or '-', came '{name}'")
            if name in self._taken:
                reader.problem(node, at, f"'{name}' is taken by an earlier rule or limit; choose another")
            self._taken.add(name)
        return _Head(
            id=name or "",
            description=reader.text(*pick(values, "description", path)) or "",
            enforcement=reader.choice(*pick(values, "enforcement", path), Enforcement) or Enforcement.ENFORCE,
            severity=reader.choice(*pick(values, "severity", path), Severity) or Severity.INFO,
            kinds=reader.words(*pick(values, "kinds", path), KINDS) or KINDS,
        )
