"""A YAML file as values together with the line of every key."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any

import yaml

from schemas.errors import ConfigError

#: Keys from the top of a document down to one place in it.
Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class YamlDocument:
    """A configuration file, read.

    Attributes:
        name: The path as it was given, for messages.
        folder: Directory that relative paths in the file start from.
        values: The file's mapping.
        lines: Line of each key, from 1.
        problems: What is wrong in the file itself, such as a key that stands twice.
    """

    name: str
    folder: FilePath
    values: dict[str, Any]
    lines: dict[Path, int]
    problems: tuple[str, ...]


def read_yaml(path: FilePath) -> YamlDocument:
    """Reads a YAML mapping.

    Raises:
        ConfigError: The file cannot be read, is not YAML, or is not a mapping. The message quotes nothing of the file.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); check the path or name another with --config") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not UTF-8; save it as UTF-8") from None
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark is not None else 1
        raise ConfigError(f"{path}, line {line}: is not YAML; correct the indentation, colon or quote there") from None
    except yaml.YAMLError:
        raise ConfigError(f"{path}: is not YAML; it holds a character that YAML forbids") from None
    if root is None:
        return YamlDocument(str(path), path.parent, {}, {}, ())
    if not isinstance(root, yaml.MappingNode) or not isinstance(values, dict):
        raise ConfigError(f"{path}, line 1: must be a mapping of sections, such as 'pipeline:'; came a {type(values).__name__}")
    lines: dict[Path, int] = {}
    problems = []
    for at, line in _keys(root, ()):
        if at in lines:
            problems.append(f"{path}, line {line}: {'.'.join(at)} stands twice, first in line {lines[at]}; remove one")
        lines.setdefault(at, line)
    return YamlDocument(str(path), path.parent, values, lines, tuple(problems))


def _keys(node: yaml.MappingNode, above: Path) -> Iterator[tuple[Path, int]]:
    """Gives every key below a node with its line, a key that stands twice twice."""
    for key, value in node.value:
        at = (*above, str(key.value))
        yield at, key.start_mark.line + 1
        if isinstance(value, yaml.MappingNode):
            yield from _keys(value, at)
