"""Values that an event itself gives away: a name in parts under neighbouring keys, the id of its user. They are looked for in all of its texts.

No pattern knows that ``Mia Li`` is a name. Where an object of the event says ``{"first_name": "Mia", "last_name": "Li"}``, every ``Mia Li`` in that
event is one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import polars as pl

from governance.data_classes import Handling
from governance.pii import PERSON_ID, PiiPolicy, SplitValue
from operators.pii.leaves import Document, LeafReader
from operators.pii.names import Names
from operators.pii.spans import Span
from schemas.errors import RecordError
from schemas.events import CONTENT

#: Wholes that are looked for in one event; parts beyond it are still masked under their keys.
_WHOLES_COUNT_MAX: Final = 16
_PART_CHARS_MAX: Final = 64
_PART_CHARS_MIN: Final = 2
#: Shorter ids are found everywhere.
_ID_CHARS_MIN: Final = 4
_BETWEEN: Final = r"(?:[\s,.+]|%20){1,4}"
_NAME: Final = "SplitValues"
_USER: Final = "EventUser"


class EventValues:
    """Finds them.

    Args:
        pii: Which keys hold parts of what, and whether ids of persons are acted on.
        reader: Takes texts apart as ``mask`` does.
    """

    def __init__(self, pii: PiiPolicy, reader: LeafReader) -> None:
        self._reader = reader
        self._splits = [(split, tuple(map(_plain, split.keys))) for split in pii.split_values if pii.handling_of(split.entity) is not Handling.KEEP]
        firsts = "|".join(sorted({_loose(key) for _, keys in self._splits for key in keys[:1]}))
        self._hint = f'(?i)(?:{firsts})\\\\*"\\s*:' if firsts else None
        self._knows_users = pii.handling_of(PERSON_ID) is not Handling.KEEP

    def found(self, batch: pl.DataFrame) -> dict[int, dict[str, Names]]:
        """Gives by row and content column where such values stand; rows without are left out."""
        found: dict[int, dict[str, Names]] = {}
        for row, user in self._rows(batch):
            texts = {column: text for column in CONTENT if (text := batch[column][row]) is not None}
            spans = self._of_event(texts, user)
            if spans:
                found[row] = spans
        return found

    def _rows(self, batch: pl.DataFrame) -> Iterable[tuple[int, str | None]]:
        """The rows in which something could be found, with the user's id where it stands in a text."""
        false = pl.lit(False)
        told, named = false, false
        if self._hint is not None:
            told = pl.any_horizontal(pl.col(column).str.contains(self._hint) for column in CONTENT).fill_null(False)
        if self._knows_users:
            user = pl.when(pl.col("user_id").str.len_chars() >= _ID_CHARS_MIN).then(pl.col("user_id"))
            named = pl.any_horizontal(pl.col(column).str.contains(user, literal=True) for column in CONTENT).fill_null(False)
        if self._hint is None and not self._knows_users:
            return ()
        hits = batch.select(pl.int_range(pl.len()).alias("row"), told.alias("told"), pl.when(named).then(pl.col("user_id")).alias("user"))
        return hits.filter(pl.col("told") | pl.col("user").is_not_null()).select("row", "user").rows()

    def _of_event(self, texts: Mapping[str, str], user: str | None) -> dict[str, Names]:
        documents: dict[str, Document] = {}
        for column, text in texts.items():
            try:
                documents[column] = self._reader.document(text)
            except RecordError:
                return {}  # mask says of this text what becomes of the record
        looks = list(self._wholes(documents.values()))
        if user is not None:
            looks.append((PERSON_ID, _bounded(re.escape(user)), _USER))
        if not looks:
            return {}
        found = {}
        for column, document in documents.items():
            spans = tuple(_spans(document.distinct, looks))
            if spans:
                found[column] = spans
        return found

    def _wholes(self, documents: Iterable[Document]) -> Iterable[tuple[str, re.Pattern[str], str]]:
        """What is looked for, each once."""
        seen: dict[tuple[str, str], None] = {}
        for document in documents:
            for pairs in document.objects():
                values = {_plain(key): value.strip() for key, value in pairs}
                for split, keys in self._splits:
                    parts = [values[key] for key in keys if _PART_CHARS_MIN <= len(values.get(key, "")) <= _PART_CHARS_MAX]
                    if len(parts) >= 2:
                        seen.update(dict.fromkeys((split.entity, whole) for whole in _writings(parts, split)))
                if len(seen) >= _WHOLES_COUNT_MAX:
                    break
        return [(entity, _bounded(whole), _NAME) for entity, whole in list(seen)[:_WHOLES_COUNT_MAX]]


def _writings(parts: Sequence[str], split: SplitValue) -> Iterable[str]:
    """Expressions for a whole: its parts in order, the outer ones alone, the last one first; and each part where policy says so."""
    words = [re.escape(part) for part in parts]
    yield _BETWEEN.join(words)
    if len(words) > 2:
        yield words[0] + _BETWEEN + words[-1]
    yield words[-1] + _BETWEEN + words[0]
    if split.has_telling_parts:
        yield from words


def _bounded(expression: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![^\W_]){expression}(?![^\W_])", re.IGNORECASE)


def _spans(leaves: Sequence[str], looks: Sequence[tuple[str, re.Pattern[str], str]]) -> Iterable[tuple[int, Span]]:
    for index, leaf in enumerate(leaves):
        for entity, look, name in looks:
            for match in look.finditer(leaf):
                yield index, Span(entity, *match.span(), 1.0, name)


def _plain(key: str) -> str:
    return re.sub(r"[_\- ]", "", key).lower()


def _loose(key: str) -> str:
    """An expression for a key however its words are joined."""
    return "[_ -]?".join(map(re.escape, re.split(r"[_\- ]", key)))
