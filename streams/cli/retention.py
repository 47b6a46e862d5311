"""``headrace retention``: what policy keeps no longer, counted or removed."""

from __future__ import annotations

import getpass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from streams.cli.say import ConfigOption
from streams.config import load_config
from streams.policy_file import load_policy

retention_app = typer.Typer(
    name="retention", help="How long what is stored is kept, as the policy's section retention says.", no_args_is_help=True, rich_markup_mode=None
)
FilesOption = Annotated[Path | None, typer.Option("--files", help="Directory of `run --output` files to look at too.")]


@retention_app.command("plan")
def plan(config: ConfigOption = None, files: FilesOption = None) -> None:
    """Print what is too old and what would be done; removes nothing."""
    _retain(config, files, apply=False)


@retention_app.command("apply")
def apply(config: ConfigOption = None, files: FilesOption = None) -> None:
    """Delete rows, points and lines that are too old, set retention.ms of topics, and print what was done. Run it daily."""
    _retain(config, files, apply=True)


def _retain(config: Path | None, files: Path | None, *, apply: bool) -> None:
    from streams.retaining import retain

    found = load_config(config)
    policy = load_policy(found.pipeline.policy).policy
    told = 0
    for due in retain(found, policy.retention, datetime.now(UTC), files, apply=apply, by=getpass.getuser()):
        print(f"{due.kind} {due.name}: {due.words} (kept {due.keep.days} days: {due.keep.purpose})")
        told += 1
    if not told:
        print(f"policy {policy.id} {policy.version} has no section retention for anything that is configured; nothing is removed")
