"""``headrace replay``: what another policy would have made of history, without touching what runs."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import polars as pl
import typer
from rich.console import Console
from rich.table import Table

from schemas.errors import ConfigError
from streams.cli.say import KAFKA_HELP, ConfigOption, tell
from streams.config import Config, PipelineConfig, load_config, load_hash_key
from streams.times import millis_of

if TYPE_CHECKING:
    from governance.policy import Policy
    from models.results import TextModels
    from streams.batch import Partition
    from streams.replay.comparison import Comparison
    from streams.replay.effects import Effects
    from streams.replay.recorded import Recorded

EXIT_CHANGED: Final = 1
RECORDED: Final = "recorded"
_ROWS_MAX: Final = 4_096
_PROGRESS_EVERY_S: Final = 5.0
_SHOWN_MAX: Final = 30
#: Parts of a comparison with their titles.
_TABLES: Final = {
    "fates": "by fate",
    "rules": "by rule",
    "agents": "by agent",
    "masks": "masks by entity",
    "alerts": "alerts by rule and agent",
    "commands": "commands by rule, target and command",
    "windows": "windows with other values by agent",
}


class Format(StrEnum):
    """How a comparison is printed."""

    TABLE = "table"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class _Range:
    """What is replayed: the frames, their number of records as far as it is known, and their partitions."""

    frames: Iterator[pl.DataFrame]
    records: int | None
    partitions: list[Partition]
    recorded: Recorded | None


def replay(
    policy: Annotated[Path, typer.Option("--policy", help="The new policy.")],
    since: Annotated[str | None, typer.Option("--from", help="Begin: ISO 8601 with a zone, or milliseconds since 1970, by Kafka's times.")] = None,
    until: Annotated[str | None, typer.Option("--to", help="End; default: now.")] = None,
    input: Annotated[Path | None, typer.Option("--input", help="JSONL file of events, in place of Kafka.")] = None,
    against: Annotated[
        str | None, typer.Option("--against", help="Old side: a policy file, or 'recorded' for what the run published; default: the policy in force.")
    ] = None,
    diff: Annotated[bool, typer.Option("--diff/--no-diff", help="Show what changes by rule, agent and entity, or the sums alone.")] = True,
    format: Annotated[Format, typer.Option("--format", help="How the result is printed.")] = Format.TABLE,
    ask_models: Annotated[bool, typer.Option("--ask-models", help="Ask the model server about events of which nothing is recorded.")] = False,
    fail_on_change: Annotated[bool, typer.Option("--fail-on-change", help="Exit status 1 where anything changes.")] = False,
    config: ConfigOption = None,
    kafka: Annotated[str | None, typer.Option("--kafka", help=KAFKA_HELP)] = None,
) -> None:
    """Judge history again under another policy and show what changes. Reads only: no topic, group, table or recovery directory is touched."""
    found = load_config(config, overrides={} if kafka is None else {"kafka.bootstrap": kafka})
    if (input is None) == (since is None):
        raise ConfigError("replay: give --from TIME to read Kafka, or --input FILE; one of the two")
    if input is not None and against == RECORDED:
        raise ConfigError("--against recorded: what a run published lies on Kafka; leave --input out, or name a policy file")
    with ExitStack() as stack:
        told = _compared(found, policy, against, _Wish(input, since, until), ask_models, stack)
    if format is Format.JSON:
        print(json.dumps(told.head | (told.as_json() if diff else _sums(told.comparison)), indent=1, ensure_ascii=False))
    else:
        _print(told, diff)
    if fail_on_change and not told.is_same:
        raise typer.Exit(EXIT_CHANGED)


@dataclass(frozen=True, slots=True)
class _Wish:
    input: Path | None
    since: str | None
    until: str | None


@dataclass(frozen=True, slots=True)
class _Told:
    """A comparison, and what was compared with what. Effects are None where the old side is what a run recorded of its events."""

    head: dict[str, object]
    comparison: Comparison
    effects: Effects | None

    @property
    def is_same(self) -> bool:
        """Whether nothing of what was compared changes."""
        return self.comparison.is_same and (self.effects is None or self.effects.is_same)

    def as_json(self) -> dict[str, Any]:
        """Gives what changes as plain values."""
        return self.comparison.as_json() | ({} if self.effects is None else self.effects.as_json())


def _compared(config: Config, policy: Path, against: str | None, wish: _Wish, ask_models: bool, stack: ExitStack) -> _Told:
    from streams.inference import open_models
    from streams.pipeline import build_topology
    from streams.policy_file import load_policy
    from streams.registry import open_registry
    from streams.replay.comparison import Comparison
    from streams.replay.effects import Effects
    from streams.replay.side import Judged, Side, fates_of, without_models
    from streams.replay.unasked import UnaskedModels
    from streams.telemetry import Telemetry

    new = load_policy(policy).policy
    is_recorded = against == RECORDED
    old = load_policy(config.pipeline.policy if against is None or is_recorded else Path(against)).policy
    span = _file(config, wish.input) if wish.input is not None else _kafka(config, wish, is_recorded)
    asked: TextModels = UnaskedModels()
    if ask_models:
        client = stack.enter_context(open_models(config, new, Telemetry()))
        if client is None:
            raise ConfigError("--ask-models: the section models is absent from the configuration; add models.url")
        asked = client
    one_lane = config.model_copy(update={"pipeline": PipelineConfig.model_validate(config.pipeline.model_dump() | {"lanes": 1})})
    hash_key, registry = load_hash_key(config), open_registry(config)

    def side(under: Policy) -> Side:
        judging = under if ask_models else without_models(under)
        return Side(build_topology(one_lane, judging, hash_key, registry, models=asked), span.partitions, span.recorded)

    recorded = span.recorded if is_recorded else None
    judge_old = None if recorded is not None else side(old)

    def before(raw: pl.DataFrame) -> Judged:
        if judge_old is not None:
            return judge_old(raw)
        assert recorded is not None
        return Judged(fates_of(recorded.about(raw)), {})

    judge_new, comparison, effects = side(new), Comparison(), None if judge_old is None else Effects()
    for raw in _with_progress(span):
        was, becomes = before(raw), judge_new(raw)
        comparison.add(was.fates, becomes.fates)
        if effects is not None:
            effects.add(was.outputs, becomes.outputs)
    if effects is not None and judge_old is not None:
        effects.add(judge_old.finish(), judge_new.finish())
    versions = {} if span.recorded is None else span.recorded.versions
    left = "what the run published" if is_recorded else f"a run under policy {old.id} version {old.version}"
    compared = ["fates", "rules", "agents", "masks", *(() if effects is None else ("alerts", "commands", "windows"))]
    head: dict[str, object] = {
        "old": left,
        "new": f"a run under policy {new.id} version {new.version}",
        "recorded_versions": versions,
        "compared": compared,
    }
    return _Told(head, comparison, effects)


def _file(config: Config, path: Path) -> _Range:
    from schemas.topics import INPUTS
    from streams.engines.files import batches_of

    topics = config.kafka.inputs if config.kafka else tuple(INPUTS)
    return _Range(batches_of(path, topics), None, [(topic, 0) for topic in topics], None)


def _kafka(config: Config, wish: _Wish, with_fates: bool) -> _Range:
    from dataclasses import replace

    from streams.cluster import kafka_input
    from streams.registry import open_registry
    from streams.replay.history import History, enriched_frames
    from streams.replay.recorded import COLUMNS, FATE_COLUMNS, Recorded

    source = replace(kafka_input(config), group=f"{config.pipeline.name}-replay")
    since = millis_of("--from", wish.since or "")
    history = History.between(source, since, None if wish.until is None else millis_of("--to", wish.until))
    tell("reading what was recorded")
    columns = (*COLUMNS, *FATE_COLUMNS) if with_fates else COLUMNS
    recorded = Recorded(enriched_frames(source, open_registry(config), since, columns, _ROWS_MAX))
    return _Range(history.frames(_ROWS_MAX), history.records, sorted(history.begin), recorded)


def _with_progress(span: _Range) -> Iterator[pl.DataFrame]:
    done, told_at = 0, time.monotonic()
    for raw in span.frames:
        yield raw
        done += raw.height
        if time.monotonic() - told_at >= _PROGRESS_EVERY_S:
            told_at = time.monotonic()
            tell(f"{done:,} records" + ("" if span.records is None else f" of {span.records:,}"))


def _sums(comparison: Comparison) -> dict[str, object]:
    return {"records": comparison.records, "unknown": comparison.unknown, "changed": comparison.changed}


def _print(told: _Told, diff: bool) -> None:
    found = told.as_json()
    print(f"old: {told.head['old']}\nnew: {told.head['new']}")
    print(f"{found['records']} records, {found['changed']} with another fate")
    if found["unknown"]:
        print(f"{found['unknown']} of them have no recorded event (dead, left out, or not processed yet) and were not compared")
    if told.effects is None:
        print("alerts, commands to agents and values of windows were not compared: leave --against recorded out, or name the policy that judged")
    elif told.effects.windows_left:
        print(f"{told.effects.windows_left} windows that differ are not among those counted by agent; replay the range in parts")
    console = Console(highlight=False, soft_wrap=True)
    for part, title in _TABLES.items() if diff else ():
        rows = found.get(part)
        if not rows:
            continue
        table = Table(title=title, title_justify="left", show_edge=False)
        for name in rows[0]:
            table.add_column(name, justify="right" if isinstance(rows[0][name], int) else "left")
        for row in rows[:_SHOWN_MAX]:
            table.add_row(*(str(value) for value in row.values()))
        console.print(table)
        if len(rows) > _SHOWN_MAX:
            print(f"and {len(rows) - _SHOWN_MAX} more; --format json shows all")
