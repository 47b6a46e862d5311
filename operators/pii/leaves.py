"""The strings inside a JSON text, JSON inside strings included, and the text again with some of them replaced.

Numbers keep their spelling and their size, keys their order, duplicate keys their values: what is not replaced is not touched.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from json.encoder import encode_basestring, encode_basestring_ascii
from typing import Any, Final, NoReturn

from operators.pii.encodings import Base64Text, base64_text, percent_decoded, percent_encoded
from operators.pii.key_names import KeyNames
from schemas.errors import JsonInvalid, NestingTooDeep, RecordError

#: Shorter numbers hold no personal data that a pattern could know.
_NUMBER_DIGITS_MIN: Final = 7
_EXPONENT_MAX: Final = 40


class Number(str):
    """A JSON number as it is written."""

    __slots__ = ()

    @property
    def text(self) -> str:
        """Its digits written out, or "" for a number too short to be personal. A fraction alone is no identifier."""
        written: str = str(self)
        if "e" in written or "E" in written:
            if abs(int(written.lower().partition("e")[2])) > _EXPONENT_MAX:
                return ""
            written = format(Decimal(written), "f")
        whole, _, fraction = written.partition(".")
        if sum(map(str.isdigit, whole)) < _NUMBER_DIGITS_MIN:
            return ""
        return written if fraction.strip("0") else whole


class Pairs(list[tuple[str, Any]]):
    """A JSON object as its pairs, in order, duplicates included."""


@dataclass(frozen=True, slots=True)
class _Nested:
    """A string that is itself JSON."""

    text: str
    root: Any


@dataclass(frozen=True, slots=True)
class _Encoded:
    """A string that is JSON once it is decoded."""

    text: str
    encoding: Base64Text | None  # None: percent-encoded
    root: Any


@dataclass(frozen=True, slots=True)
class _Known:
    """A value that is personal by its key."""

    text: str
    entity: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where something was replaced.

    Attributes:
        path: Keys and indices from the top, after masking; ``$`` is JSON inside a string, encoded or not: ``/messages/0/content/$/email``.
        text: The raw leaf. It is for looking up what was found in it, and goes no further.
        entity: The entity of its key, where that decided; else None.
    """

    path: str
    text: str
    entity: str | None


def _not_finite(name: str) -> NoReturn:
    raise ValueError(name)


_DECODER: Final = json.JSONDecoder(object_pairs_hook=Pairs, parse_int=Number, parse_float=Number, parse_constant=_not_finite)


class Document:
    """One JSON text, taken apart.

    Args:
        text: A JSON text.
        keys: Keys whose values are personal.
        depth_max: How many objects, arrays and strings of JSON may lie within one another.
        decodes: Whether a string that is encoded JSON is taken apart and encoded again. Without it, what is found in it replaces the whole string.

    Attributes:
        text: The raw JSON text.
        texts: All leaves to be examined, with repetitions: strings, keys, and numbers of at least seven digits.
        known: Pairs of raw value and entity, of values that are personal by their key.

    Raises:
        JsonInvalid: The text is not JSON.
        NestingTooDeep: It is nested deeper than allowed.
    """

    def __init__(self, text: str, keys: KeyNames, depth_max: int, *, decodes: bool = True) -> None:
        self.text = text
        self._decodes = decodes
        self._keys = keys
        self._depth_max = depth_max
        self.texts: list[str] = []
        self.known: list[tuple[str, str]] = []
        failure: RecordError | None = None
        try:
            self._root = self._expanded(_DECODER.decode(text), None, 0)
        except RecursionError:
            failure = self._too_deep()
        except ValueError:
            failure = JsonInvalid(f"pii.leaves: the value must be JSON, is {len(text)} characters that are not; send JSON")
        if failure is not None:
            raise failure  # outside of the handlers: the foreign errors hold the text

    @property
    def distinct(self) -> list[str]:
        """The leaves to be examined, each once, in the order in which they first stand: by their index names refer to them."""
        return list(dict.fromkeys(self.texts))

    @classmethod
    def of_string(cls, text: str, keys: KeyNames, depth_max: int, *, decodes: bool = True) -> Document:
        """A document of one string, which may be JSON or anything else."""
        return cls(encode_basestring_ascii(text), keys, depth_max, decodes=decodes)

    def rebuilt(self, texts: Mapping[str, str], known: Mapping[tuple[str, str], str]) -> tuple[str, list[Place]]:
        """The JSON text with leaves replaced, and where. Untouched, it is the same text; otherwise it is written compactly.

        Keys that become equal (or were) are told apart: the second is followed by ``<2>``.

        Args:
            texts: New text by raw text; missing texts stay.
            known: New text by raw value and entity; missing values stay.
        """
        writer = _Writer(texts, known, encode_basestring_ascii if "\\u" in self.text else encode_basestring)
        written = writer.node(self._root, "")
        return (written if writer.changed else self.text), writer.places

    def objects(self) -> Iterator[list[tuple[str, str]]]:
        """Gives of each object its pairs of key and text; values that are no texts are left out."""
        left = [self._root]
        while left:
            node = left.pop()
            if type(node) is list:
                left += node
            elif type(node) is _Nested or type(node) is _Encoded:
                left.append(node.root)
            elif type(node) is Pairs:
                left += [value for _, value in node]
                yield [
                    (key, value.text if isinstance(value, _Known) else str(value))
                    for key, value in node
                    if type(value) is _Known or type(value) is str
                ]

    def _expanded(self, node: Any, entity: str | None, depth: int, parent: str = "", below: str | None = None) -> Any:
        """The node with JSON in strings parsed and personal values marked.

        Args:
            node: The node.
            entity: What it is by its key.
            depth: How deep it lies.
            parent: The key under which it stands.
            below: What everything in it is that has no entity of its own.
        """
        kind = type(node)
        if kind is str or kind is Number:
            return self._leaf(node, entity, depth)
        if kind is not list and kind is not Pairs:
            return node
        if depth >= self._depth_max:
            raise self._too_deep()
        if kind is list:
            return [self._expanded(item, entity, depth + 1, parent, below) for item in node]
        pairs = Pairs()
        for key, value in node:
            self.texts.append(key)
            pairs.append((key, self._expanded(value, self._keys.entity(key, parent) or below, depth + 1, key, self._keys.below(key) or below)))
        return pairs

    def _leaf(self, node: str, entity: str | None, depth: int) -> Any:
        if entity is not None and node:
            self.known.append((str(node), entity))
            return _Known(str(node), entity)
        if isinstance(node, Number):
            if node.text:
                self.texts.append(node.text)
            return node
        if node[:1] in _MAY_OPEN and node.lstrip()[:1] in _OPENS:
            try:
                inner = _DECODER.decode(node)
            except ValueError:
                inner = None
            if inner is not None:
                return _Nested(node, self._expanded(inner, None, depth + 1))
        elif self._decodes and node[:1] in _MAY_DECODE:
            encoded = self._encoded(node, depth)
            if encoded is not None:
                return encoded
        if node:
            self.texts.append(node)
        return node

    def _encoded(self, node: str, depth: int) -> _Encoded | None:
        """The leaf as JSON in base64 or percent-encoding, None where it is none."""
        encoding = None
        if node[0] == "%":
            decoded = percent_decoded(node) if node[:3].upper() in _OPENS_ENCODED else ""
        else:
            encoding = base64_text(node) if node[1:2] in _SECOND_OF_JSON else None
            decoded = encoding.text if encoding is not None else ""
        if decoded[:1] not in _OPENS:
            return None
        try:
            inner = _DECODER.decode(decoded)
        except ValueError:
            return None
        return _Encoded(node, encoding, self._expanded(inner, None, depth + 1))

    def _too_deep(self) -> NestingTooDeep:
        return NestingTooDeep(f"pii.leaves: at most {self._depth_max} levels of nesting, JSON in strings included; send it flatter")


class LeafReader:
    """Takes JSON texts apart as one policy says: the one way to know which leaves ``mask`` examines, for mask and for whoever must know it before.

    Args:
        keys: Keys whose values are personal.
        depth_max: How deep JSON may be nested.
        decodes: Whether encoded JSON is taken apart.
    """

    def __init__(self, keys: KeyNames, depth_max: int, *, decodes: bool = True) -> None:
        self.keys = keys
        self._depth_max = depth_max
        self._decodes = decodes

    def document(self, text: str) -> Document:
        """A JSON text, taken apart; raises RecordError where that cannot be done."""
        return Document(text, self.keys, self._depth_max, decodes=self._decodes)

    def string(self, text: str) -> Document:
        """A document of one string, which may be JSON or anything else; raises likewise."""
        return Document.of_string(text, self.keys, self._depth_max, decodes=self._decodes)

    def examined(self, text: str) -> list[str]:
        """The leaves of a JSON text that mask examines, each once, in their order; none of a text that mask will reject."""
        try:
            return self.document(text).distinct
        except RecordError:
            return []


def string_of(text: str) -> str:
    """The string that a rebuilt document of one string holds."""
    string: str = json.loads(text)
    return string


_OPENS: Final = frozenset("{[")
#: How JSON objects and arrays begin in percent-encoding and in base64 (``eyJ``, ``ew0``, ``W3s``, ``WyJ``).
_OPENS_ENCODED: Final = frozenset({"%7B", "%5B"})
_MAY_DECODE: Final = frozenset("%eW")
_SECOND_OF_JSON: Final = frozenset("wxyz0123")
_MAY_OPEN: Final = frozenset("{[ \t\r\n")
_CONSTANTS: Final = {None: "null", True: "true", False: "false"}


def _pointer(key: str) -> str:
    """A key as a part of a path (RFC 6901)."""
    return key.replace("~", "~0").replace("/", "~1") if "~" in key or "/" in key else key


def _encoded_again(text: str, encoding: Base64Text | None) -> str:
    return percent_encoded(text) if encoding is None else encoding.again(text)


class _Writer:
    """Writes a tree as JSON with leaves replaced, and notes where."""

    def __init__(self, texts: Mapping[str, str], known: Mapping[tuple[str, str], str], quote: Any) -> None:
        self.texts = texts
        self._known = known
        self._quote = quote
        self.places: list[Place] = []
        self.changed = False

    def node(self, node: Any, path: str) -> str:
        kind = type(node)
        if kind is str:
            return self._quoted(self._masked(node, path))
        if kind is Number:
            text = node.text
            return self._quoted(self._masked(text, path)) if text and text in self.texts else str(node)
        if kind is _Known:
            return self._personal(node, path)
        if kind is _Nested or kind is _Encoded:
            before, self.changed = self.changed, False
            inner = self.node(node.root, f"{path}/$")
            text = node.text
            if self.changed:
                text = inner if kind is _Nested else _encoded_again(inner, node.encoding)
            self.changed = self.changed or before
            return self._quoted(text)
        if kind is Pairs:
            return self._object(node, path)
        if kind is list:
            return "[" + ",".join([self.node(item, f"{path}/{index}") for index, item in enumerate(node)]) + "]"
        return _CONSTANTS[node]

    def _object(self, pairs: Pairs, path: str) -> str:
        taken: set[str] = set()
        parts = []
        for raw, value in pairs:
            key = self._masked(raw, path)
            if key in taken:
                number = 2
                while f"{key}<{number}>" in taken:
                    number += 1
                key = f"{key}<{number}>"
                self.changed = True
            taken.add(key)
            parts.append(f"{self._quoted(key)}:{self.node(value, f'{path}/{_pointer(key)}')}")
        return "{" + ",".join(parts) + "}"

    def _masked(self, raw: str, path: str) -> str:
        masked = self.texts.get(raw)
        if masked is None:
            return raw
        self.changed = True
        self.places.append(Place(path, raw, None))
        return masked

    def _personal(self, node: _Known, path: str) -> str:
        masked = self._known.get((node.text, node.entity))
        if masked is None:
            return self._quoted(node.text)
        self.changed = True
        self.places.append(Place(path, node.text, node.entity))
        return self._quoted(masked)

    def _quoted(self, text: str) -> str:
        quoted: str = self._quote(text)
        return quoted
