"""Spans of personal data in a text, and what happens where they overlap."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from operator import attrgetter
from typing import Final, NamedTuple

_START: Final = attrgetter("start")
_END: Final = attrgetter("end")


class Span(NamedTuple):
    """A piece of a text that is personal data.

    A named tuple rather than a dataclass: it is made for every finding, and tuples sort and hash in C.

    Attributes:
        entity: What it is, e.g. ``EMAIL_ADDRESS``.
        start: Offset of its first character (code points).
        end: Offset after its last character.
        score: Confidence, 0 to 1.
        recogniser: Name of what found it.
    """

    entity: str
    start: int
    end: int
    score: float
    recogniser: str = ""


#: Start, end and score of a finding whose entity is known from the recogniser that made it.
Finding = tuple[int, int, float]


def dedupe(findings: Iterable[Finding]) -> list[Finding]:
    """Findings of one entity without zero scores and without those that another contains with an equal or higher score.

    Source: ``presidio_analyzer.EntityRecognizer.remove_duplicates``, for results of one entity type.
    """
    kept: list[Finding] = []
    active: list[Finding] = []
    for finding in sorted(set(findings), key=lambda f: (f[0], f[0] - f[1], -f[2])):
        start, end, score = finding
        if score == 0:
            continue
        active = [other for other in active if other[1] >= start]
        if not any(end <= other[1] and score <= other[2] for other in active):
            kept.append(finding)
            active.append(finding)
    return kept


def resolve(spans: Iterable[Span]) -> list[Span]:
    """Disjoint spans, by start, that cover exactly the characters that the given spans cover.

    The better span keeps its extent; what is left of the other stays covered: a worse span is cut at a better one's edges, and its remains
    are spans of their own, so no character that any recogniser claimed is ever shown. Better means the higher score, then the longer,
    then the earlier start, then the entity's name. Spans of one entity that touch or overlap are merged, with the higher score.

    Source: the conflict strategy of ``presidio_anonymizer.AnonymizerEngine`` (merge similar or contained, then remove intersections).
    """
    ranked = sorted(spans, key=lambda s: (-s.score, s.start - s.end, s.start, s.entity))
    # Disjoint and in order, so that the ones a span overlaps lie side by side: a text of a megabyte has tens of thousands.
    taken: list[Span] = []
    for span in ranked:
        low = bisect_right(taken, span.start, key=_END)
        high = bisect_left(taken, span.end, lo=low, key=_START)
        taken[low:high] = _around(span, taken[low:high])
    merged: list[Span] = []
    for span in taken:
        last = merged[-1] if merged else None
        if last is not None and last.entity == span.entity and last.end == span.start:
            better = last if last.score >= span.score else span
            merged[-1] = Span(span.entity, last.start, span.end, better.score, better.recogniser)
        else:
            merged.append(span)
    return merged


def _around(span: Span, better: list[Span]) -> list[Span]:
    """Gives the better spans with what they leave of a span between them, in order."""
    pieces: list[Span] = []
    start = span.start
    for other in better:
        if start < other.start:
            pieces.append(span._replace(start=start, end=other.start))
        pieces.append(other)
        start = other.end
    if start < span.end:
        pieces.append(span._replace(start=start))
    return pieces
