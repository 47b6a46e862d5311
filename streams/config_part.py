"""What every part of the configuration is: a frozen model that refuses unknown keys and never repeats its input in an error."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Gives `` (did you mean x?)`` where a known word is near."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {near[0]}?)" if near else ""


class Section(BaseModel):
    """A part of the configuration: frozen, unknown keys refused, input never repeated in an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, validate_default=True)
