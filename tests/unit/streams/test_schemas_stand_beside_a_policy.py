"""Schemas in files beside a policy are part of it: of its text, its digest, and of what lint tells."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from governance.parse import parse_policy
from governance.rules import SchemaRule
from schemas.errors import ConfigError
from streams.cli.main import status_of
from streams.policy_file import load_policy, schema_paths

POLICY = """\
id: p
version: "1"
purpose: A test.
handling: {public: keep, internal: keep, personal: hash, secret: drop}
pii: {score_threshold: 0.4, user_id: hash, entities: {EMAIL_ADDRESS: mask}, identifier_entities: [EMAIL_ADDRESS]}
rules:
  - id: arguments
    type: schema
    description: The arguments of a tool are not what it takes.
    verdict: deny
    action: quarantine
    severity: error
    tools:
      refund_*: tools/refund.json
      search: &search tools/all.json#/search/inputSchema
      find: *search
  - {id: shape, type: schema, description: x, verdict: warn, action: pass, severity: info, column: output, schema: "tools/shape.json"}
"""
REFUND = {"type": "object", "required": ["order"], "properties": {"note": {"const": "Grüße 😀\x7f"}}}
SEARCH = {"type": "object", "maxProperties": 1}


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "refund.json").write_text(json.dumps(REFUND, indent=2), encoding="utf-8")
    (tmp_path / "tools" / "all.json").write_text(json.dumps({"search": {"inputSchema": SEARCH}}), encoding="utf-8")
    (tmp_path / "tools" / "shape.json").write_text('{"type": "object"}', encoding="utf-8")
    path = tmp_path / "p.yaml"
    path.write_text(POLICY, encoding="utf-8")
    return path


def test_the_text_of_a_policy_holds_its_schemas(policy: Path) -> None:
    file = load_policy(policy)
    arguments, shape = (rule for rule in file.policy.rules if isinstance(rule, SchemaRule))
    assert {glob: json.loads(schema) for glob, schema in arguments.schemas} == {"refund_*": REFUND, "search": SEARCH, "find": SEARCH}
    assert [json.loads(schema) for _, schema in shape.schemas] == [{"type": "object"}]
    assert parse_policy(file.text).digest == file.policy.digest, "a run pins the text alone"
    assert len(file.text.splitlines()) == len(POLICY.splitlines()), "lines stay where they are"
    assert [path.name for path in schema_paths(policy)] == ["refund.json", "all.json", "shape.json"]


def test_another_schema_is_another_policy(policy: Path) -> None:
    before = load_policy(policy).policy.digest
    (policy.parent / "tools" / "shape.json").write_text('{\n"type": "object"}', encoding="utf-8")
    assert load_policy(policy).policy.digest == before, "its layout is not"
    (policy.parent / "tools" / "shape.json").write_text('{"type": "array"}', encoding="utf-8")
    assert load_policy(policy).policy.digest != before


@pytest.mark.parametrize(
    ("file", "text", "problem"),
    [
        ("refund.json", None, ":14:17: rules[0].tools.refund_*: tools/refund.json: the schema cannot be read (FileNotFoundError)"),
        ("refund.json", "{", ":14:17: rules[0].tools.refund_*: tools/refund.json: not JSON: line 1, column 2"),
        ("refund.json", '{"type": "objekt"}', ":14:17: rules[0].tools.refund_*: tools/refund.json: no JSON Schema that can be checked"),
        ("refund.json", '{"type": "object", "type": "array"}', "tools/refund.json: a key stands twice in an object"),
        ("all.json", "{}", ":15:15: rules[0].tools.search: tools/all.json: there is nothing at #/search/inputSchema"),
        ("shape.json", "[1]", ":17:116: rules[1].schema: tools/shape.json: must be a JSON Schema, which is a mapping"),
    ],
)
def test_lint_tells_what_is_wrong_with_a_schema_beside_all_else(
    policy: Path, file: str, text: str | None, problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = policy.parent / "tools" / file
    if text is None:
        path.unlink()
    else:
        path.write_text(text, encoding="utf-8")
    policy.write_text(POLICY.replace("verdict: warn", "verdict: worn"), encoding="utf-8")
    assert status_of(["lint", "--policy", str(policy)]) == 2
    said = capsys.readouterr().err
    assert problem in said
    assert "rules[1].verdict: must be one of" in said


@pytest.mark.parametrize("name", ["/etc/hosts", "../x.json", "a/../../x.json"])
def test_a_schema_lies_in_the_folder_of_its_policy(policy: Path, name: str) -> None:
    policy.write_text(POLICY.replace("tools/shape.json", name), encoding="utf-8")
    with pytest.raises(ConfigError, match="in the folder of the policy or below it"):
        load_policy(policy)
