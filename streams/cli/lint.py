"""``headrace lint``: everything that is wrong with the configuration and the policy, at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from schemas.errors import ConfigError
from streams.cli.say import ConfigOption
from streams.config import Config, load_config
from streams.hash_key import key_file_problem
from streams.policy_file import load_policy


def lint(
    config: ConfigOption = None,
    policy: Annotated[Path | None, typer.Option("--policy", help="Policy file; default: pipeline.policy, else the packaged one.")] = None,
) -> None:
    """Check the configuration and the policy; print every problem with its line and its fix. Exit status 2 where there is one."""
    from streams.inference import models_problems

    problems: list[str] = []
    found: Config | None = None
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
        if found is not None:
            problems += models_problems(found, checked.policy)
    except ConfigError as error:
        problems += error.problems
    if problems:
        raise ConfigError(*problems)
    rules = checked.policy.rules
    print(f"configuration is right; policy {checked.policy.id} version {checked.policy.version} has {len(rules)} rules")
