"""The section ``models`` of a policy: what each model is asked, and what is done while it is away."""

from __future__ import annotations

from typing import Final

import yaml

from governance.nodes import NodeReader, pick
from governance.policy import CONTENT_COLUMNS, PPM, GuardPolicy, ModelsPolicy, Outage, TaggerPolicy, TextChoice, WhenDown
from governance.rules import KINDS

_AFTER_S_MAX: Final = 86_400
_OUTAGE_KEYS: Final = ("after_s",)


def models_policy(reader: NodeReader, node: yaml.Node | None) -> ModelsPolicy:
    """Gives the section; where it is absent no model is asked anything. Problems go to the reader."""
    values = reader.mapping(node, "models", (), ("guard", "pii_tagger"))
    return ModelsPolicy(guard=_guard(reader, values.get("guard")), pii_tagger=_tagger(reader, values.get("pii_tagger")))


def _guard(reader: NodeReader, node: yaml.Node | None) -> GuardPolicy | None:
    if node is None:
        return None
    path = "models.guard"
    values = reader.mapping(node, path, ("when_down", "always"), (*_OUTAGE_KEYS, "sampled_ppm"))
    return GuardPolicy(
        outage=_outage(reader, values, path),
        always=reader.sequence(*pick(values, "always", path), lambda item, at: _choice(reader, item, at)),
        sampled_ppm=reader.integer(*pick(values, "sampled_ppm", path), 0, PPM) or 0,
    )


def _tagger(reader: NodeReader, node: yaml.Node | None) -> TaggerPolicy | None:
    if node is None:
        return None
    path = "models.pii_tagger"
    values = reader.mapping(node, path, ("when_down", "leaves"), _OUTAGE_KEYS)
    leaves = reader.sequence(*pick(values, "leaves", path), lambda item, at: _choice(reader, item, at))
    return TaggerPolicy(_outage(reader, values, path), leaves)


def _outage(reader: NodeReader, values: dict[str, yaml.Node], path: str) -> Outage:
    reaction = reader.choice(*pick(values, "when_down", path), WhenDown)
    after_s = reader.integer(*pick(values, "after_s", path), 0, _AFTER_S_MAX)
    if reaction is WhenDown.PAUSE and "after_s" in values:
        reader.problem(values["after_s"], f"{path}.after_s", "pause waits for as long as it takes; remove after_s, or choose rules_only or reject")
    if reaction is WhenDown.REJECT and "after_s" not in values:
        reader.problem(values["when_down"], f"{path}.after_s", "is missing; say after how many seconds without the model records are rejected")
    return Outage(reaction or WhenDown.PAUSE, after_s or 0)


def _choice(reader: NodeReader, node: yaml.Node, path: str) -> TextChoice | None:
    values = reader.mapping(node, path, ("columns",), ("kinds",))
    columns = reader.words(*pick(values, "columns", path), CONTENT_COLUMNS)
    kinds = reader.words(*pick(values, "kinds", path), KINDS)
    return TextChoice(kinds or KINDS, columns) if columns else None
