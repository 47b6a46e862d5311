"""``headrace dlq``: the records that could not go on, and what a person does about them."""

from __future__ import annotations

import getpass
import json
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from schemas.errors import ConfigError, record_error_codes
from schemas.topics import INPUTS
from streams.cli.say import ConfigOption
from streams.config import load_config
from streams.times import millis_of

if TYPE_CHECKING:
    from sinks.dead_letter_log import DeadLetter, Mark
    from streams.dead_letters import Wanted

dlq_app = typer.Typer(
    name="dlq",
    help="Dead letters: records that could not go on. Coordinates and codes, never what a record holds.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Ids of dead letters, from `headrace dlq list`.")]
Codes = Annotated[list[str] | None, typer.Option("--code", help="Only those with this code; may be given again.")]
Topics = Annotated[list[str] | None, typer.Option("--topic", help="Only those of records of this input topic; may be given again.")]
Agents = Annotated[
    list[str] | None,
    typer.Option("--agent", help="Only those of this agent, by its masked id; letters of before masking name none. May be given again."),
]
Since = Annotated[str | None, typer.Option("--from", help="Only records since: ISO 8601 with a zone, or milliseconds since 1970, by Kafka's times.")]
Until = Annotated[str | None, typer.Option("--to", help="Only records before.")]
All = Annotated[bool, typer.Option("--all", help="Every open one: needed where nothing else says which.")]
By = Annotated[str | None, typer.Option("--by", help="Who asks, for the record; default: the user of this machine.")]


class State(StrEnum):
    """Which dead letters are listed."""

    OPEN = "open"
    REDRIVEN = "redriven"
    PURGED = "purged"
    ALL = "all"


class Format(StrEnum):
    """How a list is printed."""

    TEXT = "text"
    JSON = "json"


@dlq_app.command("list")
def list_letters(
    config: ConfigOption = None,
    code: Codes = None,
    topic: Topics = None,
    agent: Agents = None,
    since: Since = None,
    until: Until = None,
    state: Annotated[State, typer.Option("--state", help="Which ones: open are those that nobody has redriven or purged.")] = State.OPEN,
    format: Annotated[Format, typer.Option("--format", help="text for people, json for machines, one object a line.")] = Format.TEXT,
) -> None:
    """List dead letters, by topic, partition and offset, and count them by code."""
    from streams.dead_letters import found, log_of, state_of
    from streams.registry import open_registry

    settings = load_config(config)
    wanted = _wanted(None, code, topic, agent, since, until, None if state is State.ALL else state.value)
    letters = found(log_of(settings, open_registry(settings)), wanted)
    for letter, mark in letters:
        print(_line(letter, mark) if format is Format.TEXT else json.dumps(_row(letter, state_of(mark), mark)))
    if format is Format.TEXT:
        counts = Counter(letter.code for letter, _ in letters)
        print(f"{len(letters)} dead letters" + "".join(f", {name} {count}" for name, count in sorted(counts.items())))


@dlq_app.command("show")
def show(
    letter: Annotated[str, typer.Argument(metavar="ID", help="Id of the dead letter, from `headrace dlq list`.")], config: ConfigOption = None
) -> None:
    """Show all that is known of a dead letter as JSON: where the record lies, why it ended, whether it is still there. Its content is not read."""
    from streams.dead_letters import log_of, shown
    from streams.registry import open_registry

    settings = load_config(config)
    print(json.dumps(shown(settings, log_of(settings, open_registry(settings)), letter), indent=1))


@dlq_app.command("redrive")
def redrive_letters(
    letters: Ids = None,
    config: ConfigOption = None,
    code: Codes = None,
    topic: Topics = None,
    agent: Agents = None,
    since: Since = None,
    until: Until = None,
    everything: All = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be redriven and what is gone.")] = False,
    by: By = None,
) -> None:
    """Put the records of open dead letters at the end of their partitions again, each once however often this is asked, while the pipeline runs.

    Exit status 1 where a record is no longer in its topic.
    """
    from streams.dead_letters import redrive
    from streams.registry import open_registry

    wanted = _selected("redrive", letters, everything, _wanted(letters, code, topic, agent, since, until, "open"))
    settings = load_config(config)
    done = redrive(settings, open_registry(settings), wanted, by or getpass.getuser(), datetime.now(UTC), dry_run=dry_run)
    for mark in done.marks:
        where = "would be redriven" if dry_run else f"redriven to offset {mark.redriven_to}"
        print(f"{mark.record_uid}  {mark.topic}[{mark.partition}] offset {mark.offset}  {where}")
    for letter, why in done.gone:
        print(f"{letter.record_uid}  {letter.place}  gone: {why}")
    print(f"{len(done.marks)} {'would be redriven' if dry_run else 'redriven'}, {len(done.gone)} gone")
    if done.gone:
        raise typer.Exit(1)


@dlq_app.command("purge")
def purge_letters(
    letters: Ids = None,
    config: ConfigOption = None,
    code: Codes = None,
    topic: Topics = None,
    agent: Agents = None,
    since: Since = None,
    until: Until = None,
    everything: All = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how many would be purged.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    by: By = None,
) -> None:
    """Put open dead letters aside for good: marked, they are listed no more and cannot be redriven. Asks first, unless told --yes."""
    from streams.dead_letters import purge
    from streams.registry import open_registry

    wanted = _selected("purge", letters, everything, _wanted(letters, code, topic, agent, since, until, "open"))
    settings = load_config(config)

    def agreed(count: int) -> bool:
        if dry_run or not count:
            print(f"{count} would be purged")
            return False
        return yes or typer.confirm(f"purge {count} dead letters for good?")

    marks = purge(settings, open_registry(settings), wanted, by or getpass.getuser(), datetime.now(UTC), agreed)
    if not dry_run:
        print(f"{len(marks)} purged")


def _wanted(
    ids: Sequence[str] | None,
    codes: Sequence[str] | None,
    topics: Sequence[str] | None,
    agents: Sequence[str] | None,
    since: str | None,
    until: str | None,
    state: str | None,
) -> Wanted:
    from streams.dead_letters import Wanted

    known = (("--code", codes, record_error_codes()), ("--topic", topics, tuple(INPUTS)))
    problems = [
        f"dlq: {option}: came {value[:64]!r}; must be one of {', '.join(names)}"
        for option, values, names in known
        for value in values or ()
        if value not in names
    ]
    if problems:
        raise ConfigError(*problems)
    return Wanted(
        frozenset(ids or ()),
        frozenset(codes or ()),
        frozenset(topics or ()),
        frozenset(agents or ()),
        None if since is None else millis_of("--from", since),
        None if until is None else millis_of("--to", until),
        state,
    )


def _selected(act: str, ids: Sequence[str] | None, everything: bool, wanted: Wanted) -> Wanted:
    if wanted.is_all is not everything:
        what = (
            "say which by ids, --code, --topic, --agent, --from and --to, or --all" if not everything else "--all goes with nothing that says which"
        )
        raise ConfigError(f"dlq {act}: {what}")
    return wanted


def _line(letter: DeadLetter, mark: Mark | None) -> str:
    from streams.dead_letters import state_of

    at = "-" if letter.kafka_time is None else datetime.fromtimestamp(letter.kafka_time / 1_000, UTC).isoformat(timespec="seconds")
    first = "" if letter.redriven_from is None else f"  redriven from offset {letter.redriven_from}"
    to = "" if mark is None or mark.redriven_to is None else f" to offset {mark.redriven_to}"
    return f"{letter.record_uid}  {at}  {letter.place}  {letter.code}  {letter.agent_id or '-'}  {state_of(mark)}{to}{first}"


def _row(letter: DeadLetter, state: str, mark: Mark | None) -> dict[str, object]:
    from dataclasses import asdict

    return {**asdict(letter), "state": state, "redriven_to": None if mark is None else mark.redriven_to}
