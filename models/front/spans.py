"""Names in a text out of the classes of its tokens.

A name never begins or ends inside a word: a word has one class, from all its tokens. Words of one entity that follow each other are one name, until
one says that it begins another; a hyphen or an apostrophe between two, without spaces, parts nothing (Jean-Pierre, O'Brien).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple
from unicodedata import category

import numpy as np
from numpy.typing import NDArray

from .tokens import Tokens

#: The class of a token that is no part of a name.
OUTSIDE: Final = "O"
#: Probability of an entity from which on a word is taken for part of one, where no threshold is stated.
THRESHOLD: Final = 0.5
_JOINTS: Final = frozenset("-'’‐‑")
#: May end a name although it is no letter or digit: Acme Inc., Washington (DC).
_ENDINGS: Final = frozenset(".)")


class Span(NamedTuple):
    """A name in a text: its first character, the one behind its last, PERSON, LOCATION or ORGANIZATION, and a score of 0 to 1."""

    start: int
    end: int
    entity: str
    score: float


class _Word(NamedTuple):
    start: int
    end: int
    entity: str
    score: float
    begins: bool


def names(
    text: str, tokens: Tokens, classes: NDArray[np.float32], labels: Sequence[str], thresholds: Mapping[str, float] | None = None
) -> list[Span]:
    """Gives the names in a text, in order, not overlapping.

    Args:
        text: The text.
        tokens: Its tokens.
        classes: float32[tokens, labels], probabilities, each row sums to 1.
        labels: Classes in the order of the columns: ``O``, and ``B-`` and ``I-`` of each entity.
        thresholds: Least probability of each entity that makes a word part of it; 0.5 where it is not stated.
    """
    if not tokens.count:
        return []
    spans: list[Span] = []
    run: list[_Word] = []
    for word in _words(text, tokens, classes, labels, thresholds or {}):
        if run and not _goes_on(text, run, word):
            spans += _span(text, run)
            run = []
        run.append(word)
    return spans + _span(text, run)


def _words(text: str, tokens: Tokens, classes: NDArray[np.float32], labels: Sequence[str], thresholds: Mapping[str, float]) -> list[_Word]:
    """Gives every word that belongs to an entity, and joints between words; what lies between is left out."""
    firsts = np.flatnonzero(np.diff(tokens.words, prepend=-1))
    lengths = np.diff(np.append(firsts, tokens.count))
    mean = np.add.reduceat(classes, firsts, axis=0) / lengths[:, None]
    entities = list(dict.fromkeys(label[2:] for label in labels if label != OUTSIDE))
    begin = [labels.index(f"B-{entity}") for entity in entities]
    inside = [labels.index(f"I-{entity}") for entity in entities]
    scores = mean[:, begin] + mean[:, inside]
    best = scores.argmax(axis=1)
    least = np.array([thresholds.get(entity, THRESHOLD) for entity in entities], np.float32)
    found = scores[np.arange(len(best)), best] >= least[best]
    words = []
    for number in range(len(firsts)):
        start, end = int(tokens.starts[firsts[number]]), int(tokens.ends[firsts[number] + lengths[number] - 1])
        if found[number]:
            entity = int(best[number])
            first = classes[firsts[number]]
            words.append(_Word(start, end, entities[entity], float(scores[number, entity]), bool(first[begin[entity]] > first[inside[entity]])))
        elif text[start:end] in _JOINTS:
            words.append(_Word(start, end, "", 0.0, False))
    return words


def _goes_on(text: str, run: Sequence[_Word], word: _Word) -> bool:
    """Tells whether a word continues the name; a joint does where it touches it, and what touches a joint does too."""
    last = run[-1]
    if not word.entity:
        return bool(last.entity) and last.end == word.start
    if not last.entity:
        return last.end == word.start and len(run) > 1 and run[-2].entity == word.entity
    return last.entity == word.entity and not word.begins and not text[last.end : word.start].strip()


def _span(text: str, run: Sequence[_Word]) -> list[Span]:
    """Gives the name of a run of words, without punctuation at its ends; nothing where only punctuation is left."""
    kept = list(run)
    while kept and not _is_word(text, kept[0]):
        kept.pop(0)
    while kept and not (kept[-1].entity and (_is_word(text, kept[-1]) or text[kept[-1].start : kept[-1].end] in _ENDINGS)):
        kept.pop()
    scores = [word.score for word in kept if word.entity]
    if not scores:
        return []
    end = kept[-1].end
    while end < len(text) and category(text[end]).startswith("M"):  # marks upon the last letter, which the tokenizer strips
        end += 1
    return [Span(kept[0].start, end, kept[0].entity, sum(scores) / len(scores))]


def _is_word(text: str, word: _Word) -> bool:
    """Tells words from punctuation; a word may hold marks that are neither letters nor digits, as combining accents."""
    return any(map(str.isalnum, text[word.start : word.end]))
