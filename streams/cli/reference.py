"""The reference of the command line, from the commands themselves: ``python -m streams.cli.reference > docs/cli.md``."""

from __future__ import annotations

import typer
from typer.cli import get_docs_for_click

from streams.cli.main import app

_EXIT_STATUS = """## Exit status

| status | meaning |
|---|---|
| 0 | done |
| 1 | the run could not keep its promises, or a check failed |
| 2 | the command line, the configuration or the policy is wrong; every problem is on stderr with its place and its fix |
| 130 | interrupted by a second Ctrl-C; the next start replays what was in flight |
"""


def reference() -> str:
    """Gives the reference as Markdown."""
    command = typer.main.get_command(app)
    context = typer.Context(command, info_name="headrace")
    return get_docs_for_click(obj=command, ctx=context, name="headrace", title="The command line").rstrip() + "\n\n" + _EXIT_STATUS


if __name__ == "__main__":
    print(reference(), end="")
