"""The section ``contracts`` of a policy: expectations beside those of the schemas, and what a breach leads to."""

from __future__ import annotations

from typing import Any, Final

import yaml

from governance.contracts import EXPECTATIONS, ContractsPolicy, DriftPolicy, Expectation, OnBreach, arguments_text
from governance.nodes import NodeReader, pick
from schemas.topics import INPUTS, OUTPUTS

_TOPICS: Final = (*INPUTS, *OUTPUTS)
_PPM: Final = 1_000_000
_ROWS_MAX: Final = 1_000_000
_SCALARS: Final = {"tag:yaml.org,2002:str": str, "tag:yaml.org,2002:int": int, "tag:yaml.org,2002:float": float, "tag:yaml.org,2002:bool": bool}


def contracts_policy(reader: NodeReader, node: yaml.Node | None) -> ContractsPolicy:
    """Gives the section; where it is absent the schemas alone speak, and a breach alerts. Problems go to the reader."""
    values = reader.mapping(node, "contracts", (), ("on_breach", "expect", "drift"))
    if node is None:
        return ContractsPolicy()
    breaches = reader.mapping(*pick(values, "on_breach", "contracts"), (), _TOPICS)
    on_breach = tuple((topic, reader.choice(*pick(breaches, topic, "contracts.on_breach"), OnBreach)) for topic in breaches)
    return ContractsPolicy(
        on_breach=tuple((topic, breach) for topic, breach in on_breach if breach is not None),
        expect=reader.sequence(*pick(values, "expect", "contracts"), lambda item, at: _expectation(reader, item, at)),
        drift=_drift(reader, values.get("drift")),
    )


def _drift(reader: NodeReader, node: yaml.Node | None) -> DriftPolicy:
    path, default = "contracts.drift", DriftPolicy()
    values = reader.mapping(node, path, (), ("psi_max", "rate_change_max", "rows_min"))
    psi = reader.fraction(*pick(values, "psi_max", path))
    rate = reader.fraction(*pick(values, "rate_change_max", path))
    rows = reader.integer(*pick(values, "rows_min", path), 1, _ROWS_MAX)
    return DriftPolicy(
        default.psi_ppm_max if psi is None else round(psi * _PPM),
        default.rate_ppm_max if rate is None else round(rate * _PPM),
        rows or default.rows_min,
    )


def _expectation(reader: NodeReader, node: yaml.Node, path: str) -> Expectation | None:
    values = reader.mapping(node, path, ("topic", "expectation", "column", "why"), ("arguments", "mostly"))
    topic = reader.word(*pick(values, "topic", path), _TOPICS)
    name = reader.word(*pick(values, "expectation", path), EXPECTATIONS)
    column = reader.text(*pick(values, "column", path))
    mostly = reader.fraction(*pick(values, "mostly", path))
    why = reader.text(*pick(values, "why", path))
    at, place = pick(values, "arguments", path)
    arguments = {key: _plain(reader, value, f"{place}.{key}") for key, value in reader.mapping(at, place, open_keys=True).items()}
    if topic is None or name is None or column is None or why is None:
        return None
    return Expectation(topic, name, column, arguments_text(arguments), _PPM if mostly is None else round(mostly * _PPM), why)


def _plain(reader: NodeReader, node: yaml.Node, path: str) -> Any:
    """Gives a text, a number, true or false, or a list of such."""
    if isinstance(node, yaml.SequenceNode):
        return [_plain(reader, item, f"{path}[{index}]") for index, item in enumerate(node.value)]
    if isinstance(node, yaml.ScalarNode) and node.tag in _SCALARS:
        return yaml.safe_load(yaml.serialize(node))
    reader.problem(node, path, "must be a text, a number, true or false, or a list of these")
    return None
