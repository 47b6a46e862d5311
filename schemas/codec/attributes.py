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
    for row in range(count):
        merged: Members | None = None
        if row in extras:
            merged = dict(extras[row])
            _fill(row, merged, links)
        for field, column in sources:
            text = column[row]
            if text is None:
                continue
            members = _members(field, text)
            _fill(row, members, links)
            merged = members if merged is None else _merge(merged, field, members)
        if merged:
            texts[row] = _encode(merged).decode()
    return texts


def _members(field: str, text: msgspec.Raw) -> Members:
    try:
        return decode_members(text)
    except msgspec.ValidationError:
        return {field: text}


def _fill(row: int, members: Members, links: Mapping[str, list[str | None]]) -> None:
    for name in _LINKS & members.keys():
        text = bytes(members[name])
        is_string = text[:1] == b'"'
        if name != "user_id" and not is_string:
            continue
        value = _decode_text(text) if is_string else _compact(text)
        column = links[name]
        if value and column[row] is None:
            column[row] = value
        elif name != "user_id" and value != column[row]:
            continue
        del members[name]


def _compact(text: bytes) -> str:
    return "" if text == b"null" else msgspec.json.format(text, indent=-1).decode()


def _merge(strong: Members, field: str, weak: Members) -> Members:
    for name, value in weak.items():
        key = name
        while key in strong and bytes(strong[key]) != bytes(value):
            key = f"{field}.{key}"
        strong[key] = value
    return strong
