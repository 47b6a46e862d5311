"""Context words: a finding's score rises when a word such as "card" stands close before it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

from presidio_analyzer import AnalyzerEngine
from presidio_analyzer.context_aware_enhancers import LemmaContextAwareEnhancer
from spacy.lang.lex_attrs import is_punct

from operators.pii.reference import LANGUAGE
from operators.pii.spans import Finding
from schemas.errors import ConfigError

_SCORE_MAX: Final = 1.0
_ATTRIBUTES: Final = ["ORTH", "IDX", "LENGTH"]


class Tokens(NamedTuple):
    """A text cut into words.

    Attributes:
        lower: The tokens in lower case.
        ends: Offsets after each.
        keywords: Tokens that are neither stop words nor punctuation, cut at colons, in lower case.
    """

    lower: list[str]
    ends: list[int]
    keywords: frozenset[str]


class ContextWords:
    """Raises scores as Presidio's ``LemmaContextAwareEnhancer`` does on tokens that are their own lemmas.

    Words met are forgotten when the ``memory`` block ends: spaCy would otherwise keep every token of every text. Not for use by several
    threads at once.

    Args:
        engine: From ``operators.pii.reference``: its tokenizer and its enhancer's numbers are taken.
    """

    def __init__(self, engine: AnalyzerEngine) -> None:
        enhancer = engine.context_aware_enhancer
        if type(enhancer) is not LemmaContextAwareEnhancer or enhancer.context_matching_mode != "substring" or enhancer.context_suffix_count:
            raise ConfigError("pii.context: the installed presidio-analyzer enhances otherwise than 2.2.366 does; pin that version")
        self._factor: float = enhancer.context_similarity_factor
        self._least: float = enhancer.min_score_with_context_similarity
        self._words_before: int = enhancer.context_prefix_count + 1
        tokenizer: Any = engine.nlp_engine
        self._nlp = tokenizer.nlp[LANGUAGE]
        self._stop_words: set[str] = self._nlp.Defaults.stop_words
        self._known: dict[int, tuple[str, tuple[str, ...]]] = {}

    @contextmanager
    def memory(self) -> Iterator[None]:
        """A block in which texts are tokenised; at its end their words are forgotten."""
        with self._nlp.memory_zone():
            try:
                yield
            finally:
                self._known.clear()

    def tokens(self, text: str) -> Tokens:
        """The tokens of a text; only within ``memory``."""
        lower: list[str] = []
        ends: list[int] = []
        keywords: set[str] = set()
        known = self._known
        for orth, start, length in self._nlp.make_doc(text).to_array(_ATTRIBUTES).tolist():
            ends.append(start + length)
            word = known.get(orth)
            if word is None:
                word = known[orth] = self._word(text[start : start + length])
            lower.append(word[0])
            keywords.update(word[1])
        return Tokens(lower, ends, frozenset(keywords))

    def enhanced(self, findings: Sequence[Finding], tokens: Tokens, words: Sequence[str]) -> list[Finding]:
        """The findings of one recogniser, those that have one of the words close by with a higher score.

        Raises:
            ValueError: A finding starts after the last token.
        """
        return [
            (start, end, min(max(score + self._factor, self._least), _SCORE_MAX)) if self._supported(start, tokens, words) else (start, end, score)
            for start, end, score in findings
        ]

    def _word(self, token: str) -> tuple[str, tuple[str, ...]]:
        lower = token.lower()
        # Presidio also skips the lemma "be".
        skipped = token.lower() in self._stop_words or is_punct(token) or token in ("-PRON-", "be")
        return lower, () if skipped else tuple(lower.split(":"))

    def _supported(self, start: int, tokens: Tokens, words: Sequence[str]) -> bool:
        """Whether one of the words is part of the finding's own token or of the five keywords before it.

        Presidio also looks forward, for no further word than the finding's own token, or the first keyword after it where that is none.
        """
        lower, ends, keywords = tokens
        own = bisect_right(ends, start)
        if own >= len(ends):
            raise ValueError("a finding starts after the last token")
        left = self._words_before
        for index in range(own, -1, -1):
            if lower[index] in keywords:
                if any(word in lower[index] for word in words):
                    return True
                left -= 1
                if not left:
                    break
        following = next((lower[index] for index in range(own, len(lower)) if lower[index] in keywords), "")
        return any(word in following for word in words)
