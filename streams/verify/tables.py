"""Tables in PostgreSQL against the topics that fill them: every row, every column."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from schemas.errors import HeadraceError
from schemas.topics import OUTPUTS
from sinks.errors import postgres_failure
from sinks.tables import Table, stored_tables
from streams.verify.findings import Findings, Kind
from streams.verify.plain.event import Place
from streams.verify.published import Published, Row, in_ms

_ROWS: Final = 5_000
#: What rows of the tables hold and records of the topics do not, or the other way round; texts that are left off while topics are read.
_LEFT_OFF: Final = frozenset({"held"})


@dataclass(frozen=True, slots=True)
class Reach:
    """Which rows are compared, by the time of their topic; None leaves it open.

    Attributes:
        erased: Hashes of erased persons: their rows may be gone on purpose.
        erased_events: Ids of their events: rows about them may be gone too.
        is_settled: Tells whether a record of a topic was made of input that every sink has taken; others may be there or not.
    """

    from_ms: int | None = None
    to_ms: int | None = None
    erased: frozenset[str] = frozenset()
    erased_events: frozenset[str] = frozenset()
    is_settled: Callable[[str, Mapping[str, Any]], bool] = lambda _topic, _values: True


def check_tables(dsn: str, published: Published, reach: Reach, findings: Findings) -> dict[str, int]:
    """Compares every stored topic with its table; gives how many rows of each were compared."""
    told = {}
    with _connected(dsn) as connection:
        for topic, table in stored_tables().items():
            wanted = _wanted(topic, published, reach)
            told[f"rows of {table.name}"] = len(wanted)
            _compare(connection, table, wanted, reach, findings)
    return told


def _wanted(topic: str, published: Published, reach: Reach) -> dict[str, Row]:
    """Gives the row that a table must hold of each id."""
    output, wanted = OUTPUTS[topic], dict[str, Row]()
    for row in published.rows[topic].values():
        values = row.values
        if not _holds(values.get(output.time_column), reach):
            continue
        key = str(values[output.id_columns[0]])
        before = wanted.get(key)
        if before is None or (output.revision_column is not None and _version(values) > _version(before.values)):
            wanted[key] = row
    return wanted


def _holds(at: int | None, reach: Reach) -> bool:
    return at is None or ((reach.from_ms is None or at >= reach.from_ms) and (reach.to_ms is None or at < reach.to_ms))


def _is_erased(values: Mapping[str, Any], reach: Reach) -> bool:
    return values.get("user_id") in reach.erased or values.get("event_uid") in reach.erased_events


def _version(values: Mapping[str, Any]) -> tuple[int, int]:
    return values.get("generation", 0), values.get("revision", 0)


def _compare(connection: psycopg.Connection[dict[str, Any]], table: Table, wanted: dict[str, Row], reach: Reach, findings: Findings) -> None:
    output, what = OUTPUTS[table.topic], f"table {table.name}"
    columns = [column.name for column in table.columns if column.name not in _LEFT_OFF]
    missing = dict(wanted)
    with connection.cursor(name="headrace_verify") as cursor:
        cursor.itersize = _ROWS
        cursor.execute(sql.SQL("SELECT {} FROM {}").format(sql.SQL(", ").join(map(sql.Identifier, columns)), sql.Identifier(table.name)))
        for found in cursor:
            values = {name: in_ms(value) for name, value in found.items()}
            key = str(values[output.id_columns[0]])
            row = missing.pop(key, None)
            if row is None:
                if _holds(values.get(output.time_column), reach) and reach.is_settled(table.topic, values):
                    kind, words = (Kind.DUPLICATED, "is there twice") if key in wanted else (Kind.UNEXPECTED, f"is not on {table.topic}")
                    findings.add(kind, what, f"the row of id {key} {words}", *named_place(values))
                continue
            wrong = [name for name in columns if values[name] != row.values.get(name)]
            if wrong and reach.is_settled(table.topic, row.values):
                findings.add(Kind.DIFFERENT, what, f"the row of id {key}: columns differ: {', '.join(wrong)}", row.place)
    for key, row in missing.items():
        if not reach.is_settled(table.topic, row.values) or _is_erased(row.values, reach):
            continue
        findings.add(Kind.LOST, what, f"the row of id {key} is not there", row.place)


def named_place(values: Mapping[str, Any]) -> list[Place]:
    """Gives the input record that a row names, where it names one."""
    topic, partition, offset = (values.get(name) for name in ("topic", "partition", "offset"))
    return [] if topic is None or partition is None or offset is None else [(topic, partition, offset)]


@contextmanager
def _connected(dsn: str) -> Iterator[psycopg.Connection[dict[str, Any]]]:
    failure: HeadraceError | None = None
    try:
        with psycopg.connect(dsn, connect_timeout=10, application_name="headrace verify", row_factory=dict_row) as connection:
            connection.read_only = True
            yield connection
    except psycopg.Error as error:
        failure = postgres_failure(error, "verify")
    if failure is not None:
        raise failure
