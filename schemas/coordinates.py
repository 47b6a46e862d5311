"""Ids of records and of outputs: derived from the log alone, so that a replay makes the same ones.

A record's id is (topic, partition, offset). An output's id derives from (kind, agent_id, event_id), which duplicates share. No random
number and no clock takes part.
"""

from __future__ import annotations

from hashlib import blake2b

_ID_BYTES = 16


def _digest(*parts: str) -> str:
    """Gives 32 hex digits over the lengths of the parts and the parts, so that ("ab", "c") and ("a", "bc") differ."""
    encoded = [part.encode("utf-8", "surrogatepass") for part in parts]
    lengths = b"".join([len(data).to_bytes(8, "big") for data in encoded])
    return blake2b(lengths + b"".join(encoded), digest_size=_ID_BYTES).hexdigest()


def event_uid(kind: str, agent_id: str, event_id: str) -> str:
    """Gives the id of an event and of every output derived from it: 32 hex digits.

    The kind takes part because the log is ordered only inside one topic: which of two records of different topics came first is not a
    fact of the log, so a tool execution never counts as a duplicate of an agent event.
    """
    return _digest("event", kind, agent_id, event_id)


def record_uid(topic: str, partition: int, offset: int) -> str:
    """Gives the id of a dead letter: 32 hex digits over the coordinates of the record it stands for."""
    return _digest("record", topic, str(partition), str(offset))


def window_uid(*key: str) -> str:
    """Gives the id of a window: 32 hex digits over its start, length and grouping key (the revision is kept beside it)."""
    return _digest("window", *key)


def alert_uid(event_uid: str, rule_id: str) -> str:
    """Gives the id of an alert: 32 hex digits over the event and the rule that raised it."""
    return _digest("alert", event_uid, rule_id)


def audit_uid(what: str, *about: str) -> str:
    """Gives the id of an entry of the audit log: 32 hex digits over what was done and what it was about."""
    return _digest("audit", what, *about)


def breach_uid(quota_id: str, scope: str, key: str, window_ms: int, window_start: int) -> str:
    """Gives the id of the breach of a quota: 32 hex digits over the quota, what it was about and the window."""
    return _digest("breach", quota_id, scope, key, str(window_ms), str(window_start))


def review_uid(event_uid: str) -> str:
    """Gives the id of the review of a held event: 32 hex digits over the event."""
    return _digest("review", event_uid)


def release_uid(event_uid: str) -> str:
    """Gives the id of a held event as it goes out once it is approved: 32 hex digits over the event."""
    return _digest("release", event_uid)


def control_uid(cause: str, command: str) -> str:
    """Gives the id of a command to agents: 32 hex digits over the id of what caused it and the command."""
    return _digest("control", cause, command)
