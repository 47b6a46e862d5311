"""Values that an event itself gives away: a name in parts under neighbouring keys, the id of its user. They are looked for in all of its texts.

No pattern knows that ``Mia Li`` is a name. Where an object of the event says ``{"first_name": "Mia", "last_name": "Li"}``, every ``Mia Li`` in that
event is one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import polars as pl

from governance.data_classes import Handling
from governance.pii import PERSON_ID, PiiPolicy, SplitValue
from operators.pii.leaves import Document, LeafReader
from operators.pii.looks import Look, Looks, looked_up
from operators.pii.names import Names
from schemas.errors import RecordError
from schemas.events import CONTENT

#: Wholes that are looked for in one event; parts beyond it are still masked under their keys.
_WHOLES_COUNT_MAX: Final = 16
_PART_CHARS_MAX: Final = 64
_PART_CHARS_MIN: Final = 2
#: Shorter ids are found everywhere.
_ID_CHARS_MIN: Final = 4
_BETWEEN: Final = r"(?:[\s,.+]|%20){1,4}"
#: What hides characters of a leaf: escapes by number, and JSON in base64 or percent-encoding (``operators.pii.leaves``).
_HIDING: Final = r'\\u|"(?:[eW][w-z0-3]|%[57][bB])'
_HIDES: Final = re.compile(_HIDING).search
#: With a letter: a number with an exponent is examined written out.
_PLAIN_ID: Final = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9_.@+-]+").fullmatch
_NAME: Final = "SplitValues"
_USER: Final = "EventUser"


@dataclass(frozen=True, slots=True)
class EventFindings:
    """What the events of a batch give away.

    Attributes:
        names: By row and content column, where values stand.
        looks: By row and content column, what is yet to be looked for: texts that were masked before need not be taken apart again for it.
        documents: Texts that were taken apart.
    """

    names: dict[int, dict[str, Names]] = field(default_factory=dict)
    looks: dict[int, dict[str, Looks]] = field(default_factory=dict)
    documents: dict[str, Document] = field(default_factory=dict)


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
        parts = "|".join(sorted({"[_ -]*".join(map(re.escape, key)) for _, keys in self._splits for key in keys}))
        #: Opens for every text in which some object could hold a part, also behind escapes and encodings.
        self._parts_hint = f'(?:(?i:{parts})[_ -]*\\\\*"\\s*:)|{_HIDING}'
        self._knows_users = pii.handling_of(PERSON_ID) is not Handling.KEEP

    def found(self, batch: pl.DataFrame) -> EventFindings:
        """Gives what is found, or is yet to be looked for; rows without are left out."""
        found = EventFindings()
        for row, is_told, user, *texts in self._rows(batch):
            held = {column: text for column, text in zip(CONTENT, texts, strict=True) if text is not None}
            if is_told:
                spans = self._of_event(held, user, found.documents)
                if spans:
                    found.names[row] = spans
            else:
                looks = (Look(PERSON_ID, re.escape(user), _USER),)
                found.looks[row] = {column: looks for column, text in held.items() if _may_hold(text, user)}
        return found

    def _rows(self, batch: pl.DataFrame) -> Iterable[tuple[Any, ...]]:
        """The rows in which something could be found: number, whether parts could stand in it, the user's id where a text holds it, the texts."""
        false = pl.lit(False)
        told, named = false, false
        if self._hint is not None:
            told = _any_contains(self._hint)
        if self._knows_users:
            user = pl.when(pl.col("user_id").str.len_chars() >= _ID_CHARS_MIN).then(pl.col("user_id"))
            named = pl.any_horizontal(pl.col(column).str.contains(user, literal=True) for column in CONTENT).fill_null(False)
        if self._hint is None and not self._knows_users:
            return ()
        marks = (pl.int_range(pl.len()).alias("row"), told.alias("told"), pl.when(named).then(pl.col("user_id")).alias("user"))
        hits = batch.select(*marks, *CONTENT).filter(pl.col("told") | pl.col("user").is_not_null())
        if self._hint is not None:
            hits = hits.with_columns(told=pl.col("told") | _any_contains(self._parts_hint))
        return hits.rows()

    def _of_event(self, texts: Mapping[str, str], user: str | None, taken: dict[str, Document]) -> dict[str, Names]:
        documents: dict[str, Document] = {}
        for column, text in texts.items():
            document = taken.get(text)
            if document is None:
                try:
                    document = taken[text] = self._reader.document(text)
                except RecordError:
                    return {}  # mask says of this text what becomes of the record
            documents[column] = document
        looks = list(self._wholes(documents.values()))
        if user is not None:
            looks.append(Look(PERSON_ID, re.escape(user), _USER))
        if not looks:
            return {}
        found = {column: tuple(looked_up(document.distinct, looks)) for column, document in documents.items()}
        return {column: spans for column, spans in found.items() if spans}

    def _wholes(self, documents: Iterable[Document]) -> Iterable[Look]:
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
        return [Look(entity, whole, _NAME) for entity, whole in list(seen)[:_WHOLES_COUNT_MAX]]


def _any_contains(expression: str) -> pl.Expr:
    return pl.any_horizontal(pl.col(column).str.contains(expression) for column in CONTENT).fill_null(False)


def _may_hold(text: str, user: str) -> bool:
    """Whether a leaf of the text could hold the id, in any case. Letters and digits stand in JSON as they are, but for escapes and encodings."""
    return not text.isascii() or _PLAIN_ID(user) is None or user.lower() in text.lower() or _HIDES(text) is not None


def _writings(parts: Sequence[str], split: SplitValue) -> Iterable[str]:
    """Expressions for a whole: its parts in order, the outer ones alone, the last one first; and each part where policy says so."""
    words = [re.escape(part) for part in parts]
    yield _BETWEEN.join(words)
    if len(words) > 2:
        yield words[0] + _BETWEEN + words[-1]
    yield words[-1] + _BETWEEN + words[0]
    if split.has_telling_parts:
        yield from words


def _plain(key: str) -> str:
    return re.sub(r"[_\- ]", "", key).lower()


def _loose(key: str) -> str:
    """An expression for a key however its words are joined."""
    return "[_ -]?".join(map(re.escape, re.split(r"[_\- ]", key)))
