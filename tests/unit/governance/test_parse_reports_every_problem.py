"""A policy file is read whole: every problem comes at once, with line, column and fix."""

from __future__ import annotations

import pytest

from governance.parse import parse_policy
from governance.policy import GuardPolicy, Outage, TaggerPolicy, TextChoice, WhenDown
from governance.rules import ScoresRule
from schemas.errors import ConfigError

GOOD = """\
id: small
version: "7"
purpose: Tests.
handling: {public: keep, internal: keep, personal: mask, secret: drop}
pii:
  score_threshold: 0.4
  user_id: hash
  entities:
    EMAIL_ADDRESS: mask
    BADGE: hash
  identifier_entities: [EMAIL_ADDRESS]
  key_names:
    badge: BADGE
  recognisers:
    - name: BadgeRecogniser
      entity: BADGE
      patterns: &badges
        - {name: badge, regex: 'B-\\d{4}', score: 0.5}
      context: [badge]
rules:
  - id: size.input
    type: size
    description: Large.
    verdict: warn
    action: pass
    severity: info
    applies_to: {kinds: [agent], fields: [input, value]}
    bytes_max: 10_000
  - id: tools.denied
    type: tools
    description: Denied.
    verdict: deny
    action: quarantine
    severity: critical
    agents: [support-*]
    deny: [shell]
  - id: secrets.badge
    type: secrets
    description: A badge.
    verdict: modify
    action: redact
    enforcement: shadow
    severity: error
    patterns: *badges
"""


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_policy(text, "p.yaml")
    return list(caught.value.problems)


def changed(old: str, new: str) -> list[str]:
    assert GOOD.count(old) == 1, f"{old!r} must stand once in the good policy"
    return problems(GOOD.replace(old, new))


def test_a_good_policy_is_read_whole() -> None:
    policy = parse_policy(GOOD, "p.yaml")
    assert [rule.id for rule in policy.rules] == ["size.input", "tools.denied", "secrets.badge"]
    assert [rule.enforcement for rule in policy.rules] == ["enforce", "enforce", "shadow"]
    assert policy.rules[0].kinds == ("agent",)
    assert policy.rules[1].kinds == ("agent", "tool", "reasoning", "workflow", "system")
    assert policy.pii.handling_of("BADGE") == "hash"


def test_an_alias_shares_a_list_between_recogniser_and_rule() -> None:
    policy = parse_policy(GOOD, "p.yaml")
    assert policy.rules[2].patterns == policy.pii.recognisers[0].patterns  # type: ignore[union-attr]


ONE_PROBLEM = [
    (
        "    verdict: deny",
        "    verdict: denny",
        "p.yaml:32:14: rules[1].verdict: must be one of allow, warn, modify, deny, escalate, came 'denny'; did you mean 'deny'?",
    ),
    (
        "    action: quarantine",
        "    action: quarantaine",
        "p.yaml:33:13: rules[1].action: must be one of pass, throttle, redact, quarantine, pause_agent, stop_agent, came 'quarantaine'; "
        "did you mean 'quarantine'?",
    ),
    (
        "    enforcement: shadow",
        "    enforce: shadow",
        "p.yaml:42:5: rules[2].enforce: unknown key; known are id, type, description, verdict, action, severity, patterns, enforcement, "
        "applies_to; did you mean 'enforcement'?",
    ),
    ("    type: tools", "    type: tool",
     "p.yaml:30:11: rules[1].type: must be one of size, tools, domains, phrases, secrets, patterns, terms, topics, characters, "
     "urls, files, schema, format, scores, came 'tool'; did you mean 'tools'?"),
    ("id: tools.denied", "id: size.input", "p.yaml:29:9: rules[1].id: 'size.input' is taken by an earlier entry; choose another"),
    ("id: tools.denied", "id: Tools", "p.yaml:29:9: rules[1].id: must be lower case words joined by '.', '_' or '-', came 'Tools'"),
    ("    deny: [shell]", "    deny: []", "p.yaml:36:11: rules[1].deny: the list is empty; name at least one entry or leave the key out"),
    ("    deny: [shell]\n", "", "p.yaml:30:11: rules[1]: a tools rule needs allow, deny or both; add one"),
    ("    deny: [shell]", "    deny: ['[sh]ell']", "p.yaml:36:11: rules[1].deny: '[sh]ell': a glob knows '*' and '?' and no brackets"),
    ("bytes_max: 10_000", "bytes_max: 0", "p.yaml:28:16: rules[0].bytes_max: must be a whole number from 1 to 1073741824, came 0"),
    ("bytes_max: 10_000", "bytes_max: many", "p.yaml:28:16: rules[0].bytes_max: must be a whole number from 1 to 1073741824, came a text"),
    ("fields: [input, value]", "fields: [inputs]",
     "p.yaml:27:43: rules[0].applies_to.fields[0]: must be one of input, output, error, attributes, value, "
     "came 'inputs'; did you mean 'input'?"),
    ('version: "7"', "version: 7", "p.yaml:2:10: version: must be a text, came a whole number; put it in quotes"),
    ('version: "7"', "version: no", "p.yaml:2:10: version: must be a text, came true or false; put it in quotes"),
    ('version: "7"', "version:", "p.yaml:2:9: version: must be a text, came nothing"),
    ("purpose: Tests.", "purpose: Tests.\npurpose: More.", "p.yaml:4:1: purpose: the key stands twice; leave one"),
    ("purpose: Tests.\n", "", "p.yaml:1:1: purpose: is missing; add it"),
    ("secret: drop", "secret: delete", "p.yaml:4:66: handling.secret: must be one of drop, mask, hash, keep, came 'delete'"),
    ("score_threshold: 0.4", "score_threshold: 40", "p.yaml:6:20: pii.score_threshold: must be a number above 0 and at most 1, came 40"),
    ("user_id: hash", "user_id: mask", "p.yaml:7:12: pii.user_id: must be one of hash, drop, keep, came 'mask'"),
    ("[EMAIL_ADDRESS]", "[EMAIL]", "p.yaml:11:25: pii.identifier_entities[0]: must be one of EMAIL_ADDRESS, BADGE, came 'EMAIL'"),
    ("badge: BADGE", "badge: BADGES", "p.yaml:13:12: pii.key_names.badge: must be one of EMAIL_ADDRESS, BADGE, came 'BADGES'; did you mean 'BADGE'?"),
    ("regex: 'B-\\d{4}'", "regex: 'B-('", "p.yaml:18:32: pii.recognisers[0].patterns[0].regex: not a regular expression: missing ) at character 4"),
    ("entity: BADGE", "entity: badge", "p.yaml:16:15: pii.recognisers[0].entity: must be upper case letters, digits and '_', came 'badge'"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "message"), ONE_PROBLEM, ids=[case[1].strip()[:30] for case in ONE_PROBLEM])
def test_a_problem_is_reported_with_its_place_and_fix(old: str, new: str, message: str) -> None:
    assert message in changed(old, new)


def test_a_regex_that_matches_nothing_at_all_is_refused() -> None:
    found = changed("regex: 'B-\\d{4}'", "regex: 'B*'")
    assert found[0] == (
        "p.yaml:18:32: pii.recognisers[0].patterns[0].regex: the expression matches the empty text, so it would match every text; "
        "make a part of it required"
    )


def test_an_entity_that_no_recogniser_finds_is_refused() -> None:
    (found,) = changed("EMAIL_ADDRESS: mask", "EMAIL_ADDRESS: mask\n    E_MAIL: mask")
    assert found.startswith("p.yaml:10:13: pii.entities.E_MAIL: no recogniser finds this entity; known are BADGE, CREDIT_CARD, CRYPTO, ")


def test_allow_with_an_action_is_a_contradiction() -> None:
    assert changed("    verdict: deny", "    verdict: allow") == [
        "p.yaml:33:13: rules[1].action: must be pass where the verdict is allow, came 'quarantine'"
    ]


def test_all_problems_come_at_once_in_the_order_of_the_file() -> None:
    text = GOOD.replace('version: "7"', "version: 7").replace("verdict: warn", "verdict: wrn").replace("deny: [shell]", "denny: [shell]")
    assert [problem.split(": ")[0:2] for problem in problems(text)] == [
        ["p.yaml:2:10", "version"],
        ["p.yaml:24:14", "rules[0].verdict"],
        ["p.yaml:30:11", "rules[1]"],
        ["p.yaml:36:5", "rules[1].denny"],
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "p.yaml:1:1: must be a mapping, came an empty file"),
        ("- a", "p.yaml:1:1: must be a mapping, came a list"),
        ("a: [1", "p.yaml:1:6: not YAML: expected ',' or ']', but got '<stream end>'"),
        ("a: 1\n\tb: 2", "p.yaml:2:1: not YAML: found character '\\t' that cannot start any token"),
        ("a: 1\n--- \nb: 2", "p.yaml:2:1: not YAML: but found another document"),
        ("a: \x00", "p.yaml: not YAML: character U+0000 at position 3 is not allowed"),
    ],
)
def test_text_that_is_no_mapping_is_refused(text: str, message: str) -> None:
    assert problems(text)[0] == message


MODELS = """\
models:
  guard:
    when_down: rules_only
    after_s: 5
    always:
      - {kinds: [agent], columns: [input]}
      - {columns: [error]}
    sampled_ppm: 500
  pii_tagger:
    when_down: reject
    after_s: 0
    leaves:
      - {columns: [input, output]}
"""
SCORES = """\
  - id: scores.injection
    type: scores
    description: An injection.
    verdict: deny
    action: quarantine
    severity: critical
    label: injection
    threshold: 0.25
"""
WITH_MODELS = GOOD.replace("    BADGE: hash\n", "    BADGE: hash\n    PERSON: mask\n") + SCORES + MODELS


def test_models_and_scores_rules_are_read_whole() -> None:
    policy = parse_policy(WITH_MODELS, "p.yaml")
    every = ("agent", "tool", "reasoning", "workflow", "system")
    assert policy.models.guard == GuardPolicy(
        Outage(WhenDown.RULES_ONLY, 5), (TextChoice(("agent",), ("input",)), TextChoice(every, ("error",))), sampled_ppm=500
    )
    assert policy.models.pii_tagger == TaggerPolicy(Outage(WhenDown.REJECT, 0), (TextChoice(every, ("input", "output")),))
    rule = policy.rules[-1]
    assert isinstance(rule, ScoresRule)
    assert (rule.label, rule.threshold_ppm) == ("injection", 250_000)


MODEL_PROBLEMS = [
    ("  guard:\n", "  gard:\n", "models.gard: unknown key; known are guard, pii_tagger; did you mean 'guard'?"),
    ("when_down: rules_only", "when_down: raw", "models.guard.when_down: must be one of pause, rules_only, reject, came 'raw'"),
    (
        "when_down: rules_only", "when_down: pause",
        "models.guard.after_s: pause waits for as long as it takes; remove after_s, or choose rules_only or reject",
    ),
    ("    after_s: 0\n", "", "models.pii_tagger.after_s: is missing; say after how many seconds without the model records are rejected"),
    ("after_s: 5", "after_s: 100000", "models.guard.after_s: must be a whole number from 0 to 86400, came 100000"),
    ("sampled_ppm: 500", "sampled_ppm: 0.5", "models.guard.sampled_ppm: must be a whole number from 0 to 1000000, came a number"),
    ("columns: [error]", "columns: [value]", "models.guard.always[1].columns[0]: must be one of input, output, error, attributes, came 'value'"),
    (
        "    leaves:\n      - {columns: [input, output]}\n", "    leaves: []\n",
        "models.pii_tagger.leaves: the list is empty; name at least one entry or leave the key out",
    ),
    ("    PERSON: mask\n", "", "models.pii_tagger: pii.entities handles none of PERSON, LOCATION, ORGANIZATION; add one, or remove the tagger"),
    (
        "label: injection", "label: injections",
        "rules[3].label: must be one of injection, jailbreak, toxicity, came 'injections'; did you mean 'injection'?",
    ),
    ("threshold: 0.25", "threshold: 25", "rules[3].threshold: must be a number above 0 and at most 1, came 25"),
    (MODELS, "", "rules[3]: a scores rule needs models.guard, which says what is scored; add it"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "message"), MODEL_PROBLEMS, ids=[case[2].split(":")[0] + f"-{at}" for at, case in enumerate(MODEL_PROBLEMS)])
def test_a_problem_with_models_is_reported_with_its_line_and_fix(old: str, new: str, message: str) -> None:
    assert WITH_MODELS.count(old) == 1
    (found,) = [problem for problem in problems(WITH_MODELS.replace(old, new)) if message in problem]
    place, said = found.split(": ", 1)
    assert said == message
    assert place.startswith("p.yaml:")
