"""Personal data in texts, by patterns: exactly what Presidio finds, many times faster."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from operators.multipattern import CompiledStore
from operators.pii.context import ContextWords, Surroundings
from operators.pii.detectors import Detector, Lookup, detector
from operators.pii.gate import Gate
from operators.pii.reference import LANGUAGE, engine
from operators.pii.secret_scan import ENTITY as SECRET
from operators.pii.secret_scan import SecretScanner
from operators.pii.spans import Finding, Span, dedupe
from operators.pii.spec import RecogniserSpec
from schemas.errors import MaskingFailed

_PLANS_COUNT_MAX: Final = 4_096
_LINES: Final = 32
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class _Part:
    """One recogniser: what finds, what its findings are called, and which words lift them."""

    entity: str
    name: str
    context: tuple[str, ...]
    finder: Detector
    #: Whether a lower-cased text holds a context word whenever one of its lower-cased tokens does. Beyond ASCII, lower case depends on neighbours.
    context_is_ascii: bool


#: A recogniser and those of its patterns that could match: all of them, and those that can count without a context word.
_Step = tuple[_Part, tuple[Lookup, ...], tuple[Lookup, ...]]


class Recogniser:
    """Finds personal data by patterns. Not for use by several threads at once: give each worker its own.

    Equal, for every text, to ``AnalyzerEngine.analyze(text, "en", score_threshold=...)`` with Presidio's default English recognisers, those of
    the spec, and a blank tokenizer whose lemmas are the tokens as written (``operators.pii.reference``). Context words therefore count as in
    Presidio, but match words as written, not their dictionary forms. Where the spec asks for it, secrets found by the scanner's rules join them.

    Args:
        spec: What is looked for.
        store: Where compiled databases are kept.

    Raises:
        ConfigError: The spec, or an installed library, is not what this class can equal.
    """

    def __init__(self, spec: RecogniserSpec, store: CompiledStore | None = None) -> None:
        analyzer = engine(spec)
        self.spec = spec
        self._threshold = spec.score_threshold
        self._context = ContextWords(analyzer)
        self._steps: list[tuple[_Part, Lookup]] = []
        self.entities: frozenset[str] = frozenset()
        recognisers: list[Any] = analyzer.registry.get_recognizers(language=LANGUAGE, all_fields=True)
        for recogniser in recognisers:
            entity = recogniser.supported_entities[0]
            if spec.entities is not None and entity not in spec.entities:
                continue
            self.entities |= {entity}
            words = tuple(word.lower() for word in recogniser.context or ())
            part = _Part(entity, str(recogniser.name), words, detector(recogniser, spec), all(map(str.isascii, words)))
            self._steps += [(part, lookup) for lookup in part.finder.lookups if words or not lookup.weak]
        self._gate = Gate([lookup.gate for _, lookup in self._steps], store)
        self._plans: dict[int, tuple[_Step, ...]] = {}
        self._secrets: SecretScanner | None = None
        if spec.secret_rules and (spec.entities is None or SECRET in spec.entities):
            self._secrets = SecretScanner(spec.regex_timeout_s, store)
            self.entities |= {SECRET}

    def gated(self, texts: Sequence[str]) -> list[int]:
        """For each text a mask of the patterns that could match in it; zero means that nothing is run on it."""
        masks = self._gate.masks(readable(texts))
        if self._secrets is not None:
            masks = [mask | rules << len(self._steps) for mask, rules in zip(masks, self._secrets.masks(texts), strict=True)]
        return masks

    def spans(self, texts: Sequence[str], only: frozenset[str] | None = None) -> list[list[Span]]:
        """What each text holds, sorted; spans of different entities may overlap.

        A lone surrogate, with which plain Presidio fails, is read as U+FFFD.

        Args:
            texts: The texts.
            only: Entities to look for; None looks for all. Entities do not influence one another, so this only saves work.

        Raises:
            MaskingFailed: A pattern could not be run to its end on one of the texts. Nothing is skipped: none of the texts has a result.
        """
        texts = readable(texts)
        masks = self._gate.masks(texts)
        secrets = self._secrets if only is None or SECRET in only else None
        rules = None if secrets is None else secrets.masks(texts)
        if only is not None:
            wanted = self._bits(only)
            masks = [mask & wanted for mask in masks]
        with self._context.memory():
            try:
                found = [self._found(text, mask) if mask else [] for text, mask in zip(texts, masks, strict=True)]
                if secrets is None or rules is None:
                    return found
                return [_joined(spans, secrets.spans(text, mask)) if mask else spans for text, spans, mask in zip(texts, found, rules, strict=True)]
            except TimeoutError:
                failure = f"a pattern took longer than {self.spec.regex_timeout_s} s"
            except ValueError:
                failure = "a finding has no token"
        raise MaskingFailed(f"pii.recognise: every pattern must finish on every text, but {failure}; reject the record or raise the limit")

    def suspects(self, texts: Sequence[str], only: frozenset[str]) -> list[str]:
        """Those of the texts that are worth a call of ``spans``: most short texts are told from it in one scan of many of them, line by line."""
        if self._secrets is not None and SECRET in only:
            return list(texts)
        wanted = self._bits(only)
        found: list[str] = []
        for start in range(0, len(texts), _LINES):
            lines = readable(texts[start : start + _LINES])
            # A pattern that matches in a line matches in the lines; where it does, or where text is folded, each is looked at by itself.
            if self._gate.masks(["\n".join(lines)])[0] & wanted:
                found += [text for text, mask in zip(texts[start : start + _LINES], self._gate.masks(lines), strict=True) if mask & wanted]
        return found

    def _bits(self, entities: frozenset[str]) -> int:
        """The mask of the gate's patterns of some entities."""
        return sum(1 << index for index, (part, _) in enumerate(self._steps) if part.entity in entities)

    def _found(self, text: str, mask: int) -> list[Span]:
        # Of equal findings of two recognisers Presidio keeps the first one's.
        by_entity: dict[str, dict[Finding, str]] = {}
        lower: str | None = None
        words: Surroundings | None = None
        for part, lookups, strong in self._plan(mask):
            supported = False
            if len(strong) < len(lookups) and part.context:
                lower = text.lower() if lower is None else lower
                supported = self._mentions(part, lower)
            findings = part.finder.find(text, lookups if supported else strong) if supported or strong else []
            if findings and part.context:
                lower = text.lower() if lower is None else lower
                if supported or self._mentions(part, lower):
                    words = Surroundings(text, self._context) if words is None else words
                    findings = self._context.enhanced(findings, words, part.context)
            findings = [finding for finding in findings if finding[2] >= self._threshold]
            if findings:
                named = by_entity.setdefault(part.entity, {})
                for finding in findings:
                    named.setdefault(finding, part.name)
        return sorted(
            Span(entity, *finding, named[finding]) for entity, named in by_entity.items() for finding in (named if len(named) < 2 else dedupe(named))
        )

    @staticmethod
    def _mentions(part: _Part, lower: str) -> bool:
        return not part.context_is_ascii or any(word in lower for word in part.context)

    def _plan(self, mask: int) -> tuple[_Step, ...]:
        """What to run for a mask of the gate."""
        plan = self._plans.get(mask)
        if plan is None:
            if len(self._plans) >= _PLANS_COUNT_MAX:
                self._plans.clear()
            lookups: dict[_Part, list[Lookup]] = {}
            for index, (part, lookup) in enumerate(self._steps):
                if mask >> index & 1:
                    lookups.setdefault(part, []).append(lookup)
            plan = self._plans[mask] = tuple(
                (part, tuple(held), tuple(lookup for lookup in held if not lookup.weak)) for part, held in lookups.items()
            )
        return plan


def _joined(spans: list[Span], secrets: list[Span]) -> list[Span]:
    """Both, sorted; of secrets within one another the better ones, of equal ones the first."""
    named: dict[Finding, str] = {}
    for span in (*spans, *secrets):
        if span.entity == SECRET:
            named.setdefault((span.start, span.end, span.score), span.recogniser)
    return sorted([*(span for span in spans if span.entity != SECRET), *(Span(SECRET, *finding, named[finding]) for finding in dedupe(named))])


def readable(texts: Sequence[str]) -> list[str]:
    """Gives the texts with each lone surrogate read as U+FFFD, at the same offsets."""
    return [text if text.isascii() else _SURROGATE.sub("\ufffd", text) for text in texts]
