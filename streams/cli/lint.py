"""``headrace lint``: everything that is wrong with the configuration and the policy, at once."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from governance.advice import Advice, Level, advice, place_of
from governance.parse import parse_policy
from governance.policy import Policy
from schemas.errors import ConfigError, HeadraceError
from streams.backtracking import slow_expressions
from streams.cli.say import ConfigOption, complain
from streams.config import Config, load_config
from streams.hash_key import key_file_problem
from streams.policy_file import PolicyFile, load_policy

EXIT_CONFIG: Final = 2
_PLACED: Final = re.compile(r"(?P<file>[^:\n]+):(?P<line>\d+):(?P<column>\d+): (?P<message>.*)", re.DOTALL)


class Format(StrEnum):
    """How findings are printed."""

    TEXT = "text"
    JSON = "json"
    SARIF = "sarif"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the result; without a place where it is about no line of a file."""

    level: Level
    message: str
    file: str | None = None
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        at = f"{self.file}:{self.line}:{self.column}: " if self.file is not None else ""
        return at + ("warning: " if self.level is Level.WARNING else "") + self.message


def lint(
    config: ConfigOption = None,
    policy: Annotated[Path | None, typer.Option("--policy", help="Policy file; default: pipeline.policy, else the packaged one.")] = None,
    against: Annotated[
        Path | None,
        typer.Option("--against", help="The version before; other content must have another version. Default: the one in force."),
    ] = None,
    format: Annotated[Format, typer.Option("--format", help="How findings are printed.")] = Format.TEXT,
) -> None:
    """Check the configuration and the policy; print every problem with its line and its fix. Exit status 2 where there is an error."""
    checked, findings = _looked(config, policy, against)
    errors = [finding for finding in findings if finding.level is Level.ERROR]
    if format is Format.TEXT:
        complain(*map(str, findings))
        if not errors and checked is not None:
            rules = checked.policy.rules
            print(f"configuration is right; policy {checked.policy.id} version {checked.policy.version} has {len(rules)} rules")
    else:
        print(json.dumps(sarif(findings) if format is Format.SARIF else [asdict(finding) for finding in findings], indent=1, ensure_ascii=False))
    if errors:
        raise typer.Exit(EXIT_CONFIG)


def _looked(config: Path | None, policy: Path | None, against: Path | None) -> tuple[PolicyFile | None, list[Finding]]:
    from streams.inference import models_problems
    from streams.vault import vault_problems

    problems: list[str] = []
    advised: list[Finding] = []
    found: Config | None = None
    checked: PolicyFile | None = None
    try:
        found = load_config(config)
    except ConfigError as error:
        problems += error.problems
    key_file = found.privacy.key_file if found is not None else None
    if key_file is not None and (problem := key_file_problem(key_file)) is not None:
        problems.append(problem)
    named = policy or (found.pipeline.policy if found is not None else None)
    try:
        checked = load_policy(named)
        before = load_policy(against).policy if against is not None else _in_force(found)
        problems += [] if found is None else models_problems(found, checked.policy) + vault_problems(found, checked.policy)
        has_models = None if found is None else found.models is not None
        # The packaged policy serves with models and without.
        said = [*advice(checked.policy, before, has_models if named is not None else None), *slow_expressions(checked.policy)]
        advised = [_placed(one, checked.text, "policies/default.yaml" if named is None else str(named)) for one in said]
    except ConfigError as error:
        problems += error.problems
    return checked, [*map(_read, problems), *advised]


def _in_force(config: Config | None) -> Policy | None:
    """Gives the policy that the recovery directory records as the last one, None where it records none; takes no lease and writes nothing."""
    if config is None:
        return None
    directory = config.recovery.dir
    try:
        digest = json.loads((directory / "begin.json").read_bytes())["fingerprint"]["policy"]
        marks = directory / "policies" / "marks.jsonl"
        for line in marks.read_bytes().splitlines() if marks.exists() else ():
            digest = json.loads(line)["digest"]
        path = directory / "policies" / f"{digest}.yaml"
        return parse_policy(path.read_text(encoding="utf-8"), str(path))
    except (OSError, ValueError, KeyError, HeadraceError):  # nothing ran here, or it is not for this command to judge
        return None


def _read(problem: str) -> Finding:
    match = _PLACED.fullmatch(problem)
    if match is None:
        return Finding(Level.ERROR, problem)
    return Finding(Level.ERROR, match["message"], match["file"], int(match["line"]), int(match["column"]))


def _placed(one: Advice, text: str, file: str) -> Finding:
    line, column = place_of(text, one.path)
    return Finding(one.level, f"{one.path}: {one.message}", file, line, column)


def sarif(findings: Sequence[Finding]) -> dict[str, Any]:
    """Gives findings as SARIF 2.1.0, which code review tools show."""

    def results() -> Iterator[dict[str, Any]]:
        for finding in findings:
            result: dict[str, Any] = {"ruleId": "headrace", "level": finding.level.value, "message": {"text": finding.message}}
            if finding.file is not None:
                region = {"startLine": finding.line, "startColumn": finding.column}
                result["locations"] = [{"physicalLocation": {"artifactLocation": {"uri": finding.file}, "region": region}}]
            yield result

    run = {"tool": {"driver": {"name": "headrace", "rules": [{"id": "headrace"}]}}, "results": list(results())}
    return {"version": "2.1.0", "$schema": "https://json.schemastore.org/sarif-2.1.0.json", "runs": [run]}
