"""Takes places out of a JSON text."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Final

from operators.guardrails.evidence import MARK, Evidence
from operators.guardrails.json_scalars import Scalar, scalars
from operators.guardrails.rules import joined

#: What stands in the place of a whole text.
REDACTED: Final = json.dumps(MARK)


def redacted(content: str, evidence: Iterable[Evidence]) -> str:
    """Gives the JSON text without what the evidence names: places, whole leaves, or all of it where a piece names no leaf.

    Args:
        content: A masked content column.
        evidence: Pieces about this column.

    Example:
        >>> redacted('{"note": "call me", "n": 1.50}', [Evidence("r", "p", "input", "/note", 0, 4)])
        '{"note": "<REDACTED> me", "n": 1.50}'
    """
    by_path: dict[str, list[Evidence]] = {}
    for piece in evidence:
        if piece.path is None:
            return REDACTED
        by_path.setdefault(piece.path, []).append(piece)
    leaves = [scalar for scalar in scalars(content) if not scalar.is_key and scalar.path in by_path]
    if len({leaf.path for leaf in leaves}) < len(by_path):
        return REDACTED
    for leaf in reversed(leaves):
        content = content[: leaf.start] + _cut(leaf, by_path[leaf.path]) + content[leaf.end :]
    return content


def _cut(leaf: Scalar, pieces: list[Evidence]) -> str:
    text = leaf.text
    places = [(piece.start, piece.end) for piece in pieces if piece.start is not None and piece.end is not None]
    if len(places) < len(pieces):
        return REDACTED
    for start, end in reversed(joined(places)):
        text = text[:start] + MARK + text[end:]
    return json.dumps(text, ensure_ascii="\\u" in leaf.written)
