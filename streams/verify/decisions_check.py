"""Decisions, alerts and audit entries against the events that they are about: each there once, and saying what the hits mean under their policy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from governance.policy import Policy
from streams.verify.findings import Findings, Kind
from streams.verify.plain.event import Place
from streams.verify.plain.ids import alert_id, entry_id
from streams.verify.plain.verdicts import Rule, together
from streams.verify.published import Published, Row

_SHARED: Final = (
    *("event_uid", "event_id", "agent_id", "session_id", "kind", "event_type", "tool_name", "event_time", "user_id", "topic", "partition", "offset"),
    *("hits", "verdict", "action", "policy_id", "policy_version", "injection_ppm", "jailbreak_ppm", "toxicity_ppm", "scored_by", "degraded"),
)
_ENTRY: Final = {
    "rules": "hits",
    "result": "verdict",
    "action": "action",
    "agent_id": "agent_id",
    "event_time": "event_time",
    "event_uid": "event_uid",
}


def check_decisions(
    published: Published, policies: Mapping[tuple[str, str], Policy], is_settled: Callable[[Place], bool], findings: Findings
) -> dict[str, int]:
    """Compares; gives how many were compared, and how many could not be because their policy is not kept."""
    check = _Check(published, {key: _rules(policy) for key, policy in policies.items()}, is_settled, findings)
    for rows in published.events.values():
        check.event(rows[0])
    check.strangers()
    return check.told


def _rules(policy: Policy) -> Mapping[str, tuple[Rule, bool]]:
    """Gives each rule's words, and whether its hit raises an alert."""
    rules = (*policy.rules, *policy.limits.agents)
    return {
        one.id: (
            (one.verdict.value, one.action.value, one.enforcement.value),
            one.severity.value == "critical" and one.enforcement.value == "enforce",
        )
        for one in rules
    }


class _Check:
    def __init__(
        self,
        published: Published,
        rules: Mapping[tuple[str, str], Mapping[str, tuple[Rule, bool]]],
        is_settled: Callable[[Place], bool],
        findings: Findings,
    ) -> None:
        self._rows = published.rows
        self._rules = rules
        self._is_settled = is_settled
        self._findings = findings
        self._events = {row.values["event_uid"]: row for rows in published.events.values() for row in rows[:1]}
        self._dead = set(published.letters)
        self._alerts: set[str] = set()
        self.told = {"decisions": 0, "decisions of unknown policies": 0}

    def event(self, row: Row) -> None:
        """Holds one event against what must follow from its hits."""
        values = row.values
        uid, place = values["event_uid"], (values["topic"], values["partition"], values["offset"])
        decision = self._rows["guardrail_decisions"].get(uid)
        hits = values["hits"] or []
        if not hits:
            if (values["verdict"], values["action"]) != ("allow", "pass"):
                self._add(Kind.DIFFERENT, "enriched_events", "no rule hit, and the event is not allowed to pass as it is", row.place, place)
            return
        if decision is None:
            if self._is_settled(place):
                self._add(Kind.LOST, "guardrail_decisions", f"the event of id {uid} was hit by rules and has no decision", row.place, place)
        else:
            wrong = [name for name in _SHARED if decision.values[name] != values[name]]
            if wrong:
                self._add(Kind.DIFFERENT, "guardrail_decisions", f"fields differ: {', '.join(wrong)}", decision.place, row.place)
        self._judged(row, decision, place)
        self._entry(row, place)

    def _judged(self, row: Row, decision: Row | None, place: Place) -> None:
        values = row.values
        rules = self._rules.get((values["policy_id"], values["policy_version"]))
        if rules is None or any(hit not in rules for hit in values["hits"]):
            self.told["decisions of unknown policies"] += 1
            return
        self.told["decisions"] += 1
        verdict, action, enforcement = together(rules[hit][0] for hit in values["hits"])
        if (verdict, action) != (values["verdict"], values["action"]) or (decision is not None and decision.values["enforcement"] != enforcement):
            self._add(Kind.DIFFERENT, "guardrail_decisions", "verdict, action or enforcement is not what the hits mean", row.place, place)
        for hit in values["hits"]:
            if not rules[hit][1]:
                continue
            uid = alert_id(values["event_uid"], hit)
            self._alerts.add(uid)
            if uid not in self._rows["alerts"] and self._is_settled(place):
                self._add(Kind.LOST, "alerts", f"the alert of id {uid} is not there", row.place, place)

    def _entry(self, row: Row, place: Place) -> None:
        values = row.values
        if values["verdict"] == "allow":
            return
        uid = entry_id(values["event_uid"])
        entry = self._rows["audit_log"].get(uid)
        if entry is None:
            if self._is_settled(place):
                self._add(Kind.LOST, "audit_log", f"the entry of id {uid} is not there", row.place, place)
            return
        wrong = [name for name, of in _ENTRY.items() if entry.values[name] != values[of]]
        if wrong:
            self._add(Kind.DIFFERENT, "audit_log", f"fields differ: {', '.join(wrong)}", entry.place, row.place)

    def strangers(self) -> None:
        """Finds decisions of events that no rule hit, or that are not there."""
        for uid, decision in self._rows["guardrail_decisions"].items():
            event, place = self._events.get(uid), _about(decision.values)
            if event is None and (place in self._dead or not self._is_settled(place)):
                continue
            if event is None or not event.values["hits"]:
                self._add(Kind.UNEXPECTED, "guardrail_decisions", "its event is not there or was hit by no rule", decision.place, place)

    def _add(self, kind: Kind, what: str, words: str, *places: Place) -> None:
        self._findings.add(kind, what, words, *places)


def _about(values: Mapping[str, Any]) -> Place:
    return values["topic"], values["partition"], values["offset"]
