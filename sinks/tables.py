"""The PostgreSQL tables of the output topics, derived from each topic's schema.

Nothing here is chosen by hand: a topic's table is named after its schema (``metric_window`` -> ``metric_windows``), its columns are the
schema's fields, its primary key is the topic's id (and its time, where that is never null: TimescaleDB wants the partitioning column in
every unique key), and rows of one id are ordered by ``generation`` and the topic's revision. ``sinks/sql`` creates the same; a test holds the
two equal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import polars as pl
from psycopg import sql

from schemas.frames import fields, value_type
from schemas.topics import OUTPUTS, OutputTopic

#: Raised by a corrected replay or an erasure; wins over the revision.
GENERATION: Final = "generation"

_US: Final = pl.Datetime("us", "UTC")
_TYPES: Final[dict[str, tuple[str, pl.DataType]]] = {
    "string": ("text", pl.String()),
    "enum": ("text", pl.String()),
    "int": ("integer", pl.Int32()),
    "long": ("bigint", pl.Int64()),
    "double": ("double precision", pl.Float64()),
    "boolean": ("boolean", pl.Boolean()),
    "timestamp-millis": ("timestamp with time zone", _US),
    "array of string": ("text[]", pl.List(pl.String())),
    "array of long": ("bigint[]", pl.List(pl.Int64())),
    "array of record": ("jsonb", pl.String()),
}


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Attributes:
        name: Name of the schema's field.
        sql_type: Type as PostgreSQL's ``format_type`` gives it.
        dtype: What the frame's column is cast to before it is sent.
        nullable: Whether the schema allows null.
    """

    name: str
    sql_type: str
    dtype: pl.DataType
    nullable: bool


@dataclass(frozen=True, slots=True)
class Table:
    """One topic's table.

    Attributes:
        topic: Output topic that fills it.
        name: Its name, in the first schema of the search path.
        columns: In the order of the schema's fields.
        key: Primary key.
        version: Columns by which the highest row of a key wins; empty where rows of one key are equal.
    """

    topic: str
    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    version: tuple[str, ...]

    @property
    def stage(self) -> str:
        """Name of the temporary table that a lane copies into."""
        return f"headrace_stage_{self.name}"

    def create_stage(self) -> sql.Composed:
        """Statement that creates the staging table of this session; it is emptied at every commit."""
        return sql.SQL("CREATE TEMPORARY TABLE {} (LIKE {}) ON COMMIT DELETE ROWS").format(sql.Identifier(self.stage), sql.Identifier(self.name))

    def copy(self) -> sql.Composed:
        """Statement that fills the staging table."""
        return sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(sql.Identifier("pg_temp", self.stage), self._names())

    def upsert(self) -> sql.Composed:
        """Statement that moves staged rows into the table; its row count is the number of rows that changed it.

        Rows go in the order of the key, so that lanes which write the same rows wait for one another instead of deadlocking.
        """
        return sql.SQL(
            "INSERT INTO {table} AS kept ({names}) SELECT DISTINCT ON ({key}) {names} FROM {stage} ORDER BY {order} ON CONFLICT ({key}) {action}"
        ).format(
            table=sql.Identifier(self.name),
            names=self._names(),
            key=_joined(self.key),
            stage=sql.Identifier("pg_temp", self.stage),
            order=sql.SQL(", ").join([*map(sql.Identifier, self.key), *(sql.SQL("{} DESC").format(sql.Identifier(name)) for name in self.version)]),
            action=self._action(),
        )

    def _names(self) -> sql.Composed:
        return _joined(tuple(column.name for column in self.columns))

    def _action(self) -> sql.Composable:
        if not self.version:
            return sql.SQL("DO NOTHING")
        changed = (column.name for column in self.columns if column.name not in self.key)
        return sql.SQL("DO UPDATE SET {changes} WHERE ({new}) > ({old})").format(
            changes=sql.SQL(", ").join(sql.SQL("{0} = excluded.{0}").format(sql.Identifier(name)) for name in changed),
            new=sql.SQL(", ").join(sql.Identifier("excluded", name) for name in self.version),
            old=sql.SQL(", ").join(sql.Identifier("kept", name) for name in self.version),
        )


def table_of(topic: OutputTopic, declared: Iterable[Mapping[str, Any]]) -> Table:
    """Gives the table of a topic whose Avro schema declares these fields."""
    columns = tuple(_column(field) for field in declared)
    nullable = {column.name for column in columns if column.nullable}
    key = tuple(name for name in topic.id_columns if name != topic.revision_column)
    if topic.time_column not in nullable:
        key = (*key, topic.time_column)
    version = (GENERATION, topic.revision_column) if topic.revision_column else ()
    return Table(topic.name, f"{topic.schema}s", columns, key, version)


def _column(field: Mapping[str, Any]) -> Column:
    kind, nullable = value_type(field["type"])
    sql_type, dtype = _TYPES[_type_name(kind)]
    return Column(field["name"], sql_type, dtype, nullable)


def _type_name(kind: str | Mapping[str, Any]) -> str:
    if isinstance(kind, str):
        return kind
    if kind["type"] == "array":
        return f"array of {_type_name(kind['items'])}"
    return str(kind.get("logicalType", kind["type"]))


def _joined(names: tuple[str, ...]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, names))


#: Topics that go to PostgreSQL. Events themselves do not: they stay in Kafka.
STORED: Final = ("agent_metrics", "guardrail_decisions", "alerts", "agent_control", "reviews", "audit_log", "dead_letters")


def stored_tables() -> dict[str, Table]:
    """Gives the table of every stored topic, in the order in which a transaction writes them."""
    return {name: table_of(OUTPUTS[name], fields(OUTPUTS[name].schema)) for name in sorted(STORED)}
