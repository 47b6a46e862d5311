"""Texts out of what a request carries, or a refusal that does not quote them."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray


class TextRefused(ValueError):
    """A text of a request cannot be read; the message says which and why, and holds nothing of it."""


def texts_of(values: NDArray[Any], bytes_max: int) -> list[str]:
    """Gives the texts of one request.

    Args:
        values: Bytes, one text a row.
        bytes_max: Longest text that is read.

    Raises:
        TextRefused: A text is longer or no UTF-8.
    """
    return [_text(value, row, bytes_max) for row, value in enumerate(values.reshape(-1))]


def _text(value: object, row: int, bytes_max: int) -> str:
    if not isinstance(value, bytes):
        raise TextRefused(f"TEXT, row {row}: must be bytes, is {type(value).__name__}")
    if len(value) > bytes_max:
        raise TextRefused(f"TEXT, row {row}: {len(value)} bytes, at most {bytes_max} are read; cut the text before it is sent")
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError as error:
        place = error.start
    raise TextRefused(f"TEXT, row {row}: must be UTF-8, the byte at offset {place} is not")
