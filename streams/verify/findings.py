"""What a verification found: kinds, coordinates and counts; no value of any record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from streams.verify.plain.event import Partition, Place

#: Findings of one kind about one topic or table that are kept with their coordinates; the rest is counted.
KEPT_MAX: Final = 1_000


class Kind(StrEnum):
    """What is wrong."""

    LOST = "lost"
    DUPLICATED = "duplicated"
    DIFFERENT = "different"
    UNEXPECTED = "unexpected"
    OUT_OF_ORDER = "out_of_order"
    LATE = "late"
    UNMASKED = "unmasked"
    HANGING = "hanging"


@dataclass(frozen=True, slots=True)
class Finding:
    """One difference.

    Attributes:
        what: Topic, table or collection that it is about.
        places: Where it lies: coordinates of records, outputs before inputs.
        words: What was wanted and what is there: names of fields, ids, numbers of events; never a value.
    """

    kind: Kind
    what: str
    places: tuple[Place, ...]
    words: str

    def as_json(self) -> dict[str, Any]:
        """Gives it as plain values."""
        places = [{"topic": topic, "partition": partition, "offset": offset} for topic, partition, offset in self.places]
        return {"kind": self.kind.value, "what": self.what, "places": places, "words": self.words}


@dataclass(slots=True)
class Findings:
    """All differences: the first ones with their coordinates, all of them counted."""

    kept: list[Finding] = field(default_factory=list)
    counts: Counter[tuple[Kind, str]] = field(default_factory=Counter)

    def add(self, kind: Kind, what: str, words: str, *places: Place) -> None:
        """Takes in one difference."""
        self.counts[kind, what] += 1
        if self.counts[kind, what] <= KEPT_MAX:
            self.kept.append(Finding(kind, what, places, words))


@dataclass(slots=True)
class Account:
    """Where the records of one input partition went: in = out + dead + duplicates + erased + lost."""

    records: int = 0
    out: int = 0
    dead: int = 0
    duplicates: int = 0
    erased: int = 0
    lost: int = 0
    ahead: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether every record has an end."""
        return self.records == self.out + self.dead + self.duplicates + self.erased + self.ahead


@dataclass(slots=True)
class Report:
    """What was verified, and what was found.

    Attributes:
        findings: Differences.
        accounts: Of each input partition.
        counts: What was held against what, in numbers: by name.
        notes: What limits the result, in words.
        unverified: What could not be verified although it was asked for; the result is then neither clean nor not.
    """

    findings: Findings = field(default_factory=Findings)
    accounts: dict[Partition, Account] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    unverified: list[str] = field(default_factory=list)

    @property
    def status(self) -> str:
        """``clean``, ``different`` or ``unverified``; a difference outweighs what could not be verified."""
        if self.findings.counts:
            return "different"
        return "unverified" if self.unverified else "clean"

    def as_json(self) -> Mapping[str, Any]:
        """Gives it as plain values."""
        return {
            "status": self.status,
            "findings": [{"kind": kind.value, "what": what, "count": count} for (kind, what), count in sorted(self.findings.counts.items())],
            "places": [finding.as_json() for finding in self.findings.kept],
            "conservation": [
                {
                    "topic": topic,
                    "partition": partition,
                    "records": one.records,
                    "out": one.out,
                    "dead": one.dead,
                    "duplicates": one.duplicates,
                    "erased": one.erased,
                    "lost": one.lost,
                    "ahead": one.ahead,
                    "whole": one.is_whole,
                }
                for (topic, partition), one in sorted(self.accounts.items())
            ],
            "counts": self.counts,
            "notes": self.notes,
            "unverified": self.unverified,
        }
