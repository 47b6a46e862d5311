"""The section ``retention`` of a policy."""

from __future__ import annotations

from typing import Final

import yaml

from governance.data_classes import DataClass
from governance.nodes import NodeReader, pick
from governance.retention import Keep, Kind, Retention

_DAYS_MAX: Final = 36_500


def retention_policy(reader: NodeReader, node: yaml.Node | None) -> Retention:
    """Gives the section; where it is absent nothing is removed. Problems go to the reader."""
    if node is None:
        return Retention()
    values = reader.mapping(node, "retention", (), ("classes", *Kind))
    classes = reader.mapping(values.get("classes"), "retention.classes", (), [member.value for member in DataClass])
    found = [(DataClass(name), _keep(reader, item, f"retention.classes.{name}")) for name, item in classes.items() if name in set(DataClass)]
    places = []
    for kind in Kind:
        at = f"retention.{kind}"
        for name, item in reader.mapping(values.get(kind), at, open_keys=True).items() if kind in values else ():
            places.append((kind, name, _keep(reader, item, f"{at}.{name}")))
    return Retention(
        tuple((member, keep) for member, keep in found if keep is not None),
        tuple((kind, name, keep) for kind, name, keep in places if keep is not None),
    )


def _keep(reader: NodeReader, node: yaml.Node, path: str) -> Keep | None:
    values = reader.mapping(node, path, ("days", "purpose"))
    days = reader.integer(*pick(values, "days", path), 1, _DAYS_MAX)
    purpose = reader.text(*pick(values, "purpose", path))
    return Keep(days, purpose) if days is not None and purpose is not None else None
