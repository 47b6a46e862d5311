"""Rows of a person in PostgreSQL: found by the columns that name persons or events, and deleted.

Tables are found in the catalog, so that one that is added later is not forgotten: in each, ``user_id`` or ``person`` is the hash that stands for a
user id, and ``event_uid`` an event of whom ``guardrail_decisions`` names the person. What a quota of the person caused names the hash as the agent of
its alert and as the target of its command. Left alone are the audit log (append-only, its persons are HMACs under keys that are destroyed), the
proofs, the marks of destroyed keys and of tokens behind which nobody is left, and dead letters, which hold coordinates only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import psycopg
from psycopg import sql

from governance.erasure import Place
from sinks.person_keys import destroy_keys
from sinks.vault import forget

Connection = psycopg.Connection[Any]

_KEPT: Final = ("audit_records", "erasure_proofs", "person_keys", "tokens", "dead_letters")
_TABLES: Final = """
SELECT n.nspname, c.relname, a.attname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname IN (current_schema(), 'vault') AND c.relkind IN ('r', 'p')
  AND a.attnum > 0 AND NOT a.attisdropped AND a.attname IN ('user_id', 'person', 'event_uid', 'agent_id', 'target') AND c.relname <> ALL(%s)
ORDER BY a.attname = 'event_uid' DESC, n.nspname, c.relname
"""
#: Columns in which a person stands in the place of an agent.
_NAMED_AS: Final = ("agent_id", "target")
_EVENTS: Final = sql.SQL("SELECT event_uid FROM guardrail_decisions WHERE user_id = ANY(%s)")


def erase_rows(connection: Connection, persons: Sequence[str]) -> list[Place]:
    """Deletes the rows of persons and destroys their keys, in the caller's transaction; tells what was found before and after.

    Args:
        connection: Of who may delete.
        persons: All hashes of one person.
    """
    wanted = list(persons)
    places = []
    tables = connection.execute(_TABLES, (list(_KEPT),)).fetchall()
    by_person = {(schema, table) for schema, table, column in tables if column in ("user_id", "person")}
    for schema, table, column in tables:
        if column == "event_uid" and (schema, table) in by_person:
            continue
        place = _erased(connection, sql.Identifier(schema, table), column, wanted, table if schema != "vault" else f"vault.{table}")
        places.append(place if column not in _NAMED_AS else replace(place, name=f"{place.name}, by {column}"))
    destroyed = destroy_keys(connection, wanted)
    places.append(Place("table vault.tokens", forget(connection, wanted), 0, "deleted"))
    places.append(Place("vault keys of the person", destroyed, 0, "destroyed"))
    return places


def _erased(connection: Connection, table: sql.Identifier, column: str, persons: list[str], name: str) -> Place:
    matches = (
        sql.SQL("{} IN ({})").format(sql.Identifier(column), _EVENTS)
        if column == "event_uid"
        else sql.SQL("{} = ANY(%s)").format(sql.Identifier(column))
    )
    before = connection.execute(sql.SQL("DELETE FROM {} WHERE {}").format(table, matches), (persons,)).rowcount
    row = connection.execute(sql.SQL("SELECT count(*) FROM {} WHERE {}").format(table, matches), (persons,)).fetchone()
    assert row is not None
    return Place(f"table {name}", before, int(row[0]), "deleted")


def save_proof(connection: Connection, proof_uid: str, persons: Sequence[str], asked_by: str, proof: str, mark: bytes) -> None:
    """Keeps a proof."""
    connection.execute(
        "INSERT INTO erasure_proofs (proof_uid, person, erased_at, asked_by, proof, mark) VALUES (%s, %s, now(), %s, %s, %s) ON CONFLICT DO NOTHING",
        (proof_uid, persons[0], asked_by, proof, mark),
    )
