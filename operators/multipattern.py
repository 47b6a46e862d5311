"""Hyperscan databases: many expressions in one scan, compiled once and kept where the shell has a place for it.

Compiling takes seconds, reading a compiled database no time. What is kept is named after everything it was compiled from, so a stale one is never
found; one that does not load (another processor, another version) is compiled anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Final, Protocol

import hyperscan

_MODE: Final = hyperscan.HS_MODE_BLOCK
#: Changes with the pinned library: a kept database of another edition is not looked for.
_EDITION: Final = b"hyperscan 0.9.1"


class CompiledStore(Protocol):
    """Where compiled databases are kept between runs."""

    def get(self, name: str) -> bytes | None:
        """Gives what was put under the name, None where nothing was."""
        ...

    def put(self, name: str, data: bytes) -> None:
        """Keeps data under the name; may do nothing."""
        ...


def multipattern(expressions: Mapping[int, bytes], flags: int, store: CompiledStore | None = None) -> Any:
    """Gives a database of the expressions by id.

    Args:
        expressions: By the id that a match reports.
        flags: Hyperscan flags of every expression.
        store: Where a compiled database is kept; None compiles.

    Raises:
        hyperscan.error: An expression cannot be compiled.
    """
    if store is None:
        return _compile(expressions, flags)
    name = _name(expressions, flags)
    kept = store.get(name)
    if kept is not None:
        try:
            loaded = hyperscan.loadb(kept, _MODE)
            loaded.scratch = hyperscan.Scratch(loaded)
        except hyperscan.error:
            pass
        else:
            return loaded
    database = _compile(expressions, flags)
    store.put(name, hyperscan.dumpb(database))
    return database


def _compile(expressions: Mapping[int, bytes], flags: int) -> Any:
    database = hyperscan.Database(mode=_MODE)
    database.compile(expressions=list(expressions.values()), ids=list(expressions), elements=len(expressions), flags=[flags] * len(expressions))
    return database


def _name(expressions: Mapping[int, bytes], flags: int) -> str:
    """32 hex digits over all that a compiled database depends on, but for the processor, which loading checks."""
    digest = blake2b(digest_size=16)
    for part in (_EDITION, str(flags).encode(), *(b"%d:%d:%b" % (i, len(e), e) for i, e in expressions.items())):
        digest.update(part + b"\n")
    return digest.hexdigest()
