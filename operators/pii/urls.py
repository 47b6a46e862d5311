"""Presidio's URL patterns, tried only where they can start."""

from __future__ import annotations

from typing import Any, Final

import regex

from operators.pii.gate import GatePattern
from operators.pii.spans import Finding
from schemas.errors import ConfigError

_PATTERN_NAMES: Final = ("Standard Url", "Non schema URL", "Quoted URL", "Quoted Non-schema URL")
#: The host part of the patterns takes up to 253 characters. Up to this length a run of host characters matches from its start if at all.
_RUN_CHARS_MAX: Final = 250


class UrlFinder:
    """Finds what Presidio's ``UrlRecognizer`` finds.

    A URL without a scheme is host characters, a dot and a top-level domain. In a run of host characters that is no longer than the pattern
    allows, a match from any character is also one from the run's first, and that one comes first: so the pattern is tried there only, and only
    when a dot follows. Longer runs get the patterns as they are.

    Args:
        recogniser: Presidio's ``UrlRecognizer``.
        timeout_s: Seconds that one search may take.
    """

    def __init__(self, recogniser: Any, timeout_s: float) -> None:
        if tuple(pattern.name for pattern in recogniser.patterns) != _PATTERN_NAMES:
            raise ConfigError("pii.urls: the installed presidio-analyzer has other URL patterns than 2.2.366; pin that version")
        self._timeout_s = timeout_s
        self._patterns = [(regex.compile(p.regex, recogniser.global_regex_flags), p.score) for p in recogniser.patterns]
        self._run = regex.compile(r"[a-z0-9.\-]+", recogniser.global_regex_flags)
        #: All four patterns contain the second.
        self.gates = (GatePattern.of(recogniser.patterns[1].regex),)

    def find(self, text: str) -> list[Finding]:
        """URLs with their scores; some may contain others.

        Raises:
            TimeoutError: A search took too long.
        """
        runs = [match.span() for match in self._run.finditer(text)]
        if any(end - start > _RUN_CHARS_MAX for start, end in runs):
            return [f for index in range(4) for f in self._everywhere(index, text)]
        quoted = '"' in text or "'" in text
        found = self._bare(text)
        if "://" in text:
            found += self._everywhere(0, text)
            found += self._everywhere(2, text) if quoted else []
        if quoted:
            found += self._quoted(text, runs)
        return found

    def _everywhere(self, index: int, text: str) -> list[Finding]:
        pattern, score = self._patterns[index]
        return [(*match.span(), score) for match in pattern.finditer(text, timeout=self._timeout_s)]

    def _bare(self, text: str) -> list[Finding]:
        pattern, score = self._patterns[1]
        found: list[Finding] = []
        position = 0
        # A URL may end inside a run (its path does, or a top-level domain that is followed by more letters): the rest is a run of its own.
        while (run := self._run.search(text, position)) is not None:
            start, position = run.span()
            if text.find(".", start + 1, position) >= 0 and (match := pattern.match(text, start, timeout=self._timeout_s)):
                position = match.end()
                found.append((start, position, score))
        return found

    def _quoted(self, text: str, runs: list[tuple[int, int]]) -> list[Finding]:
        pattern, score = self._patterns[3]
        found: list[Finding] = []
        position = 0
        for start, end in runs:
            if start <= position or text[start - 1] not in "\"'" or text.find(".", start + 1, end) < 0:
                continue
            if match := pattern.match(text, start - 1, timeout=self._timeout_s):
                position = match.end()
                found.append((start - 1, position, score))
        return found
