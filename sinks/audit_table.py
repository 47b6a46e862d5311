"""The audit log in PostgreSQL: entries from outside the pipeline, the links of the table's chain, and the anchors of all chains.

The database links every row that is inserted (``sinks/sql/006_audit.sql``), so whoever writes only inserts.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import psycopg

from governance.audit_chain import Entry, Link, Stated
from schemas.frames import fields

TABLE_CHAIN: Final = "table"
_COLUMNS: Final = tuple(field["name"] for field in fields("audit_record"))
_NAMES: Final = ", ".join(f'"{name}"' for name in _COLUMNS)
_APPEND: Final = f"INSERT INTO audit_records ({_NAMES}) VALUES ({', '.join(f'%({name})s' for name in _COLUMNS)}) ON CONFLICT DO NOTHING"
_WALK: Final = f"""
SELECT l.seq, l.before, l.hash, {", ".join(f'r."{name}"' for name in _COLUMNS)}
FROM audit_links l FULL JOIN audit_records r USING (audit_uid, event_time) ORDER BY l.seq NULLS LAST
"""
_ANCHOR: Final = "INSERT INTO audit_anchors (chain, seq, hash, anchored_at, mark) VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING"
_FETCH_ROWS: Final = 2_000

Connection = psycopg.Connection[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Anchor:
    """A head as it stood at a time.

    Attributes:
        chain: ``table``, or the topic with its prefix, ``/`` and the partition.
        link: The head.
        is_genuine: Whether it carries the mark of who holds the key.
    """

    chain: str
    link: Link
    is_genuine: bool


def append(connection: Connection, entry: Mapping[str, Any]) -> None:
    """Adds one entry: for what people do on the command line. Fields of ``audit_record.avsc``; those that are absent become null.

    Commits with the caller's transaction, so that an act and its entry are there together or not at all.
    """
    unknown = set(entry) - set(_COLUMNS)
    assert not unknown, f"no fields of an audit entry: {sorted(unknown)}"
    connection.execute(_APPEND.encode(), {name: _stored(name, entry.get(name)) for name in _COLUMNS})


def entries(connection: Connection) -> Iterator[Entry]:
    """Gives the entries of the table in the order of its chain, those without a link last."""
    with connection.cursor(name="audit_walk") as cursor:
        cursor.itersize = _FETCH_ROWS
        cursor.execute(_WALK.encode())
        for seq, before, own, *values in cursor:
            stated = None if seq is None else Stated(Link(seq, bytes(own)), bytes(before))
            yield Entry(f"audit_records, link {'none' if seq is None else seq}", stated, [_part(value) for value in values])


def table_head(connection: Connection) -> Link:
    """Gives the last link that the database knows."""
    row = connection.execute("SELECT seq, hash FROM audit_heads WHERE chain = %s", (TABLE_CHAIN,)).fetchone()
    assert row is not None, "the migration makes the row"
    return Link(row[0], bytes(row[1]))


def save_anchors(connection: Connection, heads: Mapping[str, Link], key: bytes, at: datetime) -> None:
    """Writes heads down, each with the mark of the key."""
    rows = [(chain, link.seq, link.hash, at, _mark(key, chain, link)) for chain, link in sorted(heads.items()) if link.seq >= 0]
    with connection.cursor() as cursor:
        cursor.executemany(_ANCHOR, rows)


def anchors(connection: Connection, key: bytes) -> list[Anchor]:
    """Gives all anchors, each with whether its mark is of this key."""
    rows: Sequence[tuple[Any, ...]] = connection.execute("SELECT chain, seq, hash, mark FROM audit_anchors ORDER BY chain, seq").fetchall()
    found = [(chain, Link(seq, bytes(own)), bytes(mark)) for chain, seq, own, mark in rows]
    return [Anchor(chain, link, hmac.compare_digest(mark, _mark(key, chain, link))) for chain, link, mark in found]


def _mark(key: bytes, chain: str, link: Link) -> bytes:
    return hmac.new(key, f"headrace audit anchor {chain} {link.seq} {link.hash.hex()}".encode(), hashlib.sha256).digest()


def _stored(name: str, value: Any) -> Any:
    """Gives what the database takes: times of entries are milliseconds since 1970."""
    return datetime.fromtimestamp(value / 1000, UTC) if name == "event_time" else value


def _part(value: Any) -> bytes | None:
    """Gives a column as the database hashes it."""
    if value is None:
        return None
    if isinstance(value, datetime):
        return str(round(value.timestamp() * 1000)).encode()
    if isinstance(value, list):
        return ",".join(value).encode()
    return str(value).encode()


def parts_of(entry: Mapping[str, Any]) -> Iterable[bytes | None]:
    """Gives what the hash of the table's chain covers, of an entry with its time in milliseconds."""
    return [_part(entry.get(name)) for name in _COLUMNS]
