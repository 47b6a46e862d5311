"""The Markdown files of the project, and what can be checked in them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from source_tree import ROOT


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block.

    Attributes:
        path: File, relative to the project's root.
        line: Line of its first line of text.
        language: The word after the fence.
        text: What is in it.
    """

    path: str
    line: int
    language: str
    text: str

    @property
    def place(self) -> str:
        """Where it is."""
        return f"{self.path}:{self.line}"


def pages() -> list[str]:
    """Gives README.md and every page under docs, relative to the project's root."""
    return ["README.md", *(path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "docs").rglob("*.md")))]


def blocks(path: str, text: str) -> Iterator[Block]:
    """Gives the fenced blocks of a page."""
    for match in re.finditer(r"^```(\w*)\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL):
        yield Block(path, text.count("\n", 0, match.start()) + 2, match[1], match[2])


def commands(block: Block) -> Iterator[list[str]]:
    """Gives the words of each command after a ``$`` prompt; a backslash goes on in the next line, a comment ends one."""
    joined = re.sub(r"\\\n\s*", " ", block.text)
    for line in re.findall(r"^\$ (.*)$", joined, flags=re.MULTILINE):
        yield shlex.split(line, comments=True)


def links(text: str) -> Iterator[str]:
    """Gives the targets of the links of a page, code left out."""
    prose = re.sub(r"```.*?```|`[^`]*`", "", text, flags=re.DOTALL)
    yield from re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", prose)


def anchors(text: str) -> set[str]:
    """Gives the anchors of the headings of a page, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
