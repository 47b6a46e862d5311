"""Drift: how far a window of enriched events is from a reference, in shares and in distributions.

Shares are of events in which a column is null, and of events in which an entity was masked. Distributions (latency, token counts) are counted in
buckets that double, and compared by the population stability index: sum over buckets of (p - q) ln(p / q), with half an event added to each
bucket so that an empty one does not make it infinite. Below 0.1 nothing changed, above 0.25 much did (Siddiqi, Credit Risk Scorecards, 2006).
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from governance.contracts import DriftPolicy
from schemas.errors import ConfigError

VERSION: Final = 1
#: Columns whose share of nulls is watched.
NULLABLE: Final = ("session_id", "user_id", "tool_name", "model", "status", "latency_us", "input_tokens", "output_tokens", "input", "output", "error")
#: Columns whose distribution is watched; whole numbers, not negative.
COUNTED: Final = ("latency_us", "input_tokens", "output_tokens")
_BUCKETS: Final = 64
#: Stands as entity where a list of what was masked is cut off.
_MORE: Final = "TRUNCATED"
_PPM: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Profile:
    """What a window of events is like.

    Attributes:
        rows: Events.
        nulls: Column and in how many events it is null.
        entities: Entity and in how many events one was masked.
        counts: Column and events by bucket; bucket n holds values of n bits.
    """

    rows: int
    nulls: Mapping[str, int]
    entities: Mapping[str, int]
    counts: Mapping[str, Mapping[int, int]]

    def to_json(self) -> str:
        """Gives it as a file holds it; it has no value of any event."""
        counts = {column: {str(bucket): count for bucket, count in sorted(found.items())} for column, found in self.counts.items()}
        said = {"version": VERSION, "rows": self.rows, "nulls": dict(self.nulls), "entities": dict(self.entities), "counts": counts}
        return json.dumps(said, indent=2, sort_keys=True) + "\n"


@dataclass(frozen=True, slots=True)
class Drift:
    """One thing that differs.

    Attributes:
        what: ``nulls``, ``entity`` or ``distribution``.
        name: Of which column or entity.
        size_ppm: The difference of shares, or the stability index, in millionths.
        bound_ppm: What it may be.
    """

    what: str
    name: str
    size_ppm: int
    bound_ppm: int


def profile_of(rows: Iterable[Mapping[str, Any]]) -> Profile:
    """Counts enriched events, given as mappings of their fields."""
    total, nulls, entities = 0, Counter[str](), Counter[str]()
    counts: dict[str, Counter[int]] = {column: Counter() for column in COUNTED}
    for row in rows:
        total += 1
        nulls.update(column for column in NULLABLE if row.get(column) is None)
        entities.update({span["entity"] for span in row.get("masked_spans") or ()} - {_MORE})
        for column, found in counts.items():
            value = row.get(column)
            if value is not None:
                found[min(int(value).bit_length(), _BUCKETS - 1)] += 1
    return Profile(total, dict(nulls), dict(entities), {column: dict(found) for column, found in counts.items()})


def profile_from(text: str, name: str) -> Profile:
    """Reads a profile.

    Raises:
        ConfigError: The text is none, or of another version.
    """
    try:
        said = json.loads(text)
        if said["version"] != VERSION:
            raise ConfigError(f"{name}: version {VERSION} of a profile is required; make it anew with headrace contracts reference")
        counts = {column: {int(bucket): int(count) for bucket, count in found.items()} for column, found in said["counts"].items()}
        return Profile(int(said["rows"]), said["nulls"], said["entities"], counts)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ConfigError(f"{name}: holds no profile; make one with headrace contracts reference") from None


def drifts(window: Profile, reference: Profile, policy: DriftPolicy) -> tuple[Drift, ...]:
    """Gives what differs by more than policy allows; nothing for a window or a reference that is too small to tell."""
    if window.rows < policy.rows_min or reference.rows < policy.rows_min:
        return ()
    found = [Drift("nulls", column, _apart(window, reference, window.nulls, reference.nulls, column), policy.rate_ppm_max) for column in NULLABLE]
    entities = sorted({*window.entities, *reference.entities})
    found += [Drift("entity", name, _apart(window, reference, window.entities, reference.entities, name), policy.rate_ppm_max) for name in entities]
    found += [
        Drift(
            "distribution", column, round(_PPM * stability_index(window.counts.get(column, {}), reference.counts.get(column, {}))), policy.psi_ppm_max
        )
        for column in COUNTED
    ]
    return tuple(drift for drift in found if drift.size_ppm > drift.bound_ppm)


def stability_index(left: Mapping[int, int], right: Mapping[int, int]) -> float:
    """Gives the population stability index of two histograms; 0 where one of them is empty, for nothing can be said then."""
    if not left or not right:
        return 0.0
    buckets = sorted({*left, *right})
    left_total, right_total = (sum(one.values()) + 0.5 * len(buckets) for one in (left, right))
    shares = [((left.get(bucket, 0) + 0.5) / left_total, (right.get(bucket, 0) + 0.5) / right_total) for bucket in buckets]
    return sum((p - q) * math.log(p / q) for p, q in shares)


def _apart(window: Profile, reference: Profile, left: Mapping[str, int], right: Mapping[str, int], name: str) -> int:
    return abs(left.get(name, 0) * _PPM // window.rows - right.get(name, 0) * _PPM // reference.rows)
