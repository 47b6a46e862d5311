"""Content that came as a string (Avro): JSON text where it is JSON, a JSON string where it is plain text."""

from __future__ import annotations

from typing import Final

import msgspec

from schemas.codec.depth import check_nesting
from schemas.errors import NestingTooDeep

_WHITESPACE: Final = " \t\r\n"
_encode: Final = msgspec.json.encode


def json_text(text: str, depth_max: int) -> str:
    """Gives compact JSON text for a string that holds JSON text or plain text.

    Only objects, arrays and quoted strings are taken as JSON. Anything else (``42``, ``true``, prose, broken JSON) is plain text: a card number
    must not turn into a JSON number just because it has only digits.

    Args:
        depth_max: Deepest nesting of the text itself.

    Raises:
        NestingTooDeep: JSON nested deeper; the record is dead-lettered.
    """
    if text.lstrip(_WHITESPACE)[:1] not in ("{", "[", '"'):
        return _encode(text).decode()
    data = text.encode()
    try:
        compact = msgspec.json.format(data, indent=-1)
    except msgspec.DecodeError:
        return _encode(text).decode()
    except RecursionError:
        raise NestingTooDeep("record: want JSON that a parser can read, got nesting beyond its stack; send the inner part as a string") from None
    check_nesting(compact, depth_max)
    return compact.decode()
