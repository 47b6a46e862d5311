"""A policy as a value: what is personal, what becomes of it, and which events break which rule.

``governance.parse`` makes one from YAML; tests make them directly. Everything is frozen and holds no compiled matcher, so a policy can be compared,
hashed (``Policy.digest``) and sent between processes.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import lru_cache
from hashlib import blake2b
from typing import Final

from governance.contracts import NO_CONTRACTS, ContractsPolicy
from governance.data_classes import DataClass, Handling
from governance.limits import NO_LIMITS, LimitsPolicy
from governance.pii import PiiPolicy
from governance.purposes import Purpose
from governance.retention import KEEP_ALL, Retention
from governance.rules import AnyRule

#: Content columns, of which policy names those that models read.
CONTENT_COLUMNS: Final = ("input", "output", "error", "attributes")

#: A certain score; scores travel as whole parts per million.
PPM: Final = 1_000_000


class WhenDown(StrEnum):
    """What becomes of an event for which a model that policy names is away. Never one of them: passing it on raw or without a mark."""

    PAUSE = "pause"  # the partition waits at that record and holds its watermark; Kafka is the spill
    RULES_ONLY = "rules_only"  # the event goes on with what patterns and rules find, and is marked as degraded
    REJECT = "reject"  # the record becomes a dead letter


@dataclass(frozen=True, slots=True)
class Outage:
    """What is done when a model is away.

    Attributes:
        reaction: What is done.
        after_s: How long the model must have been away before ``rules_only`` or ``reject`` take effect, in seconds; until then the partition waits.
    """

    reaction: WhenDown
    after_s: int = 0


@dataclass(frozen=True, slots=True)
class TextChoice:
    """Content columns of some kinds of event."""

    kinds: tuple[str, ...]
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class GuardPolicy:
    """Which masked texts the model ``guard`` scores.

    Attributes:
        outage: What is done when it is away.
        always: Untrusted text: scored in every event.
        sampled_ppm: Of how many events in a million the rest is scored too; which ones follows from the event's id.
    """

    outage: Outage
    always: tuple[TextChoice, ...]
    sampled_ppm: int


@dataclass(frozen=True, slots=True)
class TaggerPolicy:
    """Whose leaves the model ``pii_tagger`` reads for names before they are masked.

    Attributes:
        outage: What is done when it is away.
        leaves: Columns whose leaves it reads.
    """

    outage: Outage
    leaves: tuple[TextChoice, ...]


@dataclass(frozen=True, slots=True)
class ModelsPolicy:
    """What models are asked, where the configuration has models; a model that is not named is not asked."""

    guard: GuardPolicy | None = None
    pii_tagger: TaggerPolicy | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """One version of a policy.

    Attributes:
        id: Names the policy; the same through all its versions.
        version: Names this version; every decision carries both.
        purpose: What the data may be used for, in a sentence.
        pii: What is personal.
        handling: What is done with a field of each data class.
        rules: In the order of the file, which decides nothing.
        models: What models are asked.
        limits: How much may be done in a time.
        retention: How long what is stored is kept, and for which purpose.
        contracts: What records of topics must be like.
        purposes: For what masked values may be revealed; empty for nothing.
    """

    id: str
    version: str
    purpose: str
    pii: PiiPolicy
    handling: tuple[tuple[DataClass, Handling], ...]
    rules: tuple[AnyRule, ...]
    models: ModelsPolicy = ModelsPolicy()
    limits: LimitsPolicy = NO_LIMITS
    retention: Retention = KEEP_ALL
    contracts: ContractsPolicy = NO_CONTRACTS
    purposes: tuple[Purpose, ...] = ()

    @property
    def digest(self) -> str:
        """32 hex digits over the canonical form: equal for equal policies, whatever the layout of their files."""
        return _digest(self)

    def handling_of(self, data_class: DataClass) -> Handling:
        """Gives what is done with a field of a data class."""
        return dict(self.handling)[data_class]


def canonical(policy: Policy) -> str:
    """Gives the policy as one line of JSON with sorted keys; rules carry their ``type``."""
    form = asdict(policy)
    form["rules"] = [{"type": rule.type, **asdict(rule)} for rule in policy.rules]
    form["limits"]["agents"] = [{"type": limit.type, **asdict(limit)} for limit in policy.limits.agents]
    return json.dumps(form, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


@lru_cache(maxsize=8)
def _digest(policy: Policy) -> str:
    return blake2b(canonical(policy).encode("ascii"), digest_size=16).hexdigest()
