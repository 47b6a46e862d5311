"""The command ``headrace``: its commands, and how each kind of error leaves it.

Exit status: 0 done; 1 the run could not keep its promises, or a check failed; 2 the command line, configuration or policy is wrong; 130 Ctrl-C.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from typing import Final

import typer

from schemas.errors import ConfigError, HeadraceError
from streams.cli.audit import audit_app
from streams.cli.cases import try_cases
from streams.cli.contracts import contracts_app
from streams.cli.demo import demo
from streams.cli.dlq import dlq_app
from streams.cli.doctor import doctor
from streams.cli.erase import erase
from streams.cli.graph import graph
from streams.cli.imports import import_runs
from streams.cli.keys import keys_app
from streams.cli.lineage import lineage
from streams.cli.lint import lint
from streams.cli.migrate import migrate
from streams.cli.models import models_app
from streams.cli.produce import produce
from streams.cli.replay import replay
from streams.cli.report import report
from streams.cli.retention import retention_app
from streams.cli.reveal import reveal
from streams.cli.review import review_app
from streams.cli.run import run
from streams.cli.say import complain
from streams.cli.score import score
from streams.cli.search import search
from streams.cli.verify import verify

EXIT_FAILED: Final = 1
EXIT_CONFIG: Final = 2
EXIT_INTERRUPTED: Final = 130
_FRAMES_SHOWN: Final = 5

app = typer.Typer(
    name="headrace",
    help="A streaming data pipeline for fleets of AI agents: masked, guarded, measured, delivered once.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("demo")(demo)
app.command("run")(run)
app.command("import")(import_runs)
app.command("produce")(produce)
app.command("migrate")(migrate)
app.command("search")(search)
app.command("score")(score)
app.add_typer(models_app)
app.add_typer(keys_app)
app.command("reveal")(reveal)
app.command("lint")(lint)
app.command("test")(try_cases)
app.command("replay")(replay)
app.command("verify")(verify)
app.add_typer(audit_app)
app.command("erase")(erase)
app.add_typer(review_app)
app.add_typer(dlq_app)
app.add_typer(retention_app)
app.command("report")(report)
app.add_typer(contracts_app)
app.command("graph")(graph)
app.command("lineage")(lineage)
app.command("doctor")(doctor)


def status_of(arguments: Sequence[str]) -> int:
    """Runs a command line and gives its exit status; errors go to stderr without tracebacks."""
    try:
        typer.main.get_command(app).main(list(arguments), prog_name="headrace")
    except SystemExit as left:  # typer has told what is wrong with the command line, or a command chose its status
        return left.code if isinstance(left.code, int) else 0
    except KeyboardInterrupt:
        complain("interrupted")
        return EXIT_INTERRUPTED
    except ConfigError as error:
        complain(*error.problems)
        return EXIT_CONFIG
    except HeadraceError as error:
        complain(str(error))
        return EXIT_FAILED
    except BrokenPipeError:
        return EXIT_FAILED
    except Exception as error:  # noqa: BLE001 - the last resort: told by its place, never by its text
        complain(*_bug(error))
        return EXIT_FAILED
    return 0


def _bug(error: Exception) -> list[str]:
    """Tells where an error came from that nobody foresaw; not its text, which may quote a payload."""
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES_SHOWN:]
    places = [f"  {frame.filename}:{frame.lineno} in {frame.name}" for frame in frames]
    return [f"{type(error).__name__} in headrace itself; please report it with these places (its text is not shown, it may hold data):", *places]


def main() -> None:
    """Runs the command line of this process."""
    sys.exit(status_of(sys.argv[1:]))


if __name__ == "__main__":
    main()
