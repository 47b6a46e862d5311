"""Writes ``operators/pii/secret_rules.json`` from the rules that come with a scanner of secrets.

The scanner is no dependency: run this where it is installed, and read the difference before it is committed::

    python -m venv /tmp/scanner && /tmp/scanner/bin/pip install kingfisher-secret-scanner==1.5.0
    /tmp/scanner/bin/python scripts/secret_rules.py
"""

from __future__ import annotations

import importlib.metadata
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

TARGET: Final = Path(__file__).parents[1] / "operators" / "pii" / "secret_rules.json"
PACKAGE: Final = "kingfisher-secret-scanner"
#: What Rust writes otherwise than Python.
SPELLED: Final = (
    ("[:alnum:]", "A-Za-z0-9"),
    ("[:alpha:]", "A-Za-z"),
    ("[:digit:]", "0-9"),
    ("[:word:]", r"\w"),
    ("[:xdigit:]", "A-Fa-f0-9"),
    (r"\z", r"\Z"),
)
FLAGS: Final = re.compile(r"\(\?([a-z]+)\)")


def main() -> None:
    """Writes the file."""
    from kingfisher_sdk import Rules

    rules = Rules(cache=False)
    details = [rules.detail(rule["id"]) for rule in rules.metadata()]
    kept = [one for detail in details if not detail["path"] for one in [written(detail)]]
    head = {"source": PACKAGE, "version": importlib.metadata.version(PACKAGE), "licence": "Apache-2.0; the betterleaks rules in it are MIT"}
    lines = ",\n".join("  " + json.dumps(one) for one in sorted(kept, key=lambda one: str(one["id"])))
    TARGET.write_text(json.dumps(head)[:-1] + f', "rules": [\n{lines}\n]}}\n')


def written(detail: dict[str, Any]) -> dict[str, object]:
    """One rule as it is kept."""
    entropy = [float(value) for value in limits(detail["betterleaks_filter"])]
    return {
        "id": detail["id"],
        "regex": respelled(detail["detection_regex"]),
        "group": int(detail["betterleaks_secret_group"] or 0),
        "entropy_min": max(entropy, default=0.0),
        "confidence": detail["confidence"],
    }


def limits(node: Any) -> Iterator[str]:
    """Entropies at or below which a match is dropped, anywhere in a filter."""
    if isinstance(node, dict):
        left = node.get("left")
        if node.get("operator") in ("<", "<=") and isinstance(left, dict) and left.get("callee") == {"kind": "identifier", "value": "entropy"}:
            yield node["right"]["value"]
        for value in node.values():
            yield from limits(value)
    elif isinstance(node, list):
        for value in node:
            yield from limits(value)


def respelled(pattern: str) -> str:
    """A pattern as Python reads it: flags in the middle hold up to the end of their group."""
    for rust, python in SPELLED:
        pattern = pattern.replace(rust, python)
    while (flags := next((match for match in FLAGS.finditer(pattern) if match.start()), None)) is not None:
        end = group_end(pattern, flags.end())
        pattern = f"{pattern[: flags.start()]}(?{flags.group(1)}:{pattern[flags.end() : end]}){pattern[end:]}"
    return pattern


def group_end(pattern: str, start: int) -> int:
    """Where the group that holds an offset closes, or the pattern ends."""
    depth, inside, at = 0, False, start
    while at < len(pattern):
        char = pattern[at]
        if char == "\\":
            at += 1
        elif inside:
            inside = char != "]"
        elif char == "[":
            inside = True
            at += pattern[at + 1 : at + 2] in ("]", "^")
        elif char == "(":
            depth += 1
        elif char == ")":
            if not depth:
                return at
            depth -= 1
        at += 1
    return len(pattern)


if __name__ == "__main__":
    main()
