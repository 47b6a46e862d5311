"""Times as a person writes them on the command line."""

from __future__ import annotations

from datetime import UTC, datetime

from schemas.errors import ConfigError


def millis_of(option: str, text: str) -> int:
    """Gives milliseconds since 1970 for ISO 8601 with a zone, or for milliseconds.

    Raises:
        ConfigError: It is neither.
    """
    if text.isdecimal():
        return int(text)
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise ConfigError(f"{option}: must be ISO 8601 with Z or an offset, or milliseconds since 1970; write it like 2026-01-31T12:00:00Z")
    return int(at.astimezone(UTC).timestamp() * 1000)
