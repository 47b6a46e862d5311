"""What of a record has no column of its own: ids found there fill their columns, the rest becomes the JSON object ``attributes``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from schemas.codec.shapes import LINKS

#: A JSON object whose values are kept as they are written.
Members = dict[str, msgspec.Raw]

decode_members: Final = msgspec.json.Decoder(Members).decode
_decode_text: Final = msgspec.json.Decoder(str).decode
_encode: Final = msgspec.json.encode
_LINKS: Final = frozenset(LINKS)


def gather(
    sources: Sequence[tuple[str, Sequence[msgspec.Raw | None]]],
    extras: Mapping[int, Members],
    links: Mapping[str, list[str | None]],
) -> list[str | None]:
    """Gives the ``attributes`` text of every row and fills the gaps in ``links``.

    Args:
        sources: Columns of JSON texts by field name, later ones weaker (``attributes`` before ``metadata``). An object is spread; anything else
            keeps its field name as its key.
        extras: Keys without a column, by row: the strongest source.
        links: The id columns, changed in place: where a row has no id yet, a string found under the column's name fills it and leaves the
            object. A second, different id stays in the object; a ``user_id`` never does, because there it would not be hashed. A ``user_id`` that is
            no string fills its column as compact JSON text.

    Returns:
        Compact JSON objects; None where nothing is left. Where two sources hold different values under one key, the weaker is kept as
        ``<field>.<key>``, and so on until the name is free.
    """
    count = len(sources[0][1])
    texts: list[str | None] = [None] * count
    known: dict[bytes, tuple[tuple[tuple[str, str], ...], str | None]] = {}
    for row in range(count):
        given = [(field, bytes(raw)) for field, column in sources if (raw := column[row]) is not None]
        if row not in extras and len(given) == 1:
            # One source is the rule, and its text often repeats inside a batch: it is taken apart once.
            field, text = given[0]
            if text not in known:
                known[text] = _apart(field, text)
            found, rest = known[text]
            if _all_free(row, found, links):
                for name, value in found:
                    links[name][row] = value
                texts[row] = rest
                continue
        merged: Members = {}
        if row in extras:
            merged = dict(extras[row])
            _fill(row, merged, links)
        for field, text in given:
            members = _members(field, text)
            _fill(row, members, links)
            _merge(merged, field, members)
        texts[row] = _text(merged)
    return texts


def _all_free(row: int, found: tuple[tuple[str, str], ...], links: Mapping[str, list[str | None]]) -> bool:
    for name, _ in found:  # noqa: SIM110  # a generator would cost more than all of the rest
        if links[name][row] is not None:
            return False
    return True


def _apart(field: str, text: bytes) -> tuple[tuple[tuple[str, str], ...], str | None]:
    """Gives the ids in one JSON text and what is left of it."""
    members = _members(field, text)
    found = tuple((name, value) for name in sorted(_LINKS & members.keys()) if (value := _link(name, members[name])))
    for name, _ in found:
        del members[name]
    return found, _text(members)


def _text(members: Members) -> str | None:
    return _encode(members).decode() if members else None


def _members(field: str, text: bytes) -> Members:
    if text == b"null":
        return {}
    try:
        return decode_members(text)
    except msgspec.ValidationError:
        return {field: msgspec.Raw(text)}


def _link(name: str, raw: msgspec.Raw) -> str | None:
    """Gives the id that a value holds, None where it holds none."""
    text = bytes(raw)
    if text[:1] == b'"':
        return _decode_text(text) or None
    return None if name != "user_id" or text == b"null" else msgspec.json.format(text, indent=-1).decode()


def _fill(row: int, members: Members, links: Mapping[str, list[str | None]]) -> None:
    for name in sorted(_LINKS & members.keys()):
        value = _link(name, members[name])
        if value is None:
            continue
        column = links[name]
        if column[row] is None:
            column[row] = value
        elif name != "user_id" and value != column[row]:
            continue
        del members[name]


def _merge(strong: Members, field: str, weak: Members) -> None:
    for name, value in weak.items():
        key = name
        while key in strong and bytes(strong[key]) != bytes(value):
            key = f"{field}.{key}"
        strong[key] = value
