"""``headrace search``: steps of agents that mean something like a text."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from schemas.errors import ConfigError
from streams.cli.say import ConfigOption
from streams.config import load_config

if TYPE_CHECKING:
    from sinks.vectors import Found

_DEADLINE_S: Final = 10.0
#: Of a text that are shown in the table.
_TEXT_CHARS: Final = 160
_COLUMNS: Final = ("time", "agent", "kind", "score", "text")


class KindChoice(StrEnum):
    """Kinds of events."""

    AGENT = "agent"
    TOOL = "tool"
    REASONING = "reasoning"
    WORKFLOW = "workflow"
    SYSTEM = "system"


_TIME_HELP: Final = "ISO 8601 with a zone, such as 2026-01-31T12:00Z, or milliseconds since 1970."


def search(
    text: Annotated[str, typer.Argument(help="What to look for; it is not stored.")],
    agent: Annotated[str | None, typer.Option("--agent", help="Only of this agent, by the id that the output topics show.")] = None,
    since: Annotated[str | None, typer.Option("--from", help=f"Not before this event time: {_TIME_HELP}")] = None,
    until: Annotated[str | None, typer.Option("--to", help=f"Before this event time: {_TIME_HELP}")] = None,
    kind: Annotated[KindChoice | None, typer.Option("--kind", help="Only events of this kind.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1_000, help="Steps shown at most.")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, with all that is stored.")] = False,
    config: ConfigOption = None,
) -> None:
    """Find steps whose masked text means something like the text, the nearest first. Needs the vector store and the model server."""
    from sinks.vectors import Where, WrongShape
    from streams.model_client import open_models
    from streams.telemetry import Telemetry
    from streams.vectors import backend_of, require_qdrant

    if not text.strip():
        raise ConfigError("search: the text is empty; give a few words")
    where = Where(agent, None if kind is None else kind.value, moment("--from", since), moment("--to", until))
    found = load_config(config)
    backend = backend_of(require_qdrant(found))
    if found.models is None:
        raise ConfigError("models: the section is absent, and a search asks the embedder; add models.url")
    problem: str | None = None
    steps: list[Found] = []
    try:
        store = backend.open(_DEADLINE_S)
        try:
            with open_models(found.models, Telemetry()) as models:
                vector = models.embed([text], _DEADLINE_S)[0].tolist()
            steps = store.similar(vector, where, limit, _DEADLINE_S)
        finally:
            store.close()
    except WrongShape as error:
        problem = str(error)
    if problem is not None:
        raise ConfigError(f"qdrant: {problem}")
    _show(steps, as_json)


def moment(option: str, text: str | None) -> int | None:
    """Gives a time of a command line in ms since 1970.

    Raises:
        ConfigError: It is no time, or has no zone.
    """
    if text is None:
        return None
    if text.isdecimal():
        return int(text)
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise ConfigError(f"{option}: {_TIME_HELP.rstrip('.')} is required, {len(text)} other characters came")
    return round(found.timestamp() * 1_000)


def _show(steps: list[Found], as_json: bool) -> None:
    if as_json:
        for step in steps:
            print(json.dumps({"id": step.id, "score": round(step.score, 6), **step.payload}, ensure_ascii=False))
        return
    from rich.console import Console

    console = Console()
    console.print(table_of(steps) if steps else "nothing found; an empty collection, or filters that nothing passes")


def table_of(steps: list[Found]) -> Any:
    """Gives found steps as a table, the texts shortened to two lines."""
    from rich.table import Table
    from rich.text import Text

    table = Table()
    for heading in _COLUMNS:
        table.add_column(heading, justify="right" if heading == "score" else "left", overflow="fold" if heading == "text" else "ellipsis")
    for step in steps:
        payload = step.payload
        time = datetime.fromtimestamp(payload["event_time"] / 1_000, UTC).strftime("%Y-%m-%d %H:%M:%S")
        text = " ".join(str(payload["text"]).split())
        shown = text if len(text) <= _TEXT_CHARS else text[: _TEXT_CHARS - 1] + "…"
        kind = payload["kind"] if payload.get("tool_name") is None else f"{payload['kind']} {payload['tool_name']}"
        # As text, not as markup: what agents write may hold brackets.
        table.add_row(*(Text(cell) for cell in (time, payload["agent_id"], kind, f"{step.score:.3f}", shown)))
    return table
