"""The policy that comes with headrace, and what a policy's digest is."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path

from presidio_analyzer.recognizer_registry import RecognizerRegistry
from safetensors import safe_open

from governance.data_classes import DataClass, Handling
from governance.parse import default_policy, parse_policy
from governance.pii import NAME_ENTITIES, PATTERN_ENTITIES
from governance.policy import PPM, Outage, Policy, WhenDown
from governance.rules import SCORE_LABELS, ScoresRule, needs_raw
from models import spec

ROOT = Path(__file__).parents[3]


def test_it_names_every_entity_that_presidio_finds_by_pattern() -> None:
    registry = RecognizerRegistry()
    registry.load_predefined_recognizers(languages=["en"])
    found = {entity for recogniser in registry.recognizers if recogniser.name != "SpacyRecognizer" for entity in recogniser.supported_entities}
    assert found == set(PATTERN_ENTITIES)
    assert found <= {entity for entity, _ in default_policy().pii.entities}


def test_it_keeps_nothing_personal_and_no_secret() -> None:
    policy = default_policy()
    assert policy.handling_of(DataClass.PERSONAL) is Handling.MASK
    assert policy.handling_of(DataClass.SECRET) is Handling.DROP
    assert policy.pii.user_id is Handling.HASH
    assert {entity for entity, handling in policy.pii.entities if handling is Handling.KEEP} == {"ORGANIZATION", "UUID"}


def test_the_rules_that_need_the_raw_value_are_those_that_read_texts() -> None:
    assert {rule.type: needs_raw(rule) for rule in default_policy().rules} == {
        "size": False,
        "tools": False,
        "domains": True,
        "phrases": True,
        "secrets": True,
        "patterns": True,
        "terms": True,
        "characters": True,
        "urls": True,
        "files": True,
        "scores": False,
    }


def test_secrets_are_one_list_that_masks_and_hits() -> None:
    policy = default_policy()
    (recogniser,) = (one for one in policy.pii.recognisers if one.entity == "SECRET")
    (rule,) = (one for one in policy.rules if one.type == "secrets")
    assert recogniser.patterns == rule.patterns  # type: ignore[union-attr]
    assert policy.pii.handling_of("SECRET") is Handling.MASK


def test_the_digest_is_of_the_content_not_of_the_layout() -> None:
    source = "id: a\nversion: '1'\npurpose: p\nhandling: {public: keep, internal: keep, personal: mask, secret: drop}\n"
    pii = "pii: {score_threshold: 0.4, user_id: hash, entities: {URL: mask}, identifier_entities: [URL]}\n"
    rule = "rules: [{id: s, type: size, description: d, verdict: warn, action: pass, severity: info, applies_to: {fields: [input]}, bytes_max: %s}]\n"
    one = parse_policy(source + pii + rule % 10)
    assert parse_policy("# a comment\n" + rule % "0xA" + pii + source).digest == one.digest
    assert len(one.digest) == 32
    assert parse_policy(source + pii + rule % 11).digest != one.digest


def test_every_part_takes_part_in_the_digest() -> None:
    policy = default_policy()
    others = [
        replace(policy, version="another"),
        replace(policy, purpose="another"),
        replace(policy, rules=policy.rules[1:]),
        replace(policy, rules=(replace(policy.rules[0], description="another"), *policy.rules[1:])),
        replace(policy, pii=replace(policy.pii, score_threshold=0.5)),
        replace(policy, pii=replace(policy.pii, key_names=policy.pii.key_names[1:])),
        replace(policy, handling=policy.handling[:3]),
        replace(policy, models=replace(policy.models, guard=None)),
        replace(policy, models=replace(policy.models, pii_tagger=replace(policy.models.pii_tagger, outage=Outage(WhenDown.RULES_ONLY)))),
    ]
    assert len({policy.digest, *(other.digest for other in others)}) == len(others) + 1


def test_the_policy_and_the_models_speak_of_the_same_labels_and_entities() -> None:
    assert spec.GUARD_LABELS == SCORE_LABELS
    assert spec.NAME_ENTITIES == NAME_ENTITIES


def test_untrusted_text_is_always_scored_and_names_are_never_done_without_in_silence() -> None:
    models = default_policy().models
    assert models.guard is not None
    assert models.pii_tagger is not None
    always = {(kind, column) for choice in models.guard.always for kind in choice.kinds for column in choice.columns}
    assert {("agent", "input"), ("tool", "output")} <= always
    assert models.pii_tagger.outage.reaction is WhenDown.PAUSE


def test_its_thresholds_are_those_of_the_weights_that_come_with_headrace() -> None:
    with safe_open(ROOT / "models/weights/guard.safetensors", "numpy") as weights:
        thresholds = json.loads(weights.metadata()["thresholds"])
    rules = {rule.label: rule.threshold_ppm / PPM for rule in default_policy().rules if isinstance(rule, ScoresRule)}
    assert rules.keys() == thresholds.keys()
    for label, threshold in thresholds.items():
        assert abs(rules[label] - threshold) <= 0.01, f"{label}: set it in governance/policies/default.yaml, and raise the version"


def test_a_policy_travels_between_processes() -> None:
    policy = default_policy()
    copy: Policy = pickle.loads(pickle.dumps(policy))
    assert copy == policy
    assert copy.digest == policy.digest
