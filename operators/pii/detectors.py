"""One detector for each of Presidio's recognisers: what to ask the gate, and what to run on texts that pass it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Protocol

import regex
from presidio_analyzer import EntityRecognizer, PatternRecognizer
from presidio_analyzer.predefined_recognizers import IbanRecognizer, PhoneRecognizer, UrlRecognizer

from operators.pii.gate import GatePattern
from operators.pii.phones import PhoneFinder
from operators.pii.reference import PackagedSuffixEmailRecognizer
from operators.pii.spans import Finding, dedupe
from operators.pii.spec import RecogniserSpec
from operators.pii.urls import UrlFinder
from schemas.errors import ConfigError

_MEMO_COUNT_MAX: Final = 16_384
#: Longer domains are none and not remembered: what is remembered takes 6 MB at most.
_MEMO_CHARS_MAX: Final = 253
#: What could match a space.
_SPACE: Final = re.compile(r" |\\[sSWDXx]|(?<![\[.\\])\.|\[\^")


@dataclass(frozen=True, slots=True)
class Lookup:
    """One pattern to run on a text.

    Attributes:
        gate: When it may be skipped.
        weak: It is below the threshold unless a context word is near: not run on texts without one.
        score: What its matches score.
        search: The compiled pattern; None where the detector does not need it.
    """

    gate: GatePattern
    weak: bool = False
    score: float = 0.0
    search: Any = None


class Detector(Protocol):
    """Finds one entity as one of Presidio's recognisers does."""

    @property
    def lookups(self) -> tuple[Lookup, ...]:
        """Its patterns, in Presidio's order."""

    def find(self, text: str, lookups: tuple[Lookup, ...]) -> list[Finding]:
        """What the recogniser's ``analyze`` gives, when only these of its patterns can match.

        Raises:
            TimeoutError: A pattern took too long on this text.
        """


class PatternDetector:
    """A ``PatternRecognizer``: expressions and, for some, a checksum."""

    def __init__(self, recogniser: Any, spec: RecogniserSpec) -> None:
        kind = type(recogniser)
        if kind.analyze is not PatternRecognizer.analyze or kind.enhance_using_context is not EntityRecognizer.enhance_using_context:
            raise ConfigError(f"pii: {recogniser.name} has matching of its own, which this version does not know; leave it out")
        self._timeout_s = spec.regex_timeout_s
        validates = kind.validate_result is not PatternRecognizer.validate_result
        self._validate: Callable[[str], bool | None] | None = _validator(recogniser) if validates else None
        self._invalidate: Callable[[str], bool | None] | None = (
            recogniser.invalidate_result if kind.invalidate_result is not PatternRecognizer.invalidate_result else None
        )
        self.lookups = tuple(
            Lookup(
                _gate(recogniser, pattern.regex),
                not validates and pattern.score < spec.score_threshold,
                pattern.score,
                regex.compile(pattern.regex, recogniser.global_regex_flags),
            )
            for pattern in recogniser.patterns
        )

    def find(self, text: str, lookups: tuple[Lookup, ...]) -> list[Finding]:
        found: list[Finding] = []
        for lookup in lookups:
            for match in self._matches(lookup, text):
                start, end = match.span()
                if start == end:
                    continue
                score = lookup.score
                if self._validate is not None:
                    verdict = self._validate(match.group())
                    score = score if verdict is None else EntityRecognizer.MAX_SCORE if verdict else 0
                if score and self._invalidate is not None and self._invalidate(match.group()):
                    score = 0
                if score:
                    found.append((start, end, score))
        return found if len(found) < 2 else dedupe(found)

    def _matches(self, lookup: Lookup, text: str) -> Iterator[Any]:
        matches: Iterator[Any] = lookup.search.finditer(text, timeout=self._timeout_s)
        return matches


class EmailDetector(PatternDetector):
    """``EmailRecognizer``: its pattern is tried from the last space before an ``@``, for none of its characters is a space."""

    def __init__(self, recogniser: Any, spec: RecogniserSpec) -> None:
        super().__init__(recogniser, spec)
        if any(_SPACE.search(pattern.regex) or "@" not in pattern.regex for pattern in recogniser.patterns):
            raise ConfigError("pii: the installed presidio-analyzer has another pattern for e-mail addresses than 2.2.366; pin that version")

    def _matches(self, lookup: Lookup, text: str) -> Iterator[Any]:
        position = 0
        while (sign := text.find("@", position)) >= 0:
            match = lookup.search.search(text, text.rfind(" ", position, sign) + 1 or position, timeout=self._timeout_s)
            if match is None:
                return
            yield match
            position = match.end()


class IbanDetector:
    """``IbanRecognizer``: of each match the longest of three extents whose checksum is right."""

    def __init__(self, recogniser: Any, spec: RecogniserSpec) -> None:
        self._timeout_s = spec.regex_timeout_s
        self._validate: Callable[[str], bool | None] = recogniser.validate_result
        self.lookups = tuple(
            Lookup(GatePattern.of(p.regex), score=p.score, search=regex.compile(p.regex, recogniser.global_regex_flags)) for p in recogniser.patterns
        )

    def find(self, text: str, lookups: tuple[Lookup, ...]) -> list[Finding]:
        found: list[Finding] = []
        for lookup in lookups:
            for match in lookup.search.finditer(text, timeout=self._timeout_s):
                start = match.start()
                for group in range(len(match.groups()), 0, -1):
                    end = match.end(group) if match.end(group) > 0 else match.end()
                    if start == end:
                        continue
                    verdict = self._validate(text[start:end])
                    if verdict is not False:
                        found.append((start, end, lookup.score if verdict is None else EntityRecognizer.MAX_SCORE))
                        break
        return found


class UrlDetector:
    """``UrlRecognizer``, through ``UrlFinder``."""

    def __init__(self, recogniser: Any, spec: RecogniserSpec) -> None:
        self._finder = UrlFinder(recogniser, spec.regex_timeout_s)
        self.lookups = tuple(Lookup(gate) for gate in self._finder.gates)

    def find(self, text: str, lookups: tuple[Lookup, ...]) -> list[Finding]:
        return dedupe(self._finder.find(text))


class PhoneDetector:
    """``PhoneRecognizer``, through ``PhoneFinder``."""

    def __init__(self, recogniser: Any) -> None:
        self._finder = PhoneFinder(recogniser)
        self.lookups = tuple(Lookup(gate) for gate in self._finder.gates)

    def find(self, text: str, lookups: tuple[Lookup, ...]) -> list[Finding]:
        return dedupe(self._finder.find(text))


def detector(recogniser: Any, spec: RecogniserSpec) -> Detector:
    """The detector that equals a recogniser of the reference engine.

    Raises:
        ConfigError: The recogniser is of a kind that this version does not know.
    """
    if isinstance(recogniser, IbanRecognizer):
        return IbanDetector(recogniser, spec)
    if isinstance(recogniser, UrlRecognizer):
        return UrlDetector(recogniser, spec)
    if isinstance(recogniser, PhoneRecognizer):
        return PhoneDetector(recogniser)
    if isinstance(recogniser, PackagedSuffixEmailRecognizer):
        return EmailDetector(recogniser, spec)
    if isinstance(recogniser, PatternRecognizer):
        return PatternDetector(recogniser, spec)
    raise ConfigError(f"pii: {recogniser.name} is no pattern recogniser; leave it out")


def _gate(recogniser: Any, pattern: str) -> GatePattern:
    if isinstance(recogniser, PackagedSuffixEmailRecognizer):
        # Its classes hold letters of every script: of the folded text only the sign is asked for.
        return GatePattern(GatePattern.of(pattern).ascii_text, "@")
    return GatePattern.of(pattern)


def _validator(recogniser: Any) -> Callable[[str], bool | None]:
    validate: Callable[[str], bool | None] = recogniser.validate_result
    return _DomainMemo(validate) if isinstance(recogniser, PackagedSuffixEmailRecognizer) else validate


class _DomainMemo:
    """Remembers which domains have a public suffix: they are looked up for every address, and are not personal by themselves."""

    #: Only after such a local part is the domain all that the validation looks at (others change how the address is cut).
    _PLAIN: Final = re.compile(r"[A-Za-z0-9._+-]+@([A-Za-z0-9.-]+)").fullmatch

    def __init__(self, validate: Callable[[str], bool | None]) -> None:
        self._validate = validate
        self._verdicts: dict[str, bool | None] = {}

    def __call__(self, address: str) -> bool | None:
        plain = self._PLAIN(address)
        if plain is None:
            return self._validate(address)
        domain = plain.group(1)
        if len(domain) > _MEMO_CHARS_MAX:
            return self._validate(address)
        if domain not in self._verdicts:
            if len(self._verdicts) >= _MEMO_COUNT_MAX:
                self._verdicts.clear()
            self._verdicts[domain] = self._validate(address)
        return self._verdicts[domain]
