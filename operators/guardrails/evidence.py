"""Why a rule hit: the place of each finding in what goes on, never the value.

A piece of evidence is ``[rule, name, column, path, start, end]``: the rule, the name of what it found (a pattern, a domain, a keyword), the column,
the path of the leaf in the masked JSON text, and the place in the masked leaf, in characters. What cannot be told is null: a path where masking
changed the shape of the text or the finding is in a key, a place where the leaf was masked or is not plain ASCII.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import msgspec

from operators.guardrails.expressions import Sought
from operators.guardrails.json_scalars import Scalar, scalars
from operators.guardrails.rules import RawRules

#: More findings of one rule in one column say no more; the column as a whole is named instead.
PLACES_MAX: Final = 32

#: What stands in the place of what was taken out.
MARK: Final = "<REDACTED>"


class Evidence(NamedTuple):
    """One piece of evidence."""

    rule: str
    name: str | None
    column: str | None
    path: str | None = None
    start: int | None = None
    end: int | None = None


_ENCODE: Final = msgspec.json.Encoder().encode
_DECODE: Final = msgspec.json.Decoder(list[Evidence]).decode


def written(evidence: Iterable[Evidence]) -> str | None:
    """Gives evidence as JSON text, sorted and without repetition; None where there is none."""
    distinct = sorted(set(evidence), key=lambda one: [(part is not None, part or 0) if not isinstance(part, str) else (True, part) for part in one])
    return _ENCODE(distinct).decode() if distinct else None


def read(text: str | None) -> list[Evidence]:
    """Gives back what ``written`` wrote."""
    return [] if text is None else _DECODE(text)


def text_evidence(rules: RawRules, broken: Sequence[str], column: str, raw: str, masked: str) -> list[Evidence]:
    """Gives where the broken rules hit a content column; each of them has at least one piece.

    Args:
        rules: What the rules were scanned with.
        broken: Ids of the rules that hit.
        column: The content column.
        raw: Its JSON text as it came.
        masked: Its JSON text as it goes on.
    """
    before, after = scalars(raw), scalars(masked)
    found: dict[str, set[Evidence]] = {rule: set() for rule in broken}
    whole = set(broken) if len(before) != len(after) else set()
    for of_raw, of_masked in zip(before, after, strict=False):
        inner = _inner(of_raw)
        for sought in {one for text in (of_raw.text, *inner) for one in rules.found(text) if one.rule_id in found}:
            if of_raw.is_key:
                whole.add(sought.rule_id)
            elif inner:
                found[sought.rule_id].add(Evidence(sought.rule_id, sought.name, column, of_masked.path))
            else:
                found[sought.rule_id].update(_of_leaf(rules, sought, column, of_raw, of_masked))
    whole |= {rule for rule, pieces in found.items() if not 0 < len(pieces) <= PLACES_MAX}
    return [piece for rule, pieces in found.items() for piece in ([Evidence(rule, None, column)] if rule in whole else pieces)]


def _inner(scalar: Scalar) -> list[str]:
    """The leaves and keys of JSON inside a string, JSON inside its strings included."""
    leaves: list[str] = []
    waiting = [scalar.text] if scalar.written.startswith('"') else []
    while waiting:
        text = waiting.pop()
        if text.lstrip()[:1] not in ("{", "["):
            continue
        try:
            inner = [one.text for one in scalars(text)]
        except (ValueError, IndexError):
            continue
        leaves += inner
        waiting += inner
    return leaves


def _of_leaf(rules: RawRules, sought: Sought, column: str, raw: Scalar, masked: Scalar) -> list[Evidence]:
    leaf = Evidence(sought.rule_id, sought.name, column, masked.path)
    if not masked.written.startswith('"'):
        return [leaf]
    text = masked.text
    places = rules.places(sought, text)
    if not places or len(places) != len(rules.places(sought, raw.text) or ()):
        return [leaf]
    cut = text
    for start, end in reversed(places):
        cut = f"{cut[:start]}{MARK}{cut[end:]}"
    if any(other == sought for other in rules.found(cut)):
        return [leaf]
    return [leaf._replace(start=start, end=end) for start, end in places]
