"""Data contracts as values: what every record of a topic must be like, and what is done where a window of them is not."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b
from typing import Any, Final

#: Expectations of Great Expectations that a contract may hold; each looks at one column.
EXPECTATIONS: Final = (
    "expect_column_distinct_values_to_be_in_set",
    "expect_column_max_to_be_between",
    "expect_column_mean_to_be_between",
    "expect_column_median_to_be_between",
    "expect_column_min_to_be_between",
    "expect_column_quantile_values_to_be_between",
    "expect_column_unique_value_count_to_be_between",
    "expect_column_value_lengths_to_be_between",
    "expect_column_values_to_be_between",
    "expect_column_values_to_be_in_set",
    "expect_column_values_to_be_null",
    "expect_column_values_to_be_unique",
    "expect_column_values_to_match_regex",
    "expect_column_values_to_not_be_in_set",
    "expect_column_values_to_not_be_null",
    "expect_column_values_to_not_match_regex",
)


class OnBreach(StrEnum):
    """What is done where a window of a topic breaks its contract; each also tells."""

    ALERT = "alert"  # result, metric and alert
    QUARANTINE = "quarantine"  # and the records that broke it are put on the list of those not to be trusted
    STOP = "stop"  # and the pipeline is asked to stop in order


@dataclass(frozen=True, slots=True)
class Expectation:
    """One thing that must hold.

    Attributes:
        topic: Of which topic.
        name: One of EXPECTATIONS.
        column: Of which field.
        arguments: What else it takes, as canonical JSON text of an object.
        mostly_ppm: Share of the rows for which it must hold, in parts per million.
        why: Where it comes from, in a sentence.
    """

    topic: str
    name: str
    column: str
    arguments: str = "{}"
    mostly_ppm: int = 1_000_000
    why: str = ""

    @property
    def digest(self) -> str:
        """16 hex digits over all that decides; two equal expectations have one."""
        said = json.dumps([self.topic, self.name, self.column, self.arguments, self.mostly_ppm])
        return blake2b(said.encode(), digest_size=8).hexdigest()

    @property
    def keywords(self) -> dict[str, Any]:
        """What Great Expectations takes."""
        found: dict[str, Any] = json.loads(self.arguments)
        return found


def arguments_text(arguments: dict[str, Any]) -> str:
    """Gives arguments as an expectation holds them."""
    return json.dumps(arguments, sort_keys=True, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class DriftPolicy:
    """From where on a window counts as unlike the reference.

    Attributes:
        psi_ppm_max: Population stability index of latencies and token counts, in millionths; 0.25 is the usual bound for a marked shift.
        rate_ppm_max: By how much a share (of nulls, of events with an entity) may differ, in parts per million.
        rows_min: Windows with fewer rows are not compared.
    """

    psi_ppm_max: int = 250_000
    rate_ppm_max: int = 100_000
    rows_min: int = 200


@dataclass(frozen=True, slots=True)
class ContractsPolicy:
    """The contracts of a policy.

    Attributes:
        on_breach: Topic and what is done; a topic that is not named alerts.
        expect: Expectations beside those that follow from the schemas.
        drift: Bounds of drift.
    """

    on_breach: tuple[tuple[str, OnBreach], ...] = ()
    expect: tuple[Expectation, ...] = ()
    drift: DriftPolicy = DriftPolicy()

    def breach_of(self, topic: str) -> OnBreach:
        """Gives what is done for a topic."""
        return dict(self.on_breach).get(topic, OnBreach.ALERT)


NO_CONTRACTS: Final = ContractsPolicy()
