"""Retention applied: what policy keeps no longer is found in tables, topics, collections and files, and removed.

Planning only counts. Age is event time; in topics it is the broker's, by ``retention.ms``. The audit log is touched only where policy names it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg import sql

from governance.data_classes import DataClass
from governance.retention import Keep, Kind, Retention
from schemas.coordinates import audit_uid
from schemas.frames import fields
from schemas.topics import OUTPUTS, REPORTS, OutputTopic
from sinks.audit_table import append
from sinks.errors import postgres_failure
from sinks.person_records import topic_rules
from sinks.tables import stored_tables, table_of
from sinks.topic_retention import set_retention
from sinks.vectors import Where
from streams.client_log import with_log
from streams.config import Config
from streams.vectors import backend_of

_DEADLINE_S: Final = 60.0
_DAY_MS: Final = 86_400_000
_TOPICS: Final = {**OUTPUTS, **REPORTS}
#: Whole from the first entry that stays: a chain may begin late, it must not have gaps.
_SHORTEN_CHAIN: Final = """
WITH gone AS (
    DELETE FROM audit_links WHERE seq < (SELECT coalesce(min(seq) FILTER (WHERE event_time >= %s), max(seq) + 1) FROM audit_links) RETURNING audit_uid
)
DELETE FROM audit_records WHERE audit_uid IN (SELECT audit_uid FROM gone)
"""


@dataclass(frozen=True, slots=True)
class Due:
    """One place with what retention asks of it.

    Attributes:
        kind: What it is.
        name: Its name.
        keep: How long and for which purpose.
        count: Rows, points or lines that are too old; None for a topic, where the broker counts.
        words: What is to be done, or was done.
        changes: Whether there is anything to do.
    """

    kind: Kind
    name: str
    keep: Keep
    count: int | None
    words: str
    changes: bool


def retain(config: Config, retention: Retention, at: datetime, files: Path | None, *, apply: bool, by: str) -> Iterator[Due]:
    """Gives every place that policy speaks of, with what is to be done; with ``apply`` it is done.

    Args:
        config: Where the places are.
        retention: How long they are kept.
        at: Ages count from here.
        files: Directory of JSONL output; None for none.
        apply: Whether to remove anything.
        by: Who asked, for the audit log.

    Raises:
        RetryableError: A place is away.
        FatalError: A place refuses.
    """
    if config.timescale is not None:
        yield from _database(config.timescale.dsn.get_secret_value(), retention, at, apply=apply, by=by)
    if config.kafka is not None:
        yield from _topics(config, retention, apply=apply)
    if config.qdrant is not None:
        yield from _collection(config, retention, at, apply=apply)
    if files is not None:
        yield from _files(files, retention, at, apply=apply)


def strictest(schema: str) -> DataClass:
    """Gives the strictest data class among the fields of a schema."""
    order = list(DataClass)
    return max((DataClass(field["data_class"]) for field in fields(schema)), key=order.index)


def _keep_of(retention: Retention, kind: Kind, name: str, topic: OutputTopic) -> Keep | None:
    return retention.of(kind, name, None if topic.chained else strictest(topic.schema))


def _database(dsn: str, retention: Retention, at: datetime, *, apply: bool, by: str) -> list[Due]:
    failure = None
    try:
        with psycopg.connect(dsn, connect_timeout=10, application_name="headrace retention") as connection:
            tables = {**stored_tables(), **{name: table_of(topic, fields(topic.schema)) for name, topic in REPORTS.items()}}
            found = [due for topic, table in tables.items() if (due := _table(connection, retention, _TOPICS[topic], table.name, at, apply=apply))]
            if apply and any(due.changes for due in found):
                _written_down(connection, found, at, by)
            return found
    except psycopg.Error as error:
        failure = postgres_failure(error, "retention")
    raise failure


def _table(connection: psycopg.Connection[Any], retention: Retention, topic: OutputTopic, name: str, at: datetime, *, apply: bool) -> Due | None:
    keep = _keep_of(retention, Kind.TABLE, name, topic)
    if keep is None:
        return None
    before = at - timedelta(days=keep.days)
    table, column = sql.Identifier(name), sql.Identifier(topic.time_column)
    row = connection.execute(sql.SQL("SELECT count(*) FROM {} WHERE {} < %s").format(table, column), (before,)).fetchone()
    count = 0 if row is None else int(row[0])
    if apply and count:
        if topic.chained:
            connection.execute("SET LOCAL headrace.audit_retention = 'on'")
            gone = connection.execute(_SHORTEN_CHAIN, (before,)).rowcount
        else:
            gone = connection.execute(sql.SQL("DELETE FROM {} WHERE {} < %s").format(table, column), (before,)).rowcount
        return Due(Kind.TABLE, name, keep, gone, f"{gone} rows older than {before:%Y-%m-%d %H:%M} deleted", changes=True)
    return Due(Kind.TABLE, name, keep, count, f"{count} rows older than {before:%Y-%m-%d %H:%M} to delete", changes=count > 0)


def _written_down(connection: psycopg.Connection[Any], found: list[Due], at: datetime, by: str) -> None:
    at_ms = int(at.timestamp() * 1_000)
    detail = json.dumps({due.name: due.count for due in found if due.changes}, sort_keys=True)
    entry = {"what": "retention", "service": f"retention by {by}", "agent_id": "headrace", "result": "done", "detail": detail}
    append(connection, {**entry, "audit_uid": audit_uid("retention", str(at_ms), detail), "event_time": at_ms})


def _topics(config: Config, retention: Retention, *, apply: bool) -> Iterator[Due]:
    kafka = config.require_kafka()
    client, prefix = with_log(kafka.client_settings()), kafka.topic_prefix
    wanted = {name: keep for name, topic in OUTPUTS.items() if (keep := _keep_of(retention, Kind.TOPIC, name, topic)) is not None}
    wanted |= {name: keep for name in kafka.inputs if (keep := retention.of(Kind.TOPIC, name, None)) is not None}
    rules = topic_rules(client, [prefix + name for name in wanted])
    for name, keep in wanted.items():
        rule = rules.get(prefix + name)
        if rule is None:
            continue
        wanted_ms = keep.days * _DAY_MS
        differs = rule.retention_ms != wanted_ms and not rule.is_compacted
        now = "for ever" if rule.retention_ms is None else f"{rule.retention_ms} ms"
        if differs and apply:
            set_retention(client, prefix + name, wanted_ms)
        words = f"retention.ms {now}" + (f" {'set to' if apply else 'to become'} {wanted_ms}" if differs else " stays")
        yield Due(Kind.TOPIC, prefix + name, keep, None, words, changes=differs)


def _collection(config: Config, retention: Retention, at: datetime, *, apply: bool) -> Iterator[Due]:
    assert config.qdrant is not None
    keep = retention.of(Kind.COLLECTION, config.qdrant.collection, strictest("enriched_event"))
    if keep is None:
        return
    before = Where(to_ms=int((at - timedelta(days=keep.days)).timestamp() * 1_000))
    store = backend_of(config.qdrant).open(_DEADLINE_S)
    try:
        count = store.count(_DEADLINE_S, before)
        if apply and count:
            store.remove(before, _DEADLINE_S)
            store.flush()
    finally:
        store.close()
    yield Due(Kind.COLLECTION, config.qdrant.collection, keep, count, f"{count} points {'deleted' if apply else 'to delete'}", changes=count > 0)


def _files(folder: Path, retention: Retention, at: datetime, *, apply: bool) -> Iterator[Due]:
    for name, topic in OUTPUTS.items():
        path = folder / f"{name}.jsonl"
        keep = _keep_of(retention, Kind.FILE, name, topic)
        if keep is None or not path.exists():
            continue
        before = int((at - timedelta(days=keep.days)).timestamp() * 1_000)
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if (json.loads(line).get(topic.time_column) or before) >= before]
        count = len(lines) - len(kept)
        if apply and count:
            new = path.with_suffix(".part")
            new.write_text("".join(kept), encoding="utf-8")
            new.replace(path)
        yield Due(Kind.FILE, path.name, keep, count, f"{count} lines {'deleted' if apply else 'to delete'}", changes=count > 0)
