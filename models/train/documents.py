"""Documents that people wrote for people, in pieces: full of orders, rules and technical words, and none of them meant for a model."""

from __future__ import annotations

import gzip
import html
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

#: Pieces of each of a few hundred services: none may crowd out the others.
_PIECES_MAX: Final = 14
_PIECE_LEAST: Final = 90
_PIECE_MOST: Final = 900
_TAG: Final = re.compile(r"<[^>]+>")
_FRONT_MATTER: Final = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)


def cloud_documentation(packages: Path) -> Iterator[str]:
    """Gives what the descriptions of cloud services in ``botocore`` say of operations and of types."""
    for path in sorted((packages / "botocore/data").glob("*/*/service-2.json.gz")):
        service = json.loads(gzip.decompress(path.read_bytes()))
        texts = [_plain(value["documentation"]) for part in ("operations", "shapes") for value in service[part].values() if "documentation" in value]
        pieces = sorted({text for text in texts if len(text) >= _PIECE_LEAST})
        step = max(1, len(pieces) // _PIECES_MAX)
        yield from (_cut(text) for text in pieces[::step][:_PIECES_MAX])


def programmers_guide(packages: Path) -> Iterator[str]:
    """Gives the pages of the guide that ``aider-chat`` carries, paragraph by paragraph, and headings with what follows."""
    for path in sorted((packages / "aider/website/docs").rglob("*.md")):
        parts = [part.strip() for part in _FRONT_MATTER.sub("", path.read_text(encoding="utf-8")).split("\n\n")]
        parts = [part for part in parts if part and not part.startswith(("{%", "<", "- TOC"))]
        for at in range(0, len(parts), 2):
            text = _cut("\n\n".join(parts[at : at + 2]))
            if len(text) >= _PIECE_LEAST:
                yield text


def harmless_ignores(packages: Path) -> Iterator[str]:
    """Gives the harmless sentences, in several languages, that ``prompt-armor`` keeps because its filter took them for attacks."""
    for line in (packages / "prompt_armor/data/attacks/benign_exemplars.jsonl").read_text(encoding="utf-8").splitlines():
        if line.strip():
            yield json.loads(line)["text"]


def _plain(text: str) -> str:
    return " ".join(html.unescape(_TAG.sub(" ", text)).split())


def _cut(text: str) -> str:
    """Gives whole sentences up to the size of a piece."""
    if len(text) <= _PIECE_MOST:
        return text
    end = text.rfind(". ", 0, _PIECE_MOST)
    return text[: end + 1] if end > 0 else text[:_PIECE_MOST]
