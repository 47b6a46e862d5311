"""What is wrong with a policy that can be read: rules that never decide anything, entities that nothing finds, a version that was not raised."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Final

import yaml

from governance.policy import Policy
from governance.rules import DomainsRule, Rule, ScoresRule, SizeRule, ToolsRule
from governance.verdict import ACTIONS, ENFORCEMENTS, VERDICTS


class Level(StrEnum):
    """How serious a finding is: an error refuses the policy, a warning does not."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Advice:
    """One finding.

    Attributes:
        level: How serious it is.
        path: Where in the policy, e.g. ``rules[3].deny[2]``.
        message: What is wrong, and the fix.
    """

    level: Level
    path: str
    message: str


#: What rules say beside what they look for.
_SAID: Final = frozenset(field.name for field in fields(Rule))


def advice(policy: Policy, in_force: Policy | None = None, has_models: bool | None = None) -> list[Advice]:
    """Gives what is wrong with a policy, in the order of its sections.

    Args:
        policy: The policy.
        in_force: The version before it, where it is known.
        has_models: Whether the configuration names a model server; None where that is not known.
    """
    return [*_version(policy, in_force), *_entities(policy), *_models(policy, has_models), *_tools(policy), *_domains(policy), *_shadowed(policy)]


def place_of(text: str, path: str) -> tuple[int, int]:
    """Gives line and column of a path in the text of a policy; of the nearest part above it where it is not written."""
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    assert node is not None, "a policy that was read is no empty text"
    for part in path.replace("[", ".[").split("."):
        below = _below(node, part)
        if below is None:
            break
        node = below
    return node.start_mark.line + 1, node.start_mark.column + 1


def _below(node: yaml.Node, part: str) -> yaml.Node | None:
    if part.startswith("[") and isinstance(node, yaml.SequenceNode):
        index = int(part[1:-1])
        return node.value[index] if index < len(node.value) else None
    if isinstance(node, yaml.MappingNode):
        return next((value for key, value in node.value if key.value == part), None)
    return None


def _version(policy: Policy, before: Policy | None) -> Iterator[Advice]:
    if before is not None and before.id == policy.id and before.version == policy.version and before.digest != policy.digest:
        message = f"'{policy.version}' is in force with other content; raise it, for every decision names it"
        yield Advice(Level.ERROR, "version", message)


def _entities(policy: Policy) -> Iterator[Advice]:
    """Finds entities that only a key name or the tagger can find, and neither is there for."""
    from governance.pii import KEY_ENTITIES, NAME_ENTITIES

    keyed = {key.entity for key in policy.pii.key_names} | {recogniser.entity for recogniser in policy.pii.recognisers}
    tagged = set(NAME_ENTITIES) if policy.models.pii_tagger is not None else set()
    for entity, _ in policy.pii.entities:
        if entity in KEY_ENTITIES and entity not in keyed | tagged:
            way = ", or let models.pii_tagger look for names" if entity in NAME_ENTITIES else ""
            yield Advice(Level.WARNING, f"pii.entities.{entity}", f"nothing finds it: name keys for it in pii.key_names, add a recogniser{way}")


def _models(policy: Policy, has_models: bool | None) -> Iterator[Advice]:
    if has_models is not False:
        return
    for name in ("guard", "pii_tagger"):
        if getattr(policy.models, name) is not None:
            yield Advice(
                Level.WARNING, f"models.{name}", "is not asked: the configuration names no model server; add models.url there, or remove it here"
            )


def _tools(policy: Policy) -> Iterator[Advice]:
    for number, rule in enumerate(policy.rules):
        if not isinstance(rule, ToolsRule):
            continue
        for index, glob in enumerate(rule.allow or ()):
            denied = next((other for other in rule.deny if _covers(other, glob)), None)
            if denied is not None:
                yield Advice(
                    Level.ERROR, f"rules[{number}].allow[{index}]", f"'{glob}' is denied by '{denied}', and deny wins; remove one of the two"
                )
        for index, glob in enumerate(rule.deny):
            wider = next(
                (other for at, other in enumerate(rule.deny) if at != index and _covers(other, glob) and (other != glob or at < index)), None
            )
            if wider is not None:
                yield Advice(Level.WARNING, f"rules[{number}].deny[{index}]", f"'{glob}' is denied by '{wider}' already; remove it")


def _covers(wide: str, narrow: str) -> bool:
    """Whether every name that the narrow glob matches is matched by the wide one; says no where it is not sure."""
    if "?" in narrow and "?" not in wide and "*" not in wide:
        return False
    return fnmatchcase(narrow.lower(), wide.lower()) and not ("*" in narrow and "*" not in wide)


def _domains(policy: Policy) -> Iterator[Advice]:
    for number, rule in enumerate(policy.rules):
        if not isinstance(rule, DomainsRule):
            continue
        for index, domain in enumerate(rule.domains):
            parent = next((other for other in rule.domains if domain.endswith(f".{other}")), None)
            if parent is not None:
                yield Advice(Level.WARNING, f"rules[{number}].domains[{index}]", f"'{domain}' is below '{parent}', which finds it already; remove it")


def _shadowed(policy: Policy) -> Iterator[Advice]:
    """Finds rules that never change a decision: another hits whenever they do, and is at least as strong."""
    for number, rule in enumerate(policy.rules):
        for at, other in enumerate(policy.rules):
            if at != number and _includes(other, rule) and _is_as_strong(other, rule) and not (at > number and _includes(rule, other)):
                message = f"never changes a decision: {other.id} hits whenever it does and is at least as strong; remove one, or make it stronger"
                yield Advice(Level.WARNING, f"rules[{number}]", message)
                break


def _includes(wide: Rule, narrow: Rule) -> bool:
    """Whether the wide rule hits every event that the narrow one hits."""
    if type(wide) is not type(narrow) or not set(narrow.kinds) <= set(wide.kinds):
        return False
    if isinstance(wide, ScoresRule) and isinstance(narrow, ScoresRule):
        return wide.label == narrow.label and wide.threshold_ppm <= narrow.threshold_ppm
    if isinstance(wide, SizeRule) and isinstance(narrow, SizeRule):
        return set(narrow.fields) <= set(wide.fields) and wide.bytes_max <= narrow.bytes_max
    looks = [field.name for field in fields(wide) if field.name not in _SAID]
    return all(getattr(wide, name) == getattr(narrow, name) for name in looks)


def _is_as_strong(one: Rule, other: Rule) -> bool:
    left, right = one.decision, other.decision
    return (
        VERDICTS.index(left.verdict) >= VERDICTS.index(right.verdict)
        and ACTIONS.index(left.action) >= ACTIONS.index(right.action)
        and ENFORCEMENTS.index(left.enforcement) >= ENFORCEMENTS.index(right.enforcement)
    )
