"""Context words: a finding's score rises when a word such as "card" stands close before it."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from itertools import accumulate
from operator import attrgetter
from typing import Any, Final, NamedTuple

from presidio_analyzer import AnalyzerEngine
from presidio_analyzer.context_aware_enhancers import LemmaContextAwareEnhancer
from spacy.lang.lex_attrs import is_punct

from operators.pii.reference import LANGUAGE
from operators.pii.spans import Finding
from schemas.errors import ConfigError

_SCORE_MAX: Final = 1.0
#: spaCy cuts a text at white space before all else; one space after a word belongs to the word.
_PIECES: Final = re.compile(r"\S+ ?|\s+")
_DIGIT: Final = re.compile(r"[0-9]").search
_END: Final = attrgetter("end")
#: How far a keyword is looked for from one finding before the whole text is looked through once for all. The words around a finding are seldom
#: further; in a text without keywords each of thousands of findings would walk through all of it.
WALK_MAX: Final = 64


class Token(NamedTuple):
    """A word, sign or run of white space.

    Attributes:
        lower: In lower case.
        end: Offset after it in its piece of the text.
        keywords: Itself cut at colons, in lower case; nothing for stop words and punctuation.
    """

    lower: str
    end: int
    keywords: tuple[str, ...]


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
        self.words_before: int = enhancer.context_prefix_count + 1
        tokenizer: Any = engine.nlp_engine
        self._nlp = tokenizer.nlp[LANGUAGE]
        #: Words that spaCy cuts, such as "cannot". No rule cuts other words of ASCII letters alone.
        self._exceptions: frozenset[str] = frozenset(self._nlp.tokenizer.rules)
        self._stop_words: set[str] = self._nlp.Defaults.stop_words
        self._known: dict[str, tuple[Token, ...]] = {}

    @contextmanager
    def memory(self) -> Iterator[None]:
        """A block in which texts are tokenised; at its end their words are forgotten."""
        with self._nlp.memory_zone():
            try:
                yield
            finally:
                self._known.clear()

    def enhanced(self, findings: Sequence[Finding], words: Surroundings, context: Sequence[str]) -> list[Finding]:
        """The findings of one recogniser, those that have one of its context words close by with a higher score; only within ``memory``.

        Raises:
            ValueError: A finding starts after the last token.
        """
        return [
            (start, end, min(max(score + self._factor, self._least), _SCORE_MAX) if words.support(start, context) else score)
            for start, end, score in findings
        ]

    def is_cheap(self, piece: str) -> bool:
        """Whether the tokens of a piece are known, or told without spaCy."""
        return piece in self._known or (piece.isascii() and piece.rstrip(" ").isalpha())

    def tokens(self, piece: str) -> tuple[Token, ...]:
        """The tokens of a run of white space, or of a run of other characters with or without the one space after it."""
        known = self._known.get(piece)
        if known is None:
            word = piece[:-1] if piece[-1] == " " and not piece.isspace() else piece
            if word.isalpha() and word.isascii() and word not in self._exceptions:
                known = (self._token(word, len(word)),)
            else:
                known = tuple(self._token(token.text, token.idx + len(token)) for token in self._nlp.make_doc(word))
            self._known[piece] = known
        return known

    def _token(self, text: str, end: int) -> Token:
        lower = text.lower()
        # Presidio also skips the lemma "be".
        skipped = lower in self._stop_words or is_punct(text) or text in ("-PRON-", "be")
        return Token(lower, end, () if skipped else tuple(lower.split(":")))


class _Keywords(NamedTuple):
    """Keywords of a text in order: piece and token of each, and the word in lower case."""

    places: list[tuple[int, int]]
    lowers: list[str]


class Surroundings:
    """The words of one text, tokenised as far as somebody asks for them.

    Args:
        text: The text.
        source: Its tokenizer.
    """

    def __init__(self, text: str, source: ContextWords) -> None:
        self._source = source
        self._lower = text.lower()
        self._pieces: list[str] = _PIECES.findall(text)
        self._ends = list(accumulate(map(len, self._pieces)))
        self._ascii = text.isascii()
        self._has_colon = ":" in text
        self._colon_words: dict[str, bool] = {}
        self._first: dict[str, int] = {}

    def support(self, start: int, context: Sequence[str]) -> bool:
        """Whether one of the context words is part of the token at an offset or of the five keywords before it.

        Presidio also looks forward, for no further word than the token itself, or the first keyword after it where that is none.

        Raises:
            ValueError: The offset is after the last token.
        """
        near = self._near(start, context)
        if near is not None and (near or self._leads_nowhere(start, context)):
            return near
        index, own = self._place(start)
        before = self._before(index, own, 0 if near is False else self._source.words_before)
        return any(word in lower for lower in (*before, self._following(index, own)) for word in context)

    def _near(self, start: int, context: Sequence[str]) -> bool | None:
        """Whether a context word is part of the token at an offset or of the keywords before it, from bounds on the number of keywords.

        None where bounds do not settle it. Only words are cheap to tokenise, and a finding seldom stands in one. A piece without a context word
        need not be tokenised: no token of it is one, it holds at most one keyword a character, and at least one where it has a digit and no colon.
        """
        index, offset = self._piece_at(start)
        if not self._ascii or index == len(self._ends) or self._pieces[index][offset] == " " or _holds(self._pieces[index], context):
            return None
        if not any(self._ends_before(word, start) for word in context):
            return False
        # How many more keywords are looked at, with as few and with as many of them up to here as there can be.
        most = self._source.words_before - (self._pieces[index][offset].isdigit() and ":" not in self._pieces[index])
        least = self._source.words_before - 1 - offset
        for steps, at in enumerate(range(index - 1, -1, -1)):
            if steps == WALK_MAX:
                return None
            piece = self._pieces[at]
            if self._source.is_cheap(piece) or _holds(piece, context):
                for token in reversed(self._source.tokens(piece)):
                    if most <= 0:
                        break
                    if self._is_keyword(token):
                        if any(word in token.lower for word in context):
                            return True if least > 0 else None
                        most, least = most - 1, least - 1
            else:
                most, least = most - _has_keyword(piece, 0), least - len(piece)
            if most <= 0:
                break
        return False

    def _leads_nowhere(self, start: int, context: Sequence[str]) -> bool:
        """Whether surely no context word is part of the first keyword from an offset on, given that its piece holds none."""
        index, offset = self._piece_at(start)
        if _has_keyword(self._pieces[index], offset):
            return True
        for steps, at in enumerate(range(index + 1, len(self._pieces))):
            piece = self._pieces[at]
            if steps == WALK_MAX or _holds(piece, context):
                return False
            if _has_keyword(piece, 0) or (self._source.is_cheap(piece) and any(map(self._is_keyword, self._source.tokens(piece)))):
                return True
        return True

    def _piece_at(self, start: int) -> tuple[int, int]:
        """The piece that holds an offset of the text, and the offset in it."""
        index = bisect_right(self._ends, start)
        return index, start - (self._ends[index - 1] if index else 0)

    def _place(self, start: int) -> tuple[int, int]:
        """The piece, and in it the token, that holds an offset or comes next after it."""
        index = bisect_right(self._ends, start)
        if index < len(self._ends):
            tokens = self._source.tokens(self._pieces[index])
            own = bisect_right(tokens, start - (self._ends[index] - len(self._pieces[index])), key=_END)
            if own < len(tokens):
                return index, own
            index += 1  # the one space after a word
        if index == len(self._ends):
            raise ValueError("a finding starts after the last token")
        return index, 0

    def _before(self, index: int, own: int, count: int) -> list[str]:
        """The last keywords up to a token, itself included, as many as are asked for, in lower case."""
        found: list[str] = []
        for steps, token in enumerate(self._backward(index, own) if count else ()):
            if steps == WALK_MAX:
                at = bisect_right(self._keywords.places, (index, own))
                return self._keywords.lowers[max(0, at - count) : at]
            if self._is_keyword(token):
                found.append(token.lower)
                if len(found) == count:
                    break
        return found

    def _following(self, index: int, own: int) -> str:
        """The first keyword from a token on, in lower case; empty where none comes."""
        for steps, token in enumerate(self._forward(index, own)):
            if steps == WALK_MAX:
                at = bisect_left(self._keywords.places, (index, own))
                return self._keywords.lowers[at] if at < len(self._keywords.lowers) else ""
            if self._is_keyword(token):
                return token.lower
        return ""

    @cached_property
    def _keywords(self) -> _Keywords:
        """Every keyword of the text: made where one finding is far from the next keyword, for others will be too."""
        found = _Keywords([], [])
        for index, piece in enumerate(self._pieces):
            for own, token in enumerate(self._source.tokens(piece)):
                if self._is_keyword(token):
                    found.places.append((index, own))
                    found.lowers.append(token.lower)
        return found

    def _ends_before(self, word: str, start: int) -> bool:
        """Whether a word stands before an offset, wherever."""
        first = self._first.get(word)
        if first is None:
            first = self._first[word] = self._lower.find(word)
        return 0 <= first <= start - len(word)

    def _is_keyword(self, token: Token) -> bool:
        return token.keywords == (token.lower,) or (self._has_colon and self._is_colon_word(token.lower))

    def _is_colon_word(self, lower: str) -> bool:
        """Whether a token with colons holds the word as one of its keywords: then it counts as keyword wherever it stands, stop words too.

        Only pieces in which it stands beside a colon are tokenised, until so many words were asked for that all with a colon are. Beyond ASCII,
        lower case depends on neighbours.
        """
        known = self._colon_words.get(lower)
        if known is None:
            if len(self._colon_words) >= WALK_MAX:
                return lower in self._words_at_colons
            after, before = f"{lower}:", f":{lower}"
            known = self._colon_words[lower] = (not self._ascii or after in self._lower or before in self._lower) and any(
                lower in token.keywords
                for piece in self._pieces
                if ":" in piece and (not self._ascii or after in (low := piece.lower()) or before in low)
                for token in self._source.tokens(piece)
                if ":" in token.lower
            )
        return known

    @cached_property
    def _words_at_colons(self) -> frozenset[str]:
        """The keywords of every token with colons."""
        tokens = (token for piece in self._pieces if ":" in piece for token in self._source.tokens(piece))
        return frozenset(word for token in tokens if ":" in token.lower for word in token.keywords)

    def _backward(self, index: int, own: int) -> Iterator[Token]:
        tokens = self._source.tokens(self._pieces[index])
        yield from (tokens[at] for at in range(own, -1, -1))
        for at in range(index - 1, -1, -1):
            yield from reversed(self._source.tokens(self._pieces[at]))

    def _forward(self, index: int, own: int) -> Iterator[Token]:
        tokens = self._source.tokens(self._pieces[index])
        yield from (tokens[at] for at in range(own, len(tokens)))
        for at in range(index + 1, len(self._pieces)):
            yield from self._source.tokens(self._pieces[at])


def _has_keyword(piece: str, offset: int) -> bool:
    """Whether from an offset on one of the tokens of ASCII characters is surely a keyword: no stop word or punctuation has a digit."""
    return ":" not in piece and _DIGIT(piece, offset) is not None


def _holds(piece: str, context: Sequence[str]) -> bool:
    lower = piece.lower()
    return any(word in lower for word in context)
