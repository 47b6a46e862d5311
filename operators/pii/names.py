"""Names that a model found in the leaves of an event, on their way from the model to ``mask``: places, never values.

The shell's step ``tag`` reads the leaves that mask will examine, asks the model, and hands the answer over as a column of JSON texts
``[[column, leaf, start, end, entity, ppm], ...]``: the number of the content column, the index of the leaf among the distinct leaves of that
column's text, offsets in the leaf (code points, end exclusive), the number of the entity, the score in parts per million.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

import msgspec

from governance.pii import NAME_ENTITIES
from governance.policy import PPM
from operators.pii.spans import Span
from schemas.errors import MaskingFailed
from schemas.events import CONTENT

#: Names in the leaves of one text: index of the leaf, and the name's span in it.
Names = tuple[tuple[int, Span], ...]
NO_NAMES: Final[Names] = ()

#: The column's text for an event that was looked at and holds no name.
NONE_FOUND: Final = "[]"

#: Says of a finding that the model found it.
RECOGNISER: Final = "pii_tagger"

_Place = tuple[int, int, int, int, int, int]
_DECODE: Final = msgspec.json.Decoder(list[_Place]).decode
_ENCODE: Final = msgspec.json.Encoder().encode


def encoded(names: Mapping[str, Names]) -> str:
    """Gives the column's text for the names in an event.

    Args:
        names: By content column.

    Example:
        >>> encoded({"output": ((3, Span("PERSON", 0, 6, 0.75)),)})
        '[[1,3,0,6,0,750000]]'
    """
    rows = [
        (CONTENT.index(column), leaf, span.start, span.end, NAME_ENTITIES.index(span.entity), round(span.score * PPM))
        for column, found in names.items()
        for leaf, span in found
    ]
    return _ENCODE(sorted(rows)).decode() if rows else NONE_FOUND


def decoded(text: str) -> dict[str, Names]:
    """Gives the names in an event, by content column, from the column's text; columns without names are left out.

    Raises:
        MaskingFailed: The text is no such text. Where names stand is then not known, and the record must not go on.
    """
    failure = None
    names: dict[str, list[tuple[int, Span]]] = {}
    try:
        for column, leaf, start, end, entity, ppm in _DECODE(text):
            names.setdefault(CONTENT[column], []).append((leaf, Span(NAME_ENTITIES[entity], start, end, ppm / PPM, RECOGNISER)))
    except (msgspec.MsgspecError, IndexError) as error:
        failure = type(error).__name__
    if failure is not None:
        raise MaskingFailed(f"pii.names: the column must say where names stand, it cannot be read ({failure}); reject the record")
    return {column: tuple(found) for column, found in names.items()}


def by_leaf(leaves: Sequence[str], names: Names, entities: Collection[str], score_min: float) -> dict[str, tuple[Span, ...]]:
    """Gives the names that count, by leaf.

    Args:
        leaves: The distinct leaves of the text, in their order.
        names: What the model found in them.
        entities: Entities that are acted on.
        score_min: Scores below it do not count.

    Raises:
        MaskingFailed: A name stands where the text has no such leaf: it was found in another text.
    """
    found: dict[str, list[Span]] = {}
    for index, span in names:
        if not (0 <= index < len(leaves) and 0 <= span.start < span.end <= len(leaves[index])):
            raise MaskingFailed("pii.names: every name must stand inside a leaf of its text, one does not; reject the record")
        if span.entity in entities and span.score >= score_min:
            found.setdefault(leaves[index], []).append(span)
    return {leaf: tuple(sorted(spans)) for leaf, spans in found.items()}


def worth_reading(leaves: Iterable[str]) -> list[str]:
    """Gives the leaves in which a name could stand: it takes a letter to write one."""
    return [leaf for leaf in leaves if any(map(str.isalpha, leaf))]
