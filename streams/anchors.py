"""Anchors: heads of the audit chains, written to PostgreSQL from time to time beside the stream.

An anchor is what tells that the end of a log was cut off. Writing one never holds up the stream: while the database is away the next one waits.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final

import psycopg

from governance.audit_chain import Link
from sinks.audit_table import TABLE_CHAIN, save_anchors, table_head
from sinks.kafka_chain import chain_name
from streams.config import Config, load_hash_key
from streams.log import log

_CONNECT_S: Final = 5


class Anchors:
    """Writes the newest heads down.

    Args:
        dsn: The database.
        key: Key of the mark that each anchor carries.
        prefix: Stands before each topic's name on the cluster.
        interval_s: Time between two writes.
    """

    def __init__(self, dsn: str, key: bytes, prefix: str, interval_s: float) -> None:
        self._dsn = dsn
        self._key = key
        self._prefix = prefix
        self._interval_s = interval_s
        self._lock = threading.Lock()
        self._heads: dict[str, Link] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="anchors", daemon=True)

    def took(self, topic: str, partition: int, link: Link) -> None:
        """Takes in a committed head; called by the lanes."""
        with self._lock:
            self._heads[chain_name(self._prefix + topic, partition)] = link

    def start(self) -> None:
        """Begins to write."""
        self._thread.start()

    def close(self) -> None:
        """Writes once more and ends."""
        self._ended.set()
        self._thread.join(2 * _CONNECT_S)

    def _run(self) -> None:
        while not self._ended.wait(self._interval_s):
            self._write()
        self._write()

    def _write(self) -> None:
        with self._lock:
            heads = dict(self._heads)
        try:
            with psycopg.connect(self._dsn, connect_timeout=_CONNECT_S, application_name="headrace anchors") as connection:
                save_anchors(connection, {**heads, TABLE_CHAIN: table_head(connection)}, self._key, datetime.now(UTC))
        except psycopg.Error as error:  # the next one holds all that this one would have
            log().warning("anchors.away", problem=type(error).__name__)


@contextmanager
def anchored(config: Config) -> Iterator[Anchors | None]:
    """Within the body: anchors are written where a database is configured, else None."""
    if config.timescale is None:
        yield None
        return
    prefix = config.require_kafka().topic_prefix
    anchors = Anchors(config.timescale.dsn.get_secret_value(), load_hash_key(config), prefix, config.audit.anchor_interval_ms / 1000)
    anchors.start()
    try:
        yield anchors
    finally:
        anchors.close()
