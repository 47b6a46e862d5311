"""The project's own files, as the house tests see them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PURE_LAYERS = ("schemas", "governance", "operators")
PRODUCT_PACKAGES = (*PURE_LAYERS, "models", "sinks", "streams")


@dataclass(frozen=True, slots=True)
class Source:
    """One Python file.

    Attributes:
        path: Relative to the project's root, with ``/``.
        text: What is in it.
    """

    path: str
    text: str

    @property
    def tree(self) -> ast.Module:
        """Its syntax tree."""
        return _parse(self.text, self.path)

    @property
    def package(self) -> str:
        """The top-level folder it is in."""
        return self.path.partition("/")[0]


@cache
def _parse(text: str, path: str) -> ast.Module:
    return ast.parse(text, path)


def sources(*folders: str) -> Iterator[Source]:
    """Gives every Python file under the folders, in the order of their paths."""
    for folder in folders:
        for file in sorted((ROOT / folder).rglob("*.py")):
            yield Source(file.relative_to(ROOT).as_posix(), file.read_text(encoding="utf-8"))


def dotted(node: ast.expr) -> str:
    """Gives ``a.b.c`` for a chain of names, and ``?.c`` where the chain begins with something else."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "?"


def imported(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Gives the dotted name of everything a module imports, with its line; ``from a import b`` gives ``a.b``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def read(path: str) -> str:
    """Gives the text of a file of the project, which must exist."""
    file = ROOT / path
    assert file.is_file(), f"{path} does not exist"
    return file.read_text(encoding="utf-8")
