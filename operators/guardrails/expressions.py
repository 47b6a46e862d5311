"""What the rules over texts look for, as expressions of one linear-time scan."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from governance.rules import AnyRule, DomainsRule, PatternsRule, PhrasesRule, SecretsRule, TermsRule
from operators.guardrails.fold import OTHER, fold
from operators.guardrails.terms import TermFinder

#: Between the words of a phrase: nothing (invisible separators are removed) or anything that is neither letter nor digit.
_GAP: Final = "[^a-z0-9]*"
_HOST_DOT: Final = r"(?:\.|%2e)"
_CLASS_OR_ESCAPE: Final = re.compile(r"(\\.|\[\^?\]?(?:\\.|[^\]\\])*\])")

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
    elif isinstance(rule, TermsRule):
        yield Sought(rule.id, "terms", rf"\b(?:{'|'.join(_words(term) for term in rule.terms)})\b", TermFinder(rule.terms, rule.count_min))


def native(text: str) -> str:
    """Gives a text in the form in which phrases of other scripts are looked for: compatibility forms and invisible characters are gone."""
    plain = unicodedata.normalize("NFKC", text)
    return "".join(char for char in plain if unicodedata.category(char) != "Cf")


def _words(text: str) -> str:
    return _GAP.join(re.findall("[a-z0-9]+", text.lower()))


def _phrase(rule_id: str, phrase: str) -> Sought:
    folded = fold(phrase)
    if OTHER not in folded:
        return Sought(rule_id, phrase, rf"\b{_words(folded)}\b")
    return Sought(rule_id, phrase, r"[^\p{L}\p{N}]*".join(re.escape(word) for word in native(phrase).split()), native=True)


def _spaced(expression: str) -> str:
    """A space in a phrase pattern stands for a gap, except inside a character class."""
    parts = _CLASS_OR_ESCAPE.split(expression)
    return "".join(part.replace(" ", _GAP) if index % 2 == 0 else part for index, part in enumerate(parts))


def _domain(domain: str) -> str:
    """A host that is the domain or ends in it: what stands before is no part of a label, what follows does not go on with one."""
    labels = _HOST_DOT.join(re.escape(label) for label in domain.split("."))
    return rf"(?:^|[^a-z0-9_-]|%[0-9a-f]{{2}}){labels}(?:$|[^a-z0-9_.-]|\.(?:$|[^a-z0-9_-]))"
