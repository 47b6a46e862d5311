"""What the rules over texts look for, as expressions of one linear-time scan."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from governance.rules import FILE_CONTENTS, AnyRule, DomainsRule, FilesRule, PatternsRule, PhrasesRule, SecretsRule, TermsRule, UrlsRule
from operators.guardrails.files import FILE_NAME, FileFinder
from operators.guardrails.fold import OTHER, fold
from operators.guardrails.terms import TermFinder
from operators.guardrails.urls import UrlFinder

#: Between the words of a phrase: nothing (invisible separators are removed) or anything that is neither letter nor digit.
_GAP: Final = "[^a-z0-9]*"
_HOST_DOT: Final = r"(?:\.|%2e)"
_BETWEEN_WORDS: Final = re.compile(r"[\W_]+")
_CLASS_OR_ESCAPE: Final = re.compile(r"(\\.|\[\^?\]?(?:\\.|[^\]\\])*\])")

#: How the first bytes of files look in base64, which is how files travel in JSON.
CONTENTS: Final = {
    "windows_program": "TV[opqr][AQCI]AA|TVqQ",
    "linux_program": "f0VMR[gQ]",
    "mac_program": "z[vP]rt/[gQ]|yv66v[gw]",
    "java_class": "yv66vgAAAD",
    "zip": "UEsDBB|UEsFB",
    "rar": "UmFyIRo",
    "seven_zip": "N3q8ryc",
    "gzip": "H4sIA",
    "ole_document": "0M8R4KGxGuE",
    "pdf": "JVBERi0",
    "sqlite": "U1FMaXRlIGZvcm1hdCAz",
    "pem_key": "LS0tLS1CRUdJTi",
}

#: Gives the places of what a rule looks for in a folded text.
Finder = Callable[[str], list[tuple[int, int]]]


@dataclass(frozen=True, slots=True)
class Sought:
    """One thing that a rule looks for.

    Attributes:
        rule_id: The rule.
        name: Its name within the rule, as evidence tells it.
        expression: What the scan looks for.
        finder: Where set, a match of the expression is only a candidate: the finder decides.
        native: Looked for in the text as it is written, in UTF-8, for a script that does not fold to ASCII.
    """

    rule_id: str
    name: str
    expression: str
    finder: Finder | None = None
    native: bool = False


def sought_by(rule: AnyRule) -> Iterator[Sought]:
    """Gives each thing that a rule looks for in texts; none for a rule that looks at something else."""
    if isinstance(rule, DomainsRule):
        yield from (Sought(rule.id, f"domain {domain}", _domain(domain)) for domain in rule.domains)
    elif isinstance(rule, PhrasesRule):
        yield from (_phrase(rule.id, phrase) for phrase in rule.phrases)
        yield from (Sought(rule.id, pattern.name, _spaced(pattern.regex)) for pattern in rule.patterns)
    elif isinstance(rule, SecretsRule | PatternsRule):
        yield from (Sought(rule.id, pattern.name, pattern.regex) for pattern in rule.patterns)
    elif isinstance(rule, UrlsRule):
        yield Sought(rule.id, "address", _urls(rule), UrlFinder(rule))
    elif isinstance(rule, FilesRule):
        yield from (Sought(rule.id, f".{extension}", _extension(extension)) for extension in rule.extensions)
        yield from (Sought(rule.id, content, f"(?-i:(?:^|[^A-Za-z0-9+/=])(?:{CONTENTS[content]}))") for content in _contents(rule))
        if rule.allow_extensions is not None:
            yield Sought(rule.id, "file type", FILE_NAME, FileFinder(rule.allow_extensions))
    elif isinstance(rule, TermsRule):
        yield Sought(rule.id, "terms", rf"\b(?:{'|'.join(_words(term) for term in rule.terms)})\b", TermFinder(rule.terms, rule.count_min))


def _urls(rule: UrlsRule) -> str:
    """Every URL where all count, else only those whose host is not a plain name; and bare addresses of metadata services."""
    if rule.allow_domains is not None or rule.allow_ports is not None or rule.deny_ports:
        candidate = r":[/\\]{2}"
    else:
        candidate = (
            r":[/\\]{2,}(?:[^/\\?#\s]*@|[^/\\?#\s]*%|\[|[0-9]|localhost|metadata|instance-data|[^/\\?#\s]*(?:xn--|\.localhost|\.localdomain|ip\.io))"
        )
    if "metadata" not in rule.networks:
        return candidate
    return rf"{candidate}|\b169\.254\.(?:169\.254|170\.2)\b|\b100\.100\.100\.200\b|\b168\.63\.129\.16\b|\bmetadata\.google\.internal\b"


def _contents(rule: FilesRule) -> tuple[str, ...]:
    """What is denied by name, and what is not among the allowed."""
    return tuple(one for one in FILE_CONTENTS if one in rule.contents or (rule.allow_contents is not None and one not in rule.allow_contents))


def _extension(extension: str) -> str:
    """A file name that ends so: a name before it, nothing that goes on with it behind."""
    return rf"[\w)\]-]\.{re.escape(extension)}(?:$|[^\w.-]|\.(?:$|\s))"


def native(text: str) -> bytes:
    """Gives a text as phrases of other scripts are looked for, in UTF-8: in one case, without invisible characters, a space between words."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    seen = "".join(char for char in plain if unicodedata.category(char) != "Cf")
    return _BETWEEN_WORDS.sub(" ", seen).encode("utf-8", "replace")


def _words(text: str) -> str:
    return _GAP.join(re.findall("[a-z0-9]+", text.lower()))


def _phrase(rule_id: str, phrase: str) -> Sought:
    folded = fold(phrase)
    if OTHER not in folded:
        return Sought(rule_id, phrase, rf"\b{_words(folded)}\b")
    return Sought(rule_id, phrase, " ?".join(native(phrase).decode().split()), native=True)


def _spaced(expression: str) -> str:
    """A space in a phrase pattern stands for a gap, except inside a character class."""
    parts = _CLASS_OR_ESCAPE.split(expression)
    return "".join(part.replace(" ", _GAP) if index % 2 == 0 else part for index, part in enumerate(parts))


def _domain(domain: str) -> str:
    """A host that is the domain or ends in it: what stands before is no part of a label, what follows does not go on with one."""
    labels = _HOST_DOT.join(re.escape(label) for label in domain.split("."))
    return rf"(?:^|[^a-z0-9_-]|%[0-9a-f]{{2}}){labels}(?:$|[^a-z0-9_.-]|\.(?:$|[^a-z0-9_-]))"
