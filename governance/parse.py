"""YAML text to a Policy, or every problem in it at once, each with its line, column and fix."""

from __future__ import annotations

from importlib import resources

import yaml

from governance.data_classes import FIELD_HANDLINGS, DataClass, Handling
from governance.nodes import NodeReader, pick
from governance.parse_contracts import contracts_policy
from governance.parse_limits import limits_policy
from governance.parse_models import models_policy
from governance.parse_pii import pii_policy
from governance.parse_purposes import purposes
from governance.parse_retention import retention_policy
from governance.parse_rules import RulesReader
from governance.pii import NAME_ENTITIES
from governance.policy import Policy


def parse_policy(text: str, name: str = "policy") -> Policy:
    """Gives the policy that a YAML text says.

    Args:
        text: One YAML document.
        name: Name of the file, as it stands in messages.

    Raises:
        ConfigError: With every problem, e.g. ``default.yaml:12:5: rules[3].verdict: must be one of allow, warn, ...``.
    """
    reader = NodeReader(name)
    optional = ("models", "limits", "retention", "contracts", "purposes")
    top = reader.mapping(reader.root(text), "", ("id", "version", "purpose", "handling", "pii", "rules"), optional)
    identity = [reader.text(*pick(top, key, "")) for key in ("id", "version", "purpose")]
    handling = _handling(reader, top.get("handling"))
    pii = pii_policy(reader, top.get("pii"))
    models = models_policy(reader, top.get("models"))
    retention = retention_policy(reader, top.get("retention"))
    if models.pii_tagger is not None and all(pii.handling_of(entity) is Handling.KEEP for entity in NAME_ENTITIES):
        reader.problem(top["models"], "models.pii_tagger", f"pii.entities handles none of {', '.join(NAME_ENTITIES)}; add one, or remove the tagger")
    rules = RulesReader(reader, has_guard=models.guard is not None).read(top.get("rules"))
    limits = limits_policy(reader, top.get("limits"), frozenset(rule.id for rule in rules))
    contracts = contracts_policy(reader, top.get("contracts"))
    revealing = purposes(reader, top.get("purposes"), [entity for entity, _ in pii.entities])
    reader.check()
    policy_id, version, purpose = (part or "" for part in identity)
    return Policy(policy_id, version, purpose, pii, handling, rules, models, limits, retention, contracts, revealing)


def default_policy() -> Policy:
    """Gives the policy that comes with headrace: ``governance/policies/default.yaml``."""
    file = resources.files("governance").joinpath("policies/default.yaml")
    return parse_policy(file.read_text(encoding="utf-8"), "policies/default.yaml")


def _handling(reader: NodeReader, node: yaml.Node | None) -> tuple[tuple[DataClass, Handling], ...]:
    values = reader.mapping(node, "handling", [member.value for member in DataClass])
    read = {member: reader.choice(*pick(values, member, "handling"), Handling, FIELD_HANDLINGS) for member in DataClass}
    return tuple((member, handling) for member, handling in read.items() if handling is not None)
