"""Rules as values: what each type of rule looks for, and what every rule says."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Final

from governance.patterns import PatternSpec
from governance.verdict import Action, Decision, Enforcement, Severity, Verdict, decision_of
from schemas.events import CONTENT

#: Kinds of event a rule can be limited to.
KINDS: Final = ("agent", "tool", "reasoning", "workflow", "system")

#: What a size rule can measure: a content column as masked JSON text, or ``value``, the record's value as it came.
SIZED_FIELDS: Final = ("input", "output", "error", "attributes", "value")

#: What the model ``guard`` scores.
SCORE_LABELS: Final = ("injection", "jailbreak", "toxicity")


#: Classes of characters that a rule of type ``characters`` counts: tag characters (U+E0000 to U+E007F), characters without width, and marks that
#: turn the direction of text.
CHARACTER_CLASSES: Final = ("tags", "zero_width", "bidi")

#: Groups of addresses: of cloud metadata services, of this machine, of the local link, of private networks.
NETWORKS: Final = ("metadata", "loopback", "link_local", "private")

#: Files that are told by their first bytes.
FILE_CONTENTS: Final = (
    "windows_program",
    "linux_program",
    "mac_program",
    "java_class",
    "zip",
    "rar",
    "seven_zip",
    "gzip",
    "ole_document",
    "pdf",
    "sqlite",
    "pem_key",
)

#: What a value can be asked to be: a JSON type, JSON in a string, or a string of a format of JSON Schema.
FORMATS: Final = (
    *("object", "array", "string", "number", "integer", "boolean", "null", "json"),
    *("date", "time", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "uri", "uuid"),
)

#: Who wrote a text that no one of the house has vetted: what users say and what tools give back, by kind of event and column.
UNTRUSTED: Final = frozenset({("agent", "input"), ("workflow", "input"), ("tool", "output"), ("tool", "error")})


class Origin(StrEnum):
    """Whose words a rule looks at."""

    ANY = "any"
    UNTRUSTED = "untrusted"
    OWN = "own"


@dataclass(frozen=True, slots=True)
class TextScope:
    """Which texts of an event a rule looks at.

    Attributes:
        columns: Content columns.
        origin: ``untrusted`` keeps to UNTRUSTED, ``own`` to the rest.
    """

    columns: tuple[str, ...] = CONTENT
    origin: Origin = Origin.ANY

    def holds(self, kind: str, column: str) -> bool:
        """Says whether a column of a kind of event is looked at."""
        return column in self.columns and (self.origin is Origin.ANY or (self.origin is Origin.UNTRUSTED) == ((kind, column) in UNTRUSTED))


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
    scope: TextScope = TextScope()


@dataclass(frozen=True, slots=True)
class PhrasesRule(Rule):
    """Hits when a text holds a phrase, however it is spelt: case, spacing, punctuation between words, look-alikes and invisible characters.

    Attributes:
        phrases: Plain words of any script; a space stands for anything between words that is neither letter nor digit.
        patterns: Regular expressions over the folded text, in which a space means the same.
    """

    type: ClassVar[str] = "phrases"
    needs_raw: ClassVar[bool] = True

    phrases: tuple[str, ...]
    patterns: tuple[PatternSpec, ...]
    scope: TextScope = TextScope()


@dataclass(frozen=True, slots=True)
class SecretsRule(Rule):
    """Hits when a text holds a key, token or password of one of the patterns."""

    type: ClassVar[str] = "secrets"
    needs_raw: ClassVar[bool] = True

    patterns: tuple[PatternSpec, ...]
    scope: TextScope = TextScope()


@dataclass(frozen=True, slots=True)
class PatternsRule(Rule):
    """Hits when a text holds one of the patterns as they are written: a space is a space. Look-alikes and invisible characters do not matter."""

    type: ClassVar[str] = "patterns"
    needs_raw: ClassVar[bool] = True

    patterns: tuple[PatternSpec, ...]
    scope: TextScope = TextScope()


@dataclass(frozen=True, slots=True)
class TermsRule(Rule):
    """Hits when a text holds enough different terms of a list, as whole words.

    Attributes:
        terms: Words or groups of words in lower case ASCII; case, look-alikes and what stands between words do not matter.
        count_min: How many different terms one text must hold.
    """

    type: ClassVar[str] = "terms"
    needs_raw: ClassVar[bool] = True

    terms: tuple[str, ...]
    count_min: int = 1
    scope: TextScope = TextScope()


@dataclass(frozen=True, slots=True)
class TopicsRule(Rule):
    """Hits when a column speaks of none of the topics that are allowed: what it says holds no word of any of them.

    Attributes:
        allow: Name and words of each topic, words or groups of words of any script.
        chars_min: A column that says less speaks of nothing ("Yes, please.") and is let pass.
    """

    type: ClassVar[str] = "topics"
    needs_raw: ClassVar[bool] = True

    allow: tuple[tuple[str, tuple[str, ...]], ...]
    chars_min: int
    scope: TextScope = TextScope()


@dataclass(frozen=True, slots=True)
class CharactersRule(Rule):
    """Hits when a text holds many characters that no reader sees or that turn the order in which text is shown.

    Attributes:
        classes: Of CHARACTER_CLASSES.
        count_min: How many of them one text must hold; emoji and some scripts use a few rightly.
    """

    type: ClassVar[str] = "characters"
    needs_raw: ClassVar[bool] = True

    classes: tuple[str, ...]
    count_min: int
    scope: TextScope = TextScope()


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


@dataclass(frozen=True, slots=True)
class UrlsRule(Rule):
    """Hits when a URL leads somewhere that it must not, however its address is spelt.

    Attributes:
        allow_domains: The only hosts, with their subdomains; None allows every one.
        allow_ports: The only ports; None allows every one that is not denied. A URL without a port has its scheme's.
        deny_ports: Denied ports.
        networks: Of NETWORKS: addresses and names that are denied.
        disguised: Whether an address hidden behind a user name, another notation (decimal, octal, hexadecimal), a name that resolves to what
            stands in it, or punycode that reads like plain letters is denied.
    """

    type: ClassVar[str] = "urls"
    needs_raw: ClassVar[bool] = True

    allow_domains: tuple[str, ...] | None = None
    allow_ports: tuple[int, ...] | None = None
    deny_ports: tuple[int, ...] = ()
    networks: tuple[str, ...] = ()
    disguised: bool = False
    scope: TextScope = TextScope()


@dataclass(frozen=True, slots=True)
class FilesRule(Rule):
    """Hits when a text names a file of a type that it must not, or holds one in base64.

    Attributes:
        extensions: Denied endings of file names, without the dot.
        contents: Of FILE_CONTENTS: denied, told by the first bytes.
        allow_extensions: The only endings; None allows every one that is not denied. A name is taken for a file's where it stands in a path or its
            ending is of ``governance.file_endings``.
        allow_contents: The only ones of FILE_CONTENTS; None allows every one that is not denied.
    """

    type: ClassVar[str] = "files"
    needs_raw: ClassVar[bool] = True

    extensions: tuple[str, ...]
    contents: tuple[str, ...]
    scope: TextScope = TextScope()
    allow_extensions: tuple[str, ...] | None = None
    allow_contents: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class SchemaRule(Rule):
    """Hits when a value does not keep to a JSON Schema; a value that is not there is not looked at.

    Attributes:
        agents: Globs of agent ids it applies to.
        column: The content column; ``input`` holds the arguments of a tool.
        schemas: Glob of tool names and JSON Schema as JSON text; ``*`` also where there is no tool.
    """

    type: ClassVar[str] = "schema"
    needs_raw: ClassVar[bool] = True

    agents: tuple[str, ...]
    column: str
    schemas: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class FormatRule(Rule):
    """Hits when what stands at a path is of none of the formats, or nothing stands there.

    Attributes:
        column: The content column.
        path: JSON pointer into it; empty for the whole value.
        formats: Of FORMATS.
    """

    type: ClassVar[str] = "format"
    needs_raw: ClassVar[bool] = True

    column: str
    path: str
    formats: tuple[str, ...]


TextRule = DomainsRule | PhrasesRule | SecretsRule | PatternsRule | TermsRule | TopicsRule | CharactersRule | UrlsRule | FilesRule
DocumentRule = SchemaRule | FormatRule
AnyRule = SizeRule | ToolsRule | ScoresRule | TextRule | DocumentRule


def needs_raw(rule: AnyRule) -> bool:
    """Says whether the rule must see the unmasked text and therefore runs inside ``mask``."""
    return rule.needs_raw
