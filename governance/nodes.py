"""YAML nodes read into values, with every problem collected at its line and column."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from enum import StrEnum
from typing import Any, TypeVar

import regex
import yaml

from schemas.errors import ConfigError

_T = TypeVar("_T")
_E = TypeVar("_E", bound=StrEnum)

_CAME = {
    "tag:yaml.org,2002:str": "a text",
    "tag:yaml.org,2002:int": "a whole number",
    "tag:yaml.org,2002:float": "a number",
    "tag:yaml.org,2002:bool": "true or false",
    "tag:yaml.org,2002:null": "nothing",
    "tag:yaml.org,2002:timestamp": "a date",
    "tag:yaml.org,2002:map": "a mapping",
    "tag:yaml.org,2002:seq": "a list",
}


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def guess(word: str, known: Sequence[str]) -> str:
    """Gives ``; did you mean 'x'?`` for the nearest known word, or an empty text."""
    lowered = {one.lower(): one for one in known}
    near = get_close_matches(word.lower(), lowered, n=1)
    return f"; did you mean '{lowered[near[0]]}'?" if near else ""


class NodeReader:
    """Reads one document. A reading method reports what is wrong and gives None (or a shorter list); the caller goes on.

    Args:
        name: Name of the file, as it stands in messages.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._problems: dict[tuple[int, int, str], None] = {}

    def root(self, text: str) -> yaml.Node:
        """Gives the document's root node.

        Raises:
            ConfigError: The text is not one YAML document.
        """
        try:
            node = yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            place = f"{self.name}:{mark.line + 1}:{mark.column + 1}" if mark else self.name
            raise ConfigError(f"{place}: not YAML: {error.problem or error.context}") from None
        except yaml.reader.ReaderError as error:
            raise ConfigError(f"{self.name}: not YAML: character U+{error.character:04X} at position {error.position} is not allowed") from None
        if node is None:
            raise ConfigError(f"{self.name}:1:1: must be a mapping, came an empty file")
        return node

    def problem(self, node: yaml.Node, path: str, message: str) -> None:
        """Notes a problem at a node; the same problem at the same place counts once."""
        at = f"{path}: " if path else ""
        self._problems[(node.start_mark.line + 1, node.start_mark.column + 1, at + message)] = None

    def check(self) -> None:
        """Ends the reading.

        Raises:
            ConfigError: There were problems; all of them, in the order of the file.
        """
        if self._problems:
            raise ConfigError(*(f"{self.name}:{line}:{column}: {message}" for line, column, message in sorted(self._problems)))

    def mapping(
        self, node: yaml.Node | None, path: str, required: Sequence[str] = (), optional: Sequence[str] = (), *, open_keys: bool = False
    ) -> dict[str, yaml.Node]:
        """Gives the values of a mapping by key; unknown, missing and repeated keys are problems. With ``open_keys`` any key is known."""
        if node is None:
            return {}
        if not isinstance(node, yaml.MappingNode):
            self._wrong(node, path, "a mapping")
            return {}
        known = (*required, *optional)
        values: dict[str, yaml.Node] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag != "tag:yaml.org,2002:str":
                self.problem(key, path, f"a key must be a text, came {_CAME.get(key.tag, 'something else')}; put it in quotes")
            elif not open_keys and key.value not in known:
                self.problem(key, _join(path, key.value), f"unknown key; known are {', '.join(known)}{guess(key.value, known)}")
            elif key.value in values:
                self.problem(key, _join(path, key.value), "the key stands twice; leave one")
            else:
                values[key.value] = value
        for key in required:
            if key not in values:
                self.problem(node, _join(path, key), "is missing; add it")
        return values

    def sequence(self, node: yaml.Node | None, path: str, read: Callable[[yaml.Node, str], _T | None]) -> tuple[_T, ...]:
        """Gives the entries of a list that is not empty, each read by ``read(node, path)``."""
        if node is None:
            return ()
        if not isinstance(node, yaml.SequenceNode):
            self._wrong(node, path, "a list")
            return ()
        if not node.value:
            self.problem(node, path, "the list is empty; name at least one entry or leave the key out")
        values = (read(item, f"{path}[{index}]") for index, item in enumerate(node.value))
        return tuple(value for value in values if value is not None)

    def texts(self, node: yaml.Node | None, path: str) -> tuple[str, ...]:
        """Gives a list of texts in which none stands twice."""
        seen: set[str] = set()

        def entry(item: yaml.Node, at: str) -> str | None:
            text = self.text(item, at)
            if text is not None and text in seen:
                self.problem(item, at, f"'{text}' stands twice in the list; leave one")
            seen.add(text or "")
            return text

        return self.sequence(node, path, entry)

    def text(self, node: yaml.Node | None, path: str) -> str | None:
        """Gives a text that is not empty."""
        if node is None:
            return None
        if not isinstance(node, yaml.ScalarNode) or node.tag != "tag:yaml.org,2002:str":
            quotes = isinstance(node, yaml.ScalarNode) and node.value != ""
            self._wrong(node, path, "a text", "; put it in quotes" if quotes else "")
            return None
        if not node.value.strip():
            self.problem(node, path, "must be a text, came an empty one")
            return None
        return str(node.value)

    def unique(self, taken: set[str], node: yaml.Node | None, path: str) -> str | None:
        """Gives a text that is not among those taken, and takes it."""
        text = self.text(node, path)
        if node is not None and text in taken:
            self.problem(node, path, f"'{text}' is taken by an earlier entry; choose another")
        if text is not None:
            taken.add(text)
        return text

    def shaped(self, node: yaml.Node | None, path: str, shape: re.Pattern[str], wanted: str) -> str | None:
        """Gives a text of a shape, which ``wanted`` puts in words."""
        text = self.text(node, path)
        if node is not None and text is not None and not shape.fullmatch(text):
            self.problem(node, path, f"must be {wanted}, came '{text}'")
            return None
        return text

    def integer(self, node: yaml.Node | None, path: str, low: int, high: int) -> int | None:
        """Gives a whole number in ``[low, high]``."""
        if node is None:
            return None
        if not isinstance(node, yaml.ScalarNode) or node.tag != "tag:yaml.org,2002:int":
            self._wrong(node, path, f"a whole number from {low} to {high}")
            return None
        value = int(yaml.SafeLoader("").construct_yaml_int(node))
        if not low <= value <= high:
            self.problem(node, path, f"must be a whole number from {low} to {high}, came {value}")
            return None
        return value

    def flag(self, node: yaml.Node | None, path: str) -> bool | None:
        """Gives true or false."""
        if node is None:
            return None
        if not isinstance(node, yaml.ScalarNode) or node.tag != "tag:yaml.org,2002:bool":
            self._wrong(node, path, "true or false")
            return None
        return bool(yaml.SafeLoader("").construct_yaml_bool(node))

    def fraction(self, node: yaml.Node | None, path: str) -> float | None:
        """Gives a number above 0 and at most 1."""
        if node is None:
            return None
        if not isinstance(node, yaml.ScalarNode) or node.tag not in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float"):
            self._wrong(node, path, "a number above 0 and at most 1")
            return None
        value = float(yaml.SafeLoader("").construct_yaml_float(node))
        if not 0 < value <= 1:
            self.problem(node, path, f"must be a number above 0 and at most 1, came {node.value}")
            return None
        return value

    def boolean(self, node: yaml.Node | None, path: str) -> bool | None:
        """Gives true or false."""
        if node is None:
            return None
        if not isinstance(node, yaml.ScalarNode) or node.tag != "tag:yaml.org,2002:bool":
            self._wrong(node, path, "true or false")
            return None
        return bool(yaml.SafeLoader("").construct_yaml_bool(node))

    def json_value(self, node: yaml.Node | None, path: str) -> Any:
        """Gives what JSON can say: mappings by text, lists, texts, numbers, true, false and null."""
        if isinstance(node, yaml.MappingNode):
            return {key: self.json_value(value, _join(path, key)) for key, value in self.mapping(node, path, open_keys=True).items()}
        if isinstance(node, yaml.SequenceNode):
            return [self.json_value(item, f"{path}[{index}]") for index, item in enumerate(node.value)]
        if not isinstance(node, yaml.ScalarNode):
            return None
        if node.tag.rpartition(":")[2] not in ("str", "int", "float", "bool", "null"):
            self._wrong(node, path, "a value of JSON", "; put it in quotes")
            return None
        loader = yaml.SafeLoader("")
        return loader.yaml_constructors[node.tag](loader, node)

    def choice(self, node: yaml.Node | None, path: str, kind: type[_E], allowed: Sequence[_E] | None = None) -> _E | None:
        """Gives a member of an enumeration."""
        word = self.word(node, path, [member.value for member in allowed or tuple(kind)])
        return None if word is None else kind(word)

    def word(self, node: yaml.Node | None, path: str, known: Sequence[str]) -> str | None:
        """Gives one of the known words."""
        word = self.text(node, path)
        if node is None or word is None:
            return None
        if word not in known:
            self.problem(node, path, f"must be one of {', '.join(known)}, came '{word}'{guess(word, known)}")
            return None
        return word

    def words(self, node: yaml.Node | None, path: str, known: Sequence[str]) -> tuple[str, ...]:
        """Gives a list of known words in which none stands twice."""
        taken = set(self.texts(node, path))
        found = self.sequence(node, path, lambda item, at: self.word(item, at, known)) if taken else ()
        return tuple(dict.fromkeys(found))

    def regex(self, node: yaml.Node | None, path: str) -> str | None:
        """Gives a regular expression that compiles and does not match the empty text."""
        text = self.text(node, path)
        if node is None or text is None:
            return None
        try:
            compiled = regex.compile(text, regex.IGNORECASE | regex.MULTILINE | regex.DOTALL)
        except regex.error as error:
            where = "" if error.pos is None else f" at character {error.pos + 1}"
            self.problem(node, path, f"not a regular expression: {error.msg}{where}")
            return None
        if compiled.search(""):
            self.problem(node, path, "the expression matches the empty text, so it would match every text; make a part of it required")
            return None
        return text

    def _wrong(self, node: yaml.Node, path: str, wanted: str, fix: str = "") -> None:
        self.problem(node, path, f"must be {wanted}, came {_CAME.get(node.tag, 'a tagged value')}{fix}")


def pick(values: Mapping[str, yaml.Node], key: str, path: str) -> tuple[yaml.Node | None, str]:
    """Gives a key's node (None where it is absent) and its path, as the reading methods take them."""
    return values.get(key), _join(path, key)
