"""Looks for expressions that backtrack for very long on some text: each is tried on texts that are known to do that, within a deadline."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import regex

from governance.advice import Advice, Level
from governance.policy import Policy

_DEADLINE_S: Final = 0.5
_LENGTH: Final = 4_000
_UNITS: Final = ("a", "0", " ", "-", "a ", "0.", "\n")
_FLAGS: Final = regex.IGNORECASE | regex.MULTILINE | regex.DOTALL


def slow_expressions(policy: Policy) -> Iterator[Advice]:
    """Gives an error for each expression of the policy that takes longer than half a second on a text of 4,000 characters."""
    for path, expression in _expressions(policy):
        if is_slow(expression):
            message = (
                f"takes more than {_DEADLINE_S} s on a text of {_LENGTH:,} characters: parts that repeat match the same text in many ways; "
                "give repetitions a bound ({0,40}), or let their parts exclude each other"
            )
            yield Advice(Level.ERROR, path, message)


def is_slow(expression: str) -> bool:
    """Whether the expression takes longer than the deadline on one of the texts."""
    compiled = regex.compile(expression, _FLAGS)
    # What the expression asks for stands behind a character that nothing matches: else its absence alone would be noticed at once.
    end = "\x00" + "".join(dict.fromkeys(char for char in expression if char not in "\\^$.|?*+()[]{}"))
    for unit in _UNITS:
        try:
            compiled.search(unit * (_LENGTH // len(unit)) + end, timeout=_DEADLINE_S)
        except TimeoutError:
            return True
    return False


def _expressions(policy: Policy) -> Iterator[tuple[str, str]]:
    for number, recogniser in enumerate(policy.pii.recognisers):
        for index, pattern in enumerate(recogniser.patterns):
            yield f"pii.recognisers[{number}].patterns[{index}].regex", pattern.regex
    for number, rule in enumerate(policy.rules):
        for index, pattern in enumerate(getattr(rule, "patterns", ())):
            yield f"rules[{number}].patterns[{index}].regex", pattern.regex
