"""The gate: one Hyperscan scan of a text tells which patterns could match in it.

It errs to one side only. An open gate means that the pattern's own regular expression is run; a shut gate means that it cannot match. Hyperscan's
offsets are never used: its matching rules are not those of ``regex``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import hyperscan

from operators.multipattern import CompiledStore, multipattern
from operators.pii.fold import fold_table
from operators.pii.superset import superset
from schemas.errors import ConfigError

_FLAGS: Final = (
    hyperscan.HS_FLAG_CASELESS | hyperscan.HS_FLAG_DOTALL | hyperscan.HS_FLAG_MULTILINE | hyperscan.HS_FLAG_PREFILTER | hyperscan.HS_FLAG_SINGLEMATCH
)


@dataclass(frozen=True, slots=True)
class GatePattern:
    """What the gate asks about one pattern.

    Attributes:
        ascii_text: Hyperscan pattern for ASCII texts; None opens the gate to every one of them.
        folded_text: The same for other texts, after folding.
    """

    ascii_text: str | None
    folded_text: str | None

    @classmethod
    def of(cls, pattern: str) -> GatePattern:
        """The gate of a pattern of the ``regex`` module."""
        return cls(superset(pattern, ascii_text=True), superset(pattern, ascii_text=False))


class Gate:
    """Which patterns could match in a text. Not for use by several threads at once (Hyperscan's scratch space).

    Args:
        patterns: One for each bit of the masks, from the lowest.
        store: Where compiled databases are kept.
    """

    def __init__(self, patterns: Sequence[GatePattern], store: CompiledStore | None = None) -> None:
        self._table = fold_table()
        self._ascii, self._ascii_always = _compiled([p.ascii_text for p in patterns], 0, store)
        self._folded, self._folded_always = _compiled([p.folded_text for p in patterns], hyperscan.HS_FLAG_UTF8, store)

    def masks(self, texts: Sequence[str]) -> list[int]:
        """For each text (without lone surrogates) the patterns that could match: bit ``n`` stands for pattern ``n``."""
        table, scan_ascii, scan_folded = self._table, self._ascii.scan, self._folded.scan
        hits: list[int] = []

        def on_match(index: int, start: int, end: int, flags: int, context: Any) -> None:
            hits.append(index)

        masks = []
        for text in texts:
            if text.isascii():
                mask = self._ascii_always
                scan_ascii(text.encode(), match_event_handler=on_match)
            else:
                mask = self._folded_always
                scan_folded(text.translate(table).encode(), match_event_handler=on_match)
            if hits:
                for index in hits:
                    mask |= 1 << index
                hits.clear()
            masks.append(mask)
        return masks


def _compiled(expressions: Sequence[str | None], flag: int, store: CompiledStore | None) -> tuple[Any, int]:
    """A database of the expressions, and the mask of those that it cannot hold: they are open always."""
    held = {index: expression.encode() for index, expression in enumerate(expressions) if expression is not None}
    try:
        database = _database(held, flag, store)
    except hyperscan.error:
        held = {index: expression for index, expression in held.items() if _fits(expression, flag)}
        database = _database(held, flag, store)
    return database, sum(1 << index for index in range(len(expressions)) if index not in held)


def _database(held: Mapping[int, bytes], flag: int, store: CompiledStore | None = None) -> Any:
    if not held:
        raise ConfigError("pii: no recogniser has a pattern that the gate can hold; keep at least one of Presidio's")
    return multipattern(held, _FLAGS | flag, store)


def _fits(expression: bytes, flag: int) -> bool:
    try:
        _database({0: expression}, flag)
    except hyperscan.error:
        return False
    return True
