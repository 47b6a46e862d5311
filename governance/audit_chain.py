"""The hash chain of the audit log: each entry holds the hash of the one before, so that an edit, a gap or another order shows.

An entry's hash is SHA-256 over the hash of the entry before, its own number (8 bytes, big-endian) and its parts, each as ``length:bytes``, or ``-``
where it is null. The first entry of a chain follows a hash of the chain's name, so that two chains cannot be swapped. ``sinks/sql`` computes the same
in the database; a test holds the two equal.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Self

_HASH_BYTES: Final = 32
_HEADER_PARTS: Final = 3


@dataclass(frozen=True, slots=True)
class Link:
    """One entry's place in its chain.

    Attributes:
        seq: Number of the entry, from 0 without gaps.
        hash: What the next entry follows, 32 bytes.
    """

    seq: int
    hash: bytes


def genesis(chain: str) -> Link:
    """Gives what the first entry of a chain follows."""
    return Link(-1, hashlib.sha256(f"headrace audit chain {chain}".encode()).digest())


def follow(before: Link, parts: Iterable[bytes | None]) -> Link:
    """Gives the link of an entry with these parts that comes after another one."""
    seq = before.seq + 1
    content = b"".join(b"-" if part is None else b"%d:%s" % (len(part), part) for part in parts)
    return Link(seq, hashlib.sha256(before.hash + seq.to_bytes(8, "big") + content).digest())


@dataclass(frozen=True, slots=True)
class Stated:
    """What an entry says of its own place: the form in which a message header carries it.

    Attributes:
        link: Its number and hash.
        before: Hash of the entry before.
    """

    link: Link
    before: bytes

    def to_header(self) -> bytes:
        """Gives ``seq:hash before:hash``, hashes in hex."""
        return f"{self.link.seq}:{self.before.hex()}:{self.link.hash.hex()}".encode()

    @classmethod
    def from_header(cls, header: bytes) -> Self | None:
        """Reads what ``to_header`` gave; None where the header is something else."""
        parts = header.decode("ascii", "replace").split(":")
        try:
            seq, before, own = int(parts[0]), bytes.fromhex(parts[1]), bytes.fromhex(parts[2])
        except (ValueError, IndexError):
            return None
        if len(parts) != _HEADER_PARTS or seq < 0 or {len(before), len(own)} != {_HASH_BYTES}:
            return None
        return cls(Link(seq, own), before)


class Flaw(StrEnum):
    """What can be wrong with a chain."""

    EDITED = "edited"  # an entry's content does not give the hash that it states
    GAP = "gap"  # entries between two others are gone
    REORDERED = "reordered"  # an entry stands after one with a higher number, or twice
    BROKEN = "broken"  # an entry does not follow the one before it
    UNLINKED = "unlinked"  # an entry states no place in the chain
    CUT_OFF = "cut_off"  # entries before the first one are gone: by retention, or taken away
    TRUNCATED = "truncated"  # an anchor names an entry after the last one
    REWRITTEN = "rewritten"  # an anchor names another hash for an entry
    FORGED_ANCHOR = "forged_anchor"  # an anchor does not carry the mark of who holds the key


@dataclass(frozen=True, slots=True)
class Finding:
    """One flaw.

    Attributes:
        flaw: What is wrong.
        place: Where, e.g. ``audit_log[2] offset 17``.
        words: What was required and what came, without any value.
    """

    flaw: Flaw
    place: str
    words: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry as it lies in a place.

    Attributes:
        place: Where it lies, in words.
        stated: What it says of its place in the chain; None where it says nothing.
        parts: What its hash covers.
    """

    place: str
    stated: Stated | None
    parts: Sequence[bytes | None]


@dataclass(slots=True)
class Walk:
    """A walk along one chain, in the order of the log.

    Attributes:
        chain: Name of the chain.
        entries: Entries seen.
        head: The last link seen; that of ``genesis`` before the first.
        first_seq: Number of the first entry; None before it.
    """

    chain: str
    entries: int = 0
    first_seq: int | None = None
    head: Link = field(init=False)
    _hashes: dict[int, bytes] = field(init=False, default_factory=dict)
    _watched: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        self.head = genesis(self.chain)

    def watch(self, seqs: Iterable[int]) -> None:
        """Says which numbers anchors name, so that only their hashes are kept in memory."""
        self._watched = frozenset(seqs)

    def take(self, entry: Entry) -> Iterator[Finding]:
        """Looks at the next entry and gives what is wrong with it; goes on from the place that it states."""
        self.entries += 1
        if entry.stated is None:
            yield Finding(Flaw.UNLINKED, entry.place, f"every entry of {self.chain} must state its place in the chain, this one states none")
            return
        stated, expected = entry.stated, self.head.seq + 1
        if follow(Link(stated.link.seq - 1, stated.before), entry.parts).hash != stated.link.hash:
            yield Finding(
                Flaw.EDITED, entry.place, f"entry {stated.link.seq} does not give the hash that it states: it was changed after it was written"
            )
        yield from self._order(entry.place, stated, expected)
        if self.first_seq is None:
            self.first_seq = stated.link.seq
        if stated.link.seq in self._watched:
            self._hashes[stated.link.seq] = stated.link.hash
        if stated.link.seq >= expected or self.entries == 1:
            self.head = stated.link

    def _order(self, place: str, stated: Stated, expected: int) -> Iterator[Finding]:
        seq = stated.link.seq
        if self.first_seq is None and seq > 0:
            yield Finding(Flaw.CUT_OFF, place, f"the chain begins with entry {seq}: {seq} entries before it are gone")
        elif seq > expected:
            yield Finding(Flaw.GAP, place, f"entry {expected} must follow, came {seq}: {seq - expected} entries are gone")
        elif seq < expected:
            yield Finding(Flaw.REORDERED, place, f"entry {expected} must follow, came {seq}: moved or written twice")
        elif stated.before != self.head.hash:
            yield Finding(Flaw.BROKEN, place, f"entry {seq} does not follow the entry before it: the chain was forked or rewritten")

    def compare(self, anchors: Iterable[Link]) -> Iterator[Finding]:
        """Compares with heads that were written down elsewhere; call it at the end of the walk, after ``watch``."""
        for anchor in sorted(set(anchors), key=lambda link: link.seq):
            if anchor.seq > self.head.seq:
                gone = anchor.seq - self.head.seq
                yield Finding(
                    Flaw.TRUNCATED, self.chain, f"an anchor names entry {anchor.seq}, the last one here is {self.head.seq}: {gone} are gone"
                )
            elif anchor.seq in self._hashes and self._hashes[anchor.seq] != anchor.hash:
                yield Finding(Flaw.REWRITTEN, self.chain, f"an anchor names another hash for entry {anchor.seq}: the chain was written anew")
