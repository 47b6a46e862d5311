"""The section ``purposes`` of a policy: for what masked values may be read again."""

from __future__ import annotations

from collections.abc import Sequence

import yaml

from governance.nodes import NodeReader, pick
from governance.purposes import PURPOSE_NAME, Purpose


def purposes(reader: NodeReader, node: yaml.Node | None, entities: Sequence[str]) -> tuple[Purpose, ...]:
    """Gives the section; where it is absent nothing may be revealed. Problems go to the reader.

    Args:
        reader: Reads, and takes problems.
        node: The section.
        entities: Those that the policy handles.
    """
    found = []
    for name, value in reader.mapping(node, "purposes", open_keys=True).items():
        path = f"purposes.{name}"
        if PURPOSE_NAME.fullmatch(name) is None:
            reader.problem(value, path, "a purpose is named in lower case letters, digits and '_', at most 63")
        values = reader.mapping(value, path, ("description",), ("entities",))
        description = reader.text(*pick(values, "description", path))
        words = reader.words(*pick(values, "entities", path), tuple(entities))
        found.append(Purpose(name, description or "", words if "entities" in values else None))
    return tuple(found)
