"""``headrace report``: what was done with data, for who must account for it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Final

import typer

from schemas.errors import ConfigError
from streams.cli.say import ConfigOption
from streams.config import load_config, load_hash_key
from streams.policy_file import load_policy

_DAY: Final = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]


class Format(StrEnum):
    """How the report is written."""

    MD = "md"
    JSON = "json"


def report(
    begin: Annotated[datetime, typer.Option("--from", formats=_DAY, help="First instant, UTC.")],
    end: Annotated[datetime, typer.Option("--to", formats=_DAY, help="First instant after it, UTC.")],
    config: ConfigOption = None,
    format: Annotated[Format, typer.Option("--format", help="md for people, json for machines.")] = Format.MD,
) -> None:
    """Print what was processed, masked and blocked, how long it is kept and for which purpose, reveals, erasures, and whether the audit log is whole.

    Exit status 1 where the audit log is not whole.
    """
    from streams.reporting import as_markdown, report_of

    found = load_config(config)
    if found.timescale is None:
        raise ConfigError("report: timescale.dsn is not configured, and the report is made from the database; add it")
    if end <= begin:
        raise ConfigError("report: --to must be later than --from")
    policy = load_policy(found.pipeline.policy).policy
    dsn = found.timescale.dsn.get_secret_value()
    made = report_of(dsn, policy, load_hash_key(found), begin.replace(tzinfo=UTC), end.replace(tzinfo=UTC))
    print(json.dumps(made.as_dict(), indent=1) if format is Format.JSON else as_markdown(made), end="\n" if format is Format.JSON else "")
    if made.audit_findings:
        raise typer.Exit(1)
