"""The proof of an erasure: what was found of a person where, what became of it, and what stays until when."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """One place that was looked at.

    Attributes:
        name: What it is, e.g. ``table guardrail_decisions``.
        before: Rows, points, records or keys of the person that were found.
        after: How many were found when it was looked at again.
        done: What was done: deleted, destroyed, tombstones, nothing.
        stays: Why what is left stays, and until when; None where nothing is left.
    """

    name: str
    before: int
    after: int
    done: str
    stays: str | None = None


@dataclass(frozen=True, slots=True)
class Proof:
    """What one erasure did. Holds keyed hashes, no user id.

    Attributes:
        persons: Hashes that stand for the user id, one a hash key.
        erased_at: When it was asked for, ISO 8601 in UTC.
        asked_by: Who asked for it.
        places: In the order in which they were looked at.
    """

    persons: tuple[str, ...]
    erased_at: str
    asked_by: str
    places: tuple[Place, ...]

    @property
    def text(self) -> str:
        """The proof as one line of JSON."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))

    @property
    def uid(self) -> str:
        """SHA-256 of the text, in hex: what the audit log names."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def mark(self, key: bytes) -> bytes:
        """Gives the HMAC that shows who made the proof."""
        return proof_mark(self.text, key)

    @property
    def left(self) -> Sequence[Place]:
        """Places that still hold something of the person."""
        return [place for place in self.places if place.after]


def proof_mark(text: str, key: bytes) -> bytes:
    """Gives the mark of a proof's text under a key."""
    return hmac.digest(key, b"headrace erasure proof " + text.encode(), "sha256")
