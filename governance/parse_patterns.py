"""Lists of named regular expressions in a policy."""

from __future__ import annotations

import yaml

from governance.nodes import NodeReader, pick
from governance.patterns import PatternSpec


def read_patterns(reader: NodeReader, node: yaml.Node | None, path: str) -> tuple[PatternSpec, ...]:
    """Gives the patterns; names are unique within the list. Problems go to the reader."""
    names: set[str] = set()

    def read(item: yaml.Node, at: str) -> PatternSpec | None:
        values = reader.mapping(item, at, ("name", "regex"), ("score",))
        name = reader.unique(names, *pick(values, "name", at))
        expression = reader.regex(*pick(values, "regex", at))
        score = reader.fraction(*pick(values, "score", at)) if "score" in values else 1.0
        return PatternSpec(name, expression, score) if name and expression and score else None

    return reader.sequence(node, path, read)
