"""Rules as values: what each type of rule looks for, and what every rule says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from governance.patterns import PatternSpec
from governance.verdict import Action, Decision, Enforcement, Severity, Verdict, decision_of

#: Kinds of event a rule can be limited to.
KINDS: Final = ("agent", "tool", "reasoning", "workflow", "system")

#: What a size rule can measure: a content column as masked JSON text, or ``value``, the record's value as it came.
SIZED_FIELDS: Final = ("input", "output", "error", "attributes", "value")

#: What the model ``guard`` scores.
SCORE_LABELS: Final = ("injection", "jailbreak", "toxicity")


@dataclass(frozen=True, slots=True)
class Rule:
    """What every rule says, whatever it looks for.

    Attributes:
        id: Unique, stable name: the entry in ``hits`` and a metric label.
        description: One sentence for people; the message of an alert.
        verdict: What a hit means.
        action: What is done with the event when the rule is enforced.
        enforcement: enforce, flag or shadow.
        severity: How urgent a hit is for people.
        kinds: Kinds of event it applies to.
    """

    type: ClassVar[str]
    needs_raw: ClassVar[bool]

    id: str
    description: str
    verdict: Verdict
    action: Action
    enforcement: Enforcement
    severity: Severity
    kinds: tuple[str, ...]

    @property
    def decision(self) -> Decision:
        """What a hit of this rule alone means."""
        return decision_of(self.verdict, self.action, self.enforcement)


@dataclass(frozen=True, slots=True)
class SizeRule(Rule):
    """Hits when one of the fields is larger than ``bytes_max`` bytes in UTF-8."""

    type: ClassVar[str] = "size"
    needs_raw: ClassVar[bool] = False

    fields: tuple[str, ...]
    bytes_max: int


@dataclass(frozen=True, slots=True)
class ToolsRule(Rule):
    """Hits when an agent uses a tool that it must not.

    Globs know ``*`` and ``?``; case, look-alike letters and invisible characters do not matter in tool names.

    Attributes:
        agents: Globs of agent ids it applies to.
        allow: Globs of the only tools allowed; None allows every tool that is not denied.
        deny: Globs of denied tools; deny wins over allow.
    """

    type: ClassVar[str] = "tools"
    needs_raw: ClassVar[bool] = False

    agents: tuple[str, ...]
    allow: tuple[str, ...] | None
    deny: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DomainsRule(Rule):
    """Hits when a text names one of the domains or a subdomain of one: in a URL, an e-mail address or alone (``{"host": "webhook.site"}``)."""

    type: ClassVar[str] = "domains"
    needs_raw: ClassVar[bool] = True

    domains: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PhrasesRule(Rule):
    """Hits when a text holds a phrase, however it is spelt: case, spacing, punctuation between words, look-alikes and invisible characters.

    Attributes:
        phrases: Plain words; a space stands for anything between words that is neither letter nor digit.
        patterns: Regular expressions over the folded text, in which a space means the same.
    """

    type: ClassVar[str] = "phrases"
    needs_raw: ClassVar[bool] = True

    phrases: tuple[str, ...]
    patterns: tuple[PatternSpec, ...]


@dataclass(frozen=True, slots=True)
class SecretsRule(Rule):
    """Hits when a text holds a key, token or password of one of the patterns."""

    type: ClassVar[str] = "secrets"
    needs_raw: ClassVar[bool] = True

    patterns: tuple[PatternSpec, ...]


@dataclass(frozen=True, slots=True)
class ScoresRule(Rule):
    """Hits when a model's score for the event reaches the threshold; never where nothing was scored.

    Attributes:
        label: One of SCORE_LABELS.
        threshold_ppm: Smallest score that hits, in parts per million.
    """

    type: ClassVar[str] = "scores"
    needs_raw: ClassVar[bool] = False

    label: str
    threshold_ppm: int


AnyRule = SizeRule | ToolsRule | DomainsRule | PhrasesRule | SecretsRule | ScoresRule


def needs_raw(rule: AnyRule) -> bool:
    """Says whether the rule must see the unmasked text and therefore runs inside ``mask``."""
    return rule.needs_raw
