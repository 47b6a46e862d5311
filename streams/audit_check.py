"""Checks the audit log: walks the chain of each partition of the topic and of the table, and compares them with the anchors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg

from governance.audit_chain import Entry, Finding, Flaw, Link, Walk
from operators.audit import TOPIC
from sinks.audit_table import TABLE_CHAIN, Anchor, Connection, anchors, entries
from sinks.errors import postgres_failure
from sinks.kafka_chain import chain_name
from sinks.kafka_walk import ChainedTopic


@dataclass(frozen=True, slots=True)
class ChainReport:
    """What a walk along one chain found.

    Attributes:
        name: ``table``, or topic, ``/`` and partition.
        entries: Entries that are there.
        head: The last link; seq -1 where the chain is empty.
        anchors: Genuine anchors that it was compared with.
        findings: What is wrong; empty where the chain holds.
    """

    name: str
    entries: int
    head: Link
    anchors: int
    findings: Sequence[Finding]


def walk(name: str, chain: str, found: Iterable[Entry], anchored: Sequence[Anchor], *, may_begin_late: bool = False) -> ChainReport:
    """Walks one chain.

    Args:
        name: What the chain is called in the report and among the anchors.
        chain: What its first entry follows.
        found: Its entries in their order.
        anchored: Anchors of all chains.
        may_begin_late: Whether retention is allowed to have removed its beginning.
    """
    ours = [anchor for anchor in anchored if anchor.chain == name]
    genuine = [anchor.link for anchor in ours if anchor.is_genuine]
    step = Walk(chain)
    step.watch(link.seq for link in genuine)
    findings = [finding for entry in found for finding in step.take(entry)]
    findings += step.compare(genuine)
    findings += [
        Finding(Flaw.FORGED_ANCHOR, name, f"the anchor of entry {a.link.seq} does not carry the key's mark") for a in ours if not a.is_genuine
    ]
    if may_begin_late:
        findings = [finding for finding in findings if finding.flaw is not Flaw.CUT_OFF]
    return ChainReport(name, step.entries, step.head, len(genuine), findings)


def check_topic(client: Mapping[str, Any], prefix: str, anchored: Sequence[Anchor], *, may_begin_late: bool = False) -> list[ChainReport]:
    """Walks every partition of the topic ``audit_log``."""
    topic = ChainedTopic(client, prefix + TOPIC)
    return [
        walk(chain_name(topic.name, partition), chain_name(TOPIC, partition), topic.entries(partition), anchored, may_begin_late=may_begin_late)
        for partition in topic.partitions()
    ]


def check_table(connection: Connection, anchored: Sequence[Anchor], *, may_begin_late: bool = False) -> ChainReport:
    """Walks the table."""
    return walk(TABLE_CHAIN, TABLE_CHAIN, entries(connection), anchored, may_begin_late=may_begin_late)


@contextmanager
def audit_database(dsn: str) -> Iterator[Connection]:
    """Within the body: a connection.

    Raises:
        RetryableError: The database is away.
        FatalError: It refuses the login or has no audit tables.
    """
    failure = None
    try:
        with psycopg.connect(dsn, connect_timeout=10, application_name="headrace audit") as connection:
            yield connection
    except psycopg.Error as error:
        failure = postgres_failure(error, "audit")
    if failure is not None:
        raise failure


def anchors_of(connection: Connection, key: bytes) -> list[Anchor]:
    """Gives the anchors of all chains."""
    return anchors(connection, key)
