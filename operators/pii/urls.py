"""Presidio's URL patterns, tried only where they can start."""

from __future__ import annotations

import re
from typing import Any, Final

import regex

from operators.pii.gate import GatePattern
from operators.pii.spans import Finding
from schemas.errors import ConfigError

_PATTERN_NAMES: Final = ("Standard Url", "Non schema URL", "Quoted URL", "Quoted Non-schema URL")
#: The host part of the patterns takes up to 253 characters. Up to this length a run of host characters matches from its start if at all.
_RUN_CHARS_MAX: Final = 250
_ASCII_RUN: Final = re.compile(r"[A-Za-z0-9.\-]+")
#: The second pattern, but for its top-level domains.
_BARE: Final = re.compile(r"\(\?i\)\(\(www\\d\{0,3\}\[\.\]\)\?\[a-z0-9\.\\-\]\{1,253\}\[\.\]\(\?:(.*)\)\(\?:/\[\^\\s\(\)<>\\?\"'\]\*\)\?\)")
_DOMAIN: Final = re.compile(r"\(\?:([a-z0-9\-]{2,})\)")
_PATH: Final = regex.compile(r"/[^\s()<>\"']*")


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
        parts = _BARE.fullmatch(recogniser.patterns[1].regex)
        domains = parts.group(1).split("|") if parts else []
        if tuple(pattern.name for pattern in recogniser.patterns) != _PATTERN_NAMES or not all(map(_DOMAIN.fullmatch, domains)) or not domains:
            raise ConfigError("pii.urls: the installed presidio-analyzer has other URL patterns than 2.2.366; pin that version")
        self._timeout_s = timeout_s
        self._patterns = [(regex.compile(p.regex, recogniser.global_regex_flags), p.score) for p in recogniser.patterns]
        self._run = regex.compile(r"[a-z0-9.\-]+", recogniser.global_regex_flags)
        #: Top-level domains by their first two letters, in the order in which the pattern tries them.
        self._domains: dict[str, tuple[str, ...]] = {}
        for domain in domains:
            name = domain.removeprefix("(?:").removesuffix(")")
            self._domains[name[:2]] = (*self._domains.get(name[:2], ()), name)
        #: All four patterns contain the second.
        self.gates = (GatePattern.of(recogniser.patterns[1].regex),)

    def find(self, text: str) -> list[Finding]:
        """URLs with their scores; some may contain others.

        Raises:
            TimeoutError: A search took too long.
        """
        runs = [match.span() for match in (_ASCII_RUN if text.isascii() else self._run).finditer(text)]
        if len(text) > _RUN_CHARS_MAX and any(end - start > _RUN_CHARS_MAX for start, end in runs):
            return [f for index in range(4) for f in self._everywhere(index, text)]
        quoted = '"' in text or "'" in text
        found = self._bare_ascii(text, runs) if text.isascii() else self._bare(text)
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

    def _bare_ascii(self, text: str, runs: list[tuple[int, int]]) -> list[Finding]:
        """The same for ASCII text, without the pattern.

        It takes as many host characters as it can and gives them back one by one: so the last dot of the run that a top-level domain follows is
        the one, and of several domains the one that the pattern names first.
        """
        score = self._patterns[1][1]
        lower = text.lower()
        found: list[Finding] = []
        position = 0
        for run_start, end in runs:
            start = max(run_start, position)
            while start < end and (past := self._host_end(lower, start, end)):
                path = _PATH.match(text, past) if text.startswith("/", past) else None
                position = past if path is None else path.end()
                found.append((start, position, score))
                start = position
        return found

    def _host_end(self, lower: str, start: int, end: int) -> int:
        """Where the host that begins with a run ends; 0 where the run is none."""
        dot = lower.rfind(".", start + 1, end)
        while dot > 0:
            for domain in self._domains.get(lower[dot + 1 : dot + 3], ()):
                if lower.startswith(domain, dot + 1):
                    return dot + 1 + len(domain)
            dot = lower.rfind(".", start + 1, dot)
        return 0

    def _quoted(self, text: str, runs: list[tuple[int, int]]) -> list[Finding]:
        pattern, score = self._patterns[3]
        found: list[Finding] = []
        position = 0
        for start, end in runs:
            # The host ends with its run: what follows it is a path or the other quote.
            if start <= position or text[start - 1] not in "\"'" or text.find(".", start + 1, end) < 0 or text[end : end + 1] not in ("/", '"', "'"):
                continue
            if match := pattern.match(text, start - 1, timeout=self._timeout_s):
                position = match.end()
                found.append((start - 1, position, score))
        return found
