"""Ids of outputs, made a second time: BLAKE2b over the lengths of the parts, then the parts."""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import Any


def digest_of(*parts: str) -> str:
    """Gives 32 hex digits over texts."""
    encoded = [part.encode("utf-8", "surrogatepass") for part in parts]
    told = b"".join(len(data).to_bytes(8, "big") for data in encoded) + b"".join(encoded)
    return blake2b(told, digest_size=16).hexdigest()


def event_id(kind: str, agent: str, event: str) -> str:
    """Gives the id of an event."""
    return digest_of("event", kind, agent, event)


def record_id(topic: str, partition: int, offset: int) -> str:
    """Gives the id of a dead letter."""
    return digest_of("record", topic, str(partition), str(offset))


def entry_id(event: str) -> str:
    """Gives the id of the audit entry of a decision."""
    return digest_of("audit", "decision", event)


def alert_id(event: str, rule: str) -> str:
    """Gives the id of an alert."""
    return digest_of("alert", event, rule)


def user_hash(user: str, key: bytes, prefix: str) -> str:
    """Gives the keyed hash that stands for a user id."""
    own = blake2b(key, digest_size=32, person=b"headrace-user").digest()
    return prefix + blake2b(user.encode("utf-8", "surrogatepass"), key=own, digest_size=8).hexdigest()


def content_digest(node: Any) -> bytes:
    """Gives a digest of parsed JSON that does not depend on spelling."""
    told = json.dumps(node, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return blake2b(told.encode("ascii"), digest_size=16).digest()
