"""Where results go: the topic, the tables, the metrics, and the pipeline's page that stops it."""

from __future__ import annotations

import ipaddress
import json
import ssl
from collections.abc import Sequence
from typing import Final

import httpx
import polars as pl
import psycopg
from confluent_kafka import KafkaException, Producer
from prometheus_client import CollectorRegistry, Counter, Gauge
from psycopg import sql

from governance.contracts import OnBreach
from schemas.codec.avro import encode_avro
from schemas.errors import FatalError
from schemas.frames import frame_schema
from schemas.registry import SchemaRegistry
from schemas.topics import ID_HEADER, REPORTS
from sinks.errors import kafka_failure, postgres_failure
from streams.config import Config, HttpConfig, HttpTlsConfig, KafkaConfig, Role
from streams.contracts.judge import Result
from streams.embedded.ports import LOOPBACK
from streams.log import log

_TOPIC: Final = REPORTS["contract_results"]
_FLUSH_S: Final = 30.0
_CONNECT_S: Final = 5
_TIMES: Final = ("window_start", "window_end")


#: What Prometheus sees, with its labels.
METERS: Final = {
    "headrace_contract_records_total": ("topic",),
    "headrace_contract_breaches_total": ("topic", "field", "action"),
    "headrace_contract_broken": ("topic",),
}


class Meters:
    """Counts for Prometheus; a process that checks contracts has a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        checked, breaches, broken = METERS
        self.checked = Counter(checked, "Records of windows that were checked.", METERS[checked], registry=self.registry)
        self.breaches = Counter(breaches, "Expectations that did not hold.", METERS[breaches], registry=self.registry)
        self.broken = Gauge(broken, "Expectations that did not hold in the newest window.", METERS[broken], registry=self.registry)

    def saw(self, topic: str, records: int, results: Sequence[Result]) -> None:
        """Counts a window."""
        self.checked.labels(topic).inc(records)
        broken = [result for result in results if result.breach is not None]
        self.broken.labels(topic).set(len(broken))
        for result in broken:
            assert result.breach is not None
            self.breaches.labels(topic, result.record["field"], result.breach.value).inc()


class ResultTopic:
    """Publishes results; each has its id in the header, so that readers can leave out what came twice.

    Args:
        kafka: The cluster.
        registry: Where the schema's id is from.
    """

    def __init__(self, kafka: KafkaConfig, registry: SchemaRegistry) -> None:
        self._topic = kafka.topic_prefix + _TOPIC.name
        self._schema_id = registry.id_of(_TOPIC.schema)
        self._producer = Producer({**kafka.client_settings(), "acks": "all", "enable.idempotence": True, "compression.type": "lz4", "log_level": 3})

    def publish(self, results: Sequence[Result]) -> None:
        """Writes results and returns when the brokers have them; FatalError where they do not take them in time."""
        frame = pl.DataFrame([dict(result.record) for result in results], schema=frame_schema(_TOPIC.schema), orient="row")
        failed: list[KafkaException] = []
        for result, value in zip(results, encode_avro(frame, _TOPIC.schema, self._schema_id), strict=True):
            key = result.record["about"].encode()
            headers = [(ID_HEADER, result.record["result_uid"].encode())]
            self._producer.produce(
                self._topic, value, key, headers=headers, on_delivery=lambda error, _: failed.append(KafkaException(error)) if error else None
            )
        if self._producer.flush(_FLUSH_S) or failed:
            raise (
                kafka_failure(failed[0], self._topic)
                if failed
                else FatalError(f"{self._topic}: not acknowledged within {_FLUSH_S:g} s; is Kafka there?")
            )


class ResultTables:
    """Writes results and quarantined coordinates to PostgreSQL; the same ones again change nothing.

    Args:
        dsn: The database.
    """

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn

    def save(self, results: Sequence[Result]) -> None:
        """Writes all in one transaction.

        Raises:
            RetryableError: The database is away.
            FatalError: It refuses them.
        """
        columns = list(results[0].record) if results else []
        values = sql.SQL(", ").join(sql.SQL("to_timestamp(%s / 1000.0)") if name in _TIMES else sql.Placeholder() for name in columns)
        insert = sql.SQL("INSERT INTO contract_results ({}) VALUES ({}) ON CONFLICT DO NOTHING").format(
            sql.SQL(", ").join(map(sql.Identifier, columns)), values
        )
        listed = [
            (result.record["about"], place.partition, place.offset, result.record["result_uid"])
            for result in results
            if result.breach in (OnBreach.QUARANTINE, OnBreach.STOP)
            for place in result.places
        ]
        failure: Exception | None = None
        try:
            with psycopg.connect(self._dsn, connect_timeout=_CONNECT_S, application_name="headrace contracts") as connection:
                cursor = connection.cursor()
                cursor.executemany(insert, [list(result.record.values()) for result in results])
                cursor.executemany(
                    'INSERT INTO contract_quarantine (topic, "partition", "offset", result_uid) VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING',
                    listed,
                )
            return
        except psycopg.Error as error:
            failure = postgres_failure(error, "contracts")
        raise failure


def stop_pipeline(http: HttpConfig) -> None:
    """Asks the run that serves these pages for an orderly stop.

    Raises:
        FatalError: Nobody answers there, or it refuses: the pipeline goes on although the contract says stop.
    """
    token = None if http.access is None or Role.ADMIN not in http.access.tokens else http.access.tokens[Role.ADMIN].get_secret_value()
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    verify = True if http.tls is None else _only(http.tls)
    url = f"{'http' if http.tls is None else 'https'}://{_reached(http.host)}:{http.port}/stop"
    problem = ""
    try:
        answer = httpx.post(url, headers=headers, verify=verify, timeout=10.0)
        problem = "" if answer.status_code == httpx.codes.ACCEPTED else f"status {answer.status_code}"
    except httpx.HTTPError as error:
        problem = type(error).__name__
    if problem:
        raise FatalError(
            f"contracts: a contract was broken that policy stops for, and {url} did not take the stop ({problem}); stop the pipeline by hand"
        )
    log().error("contracts.stopped", url=url)


def _only(tls: HttpTlsConfig) -> ssl.SSLContext:
    """Trusts the certificate that the pages are configured with and no other; so whatever name it was reached by does not matter."""
    context = ssl.create_default_context(cafile=str(tls.chain))
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    context.check_hostname = False
    return context


def _reached(host: str) -> str:
    """Gives an address to go to: who listens on all of a machine's addresses answers on its loopback address."""
    try:
        return LOOPBACK if ipaddress.ip_address(host.strip("[]")).is_unspecified else host
    except ValueError:
        return host


def told(results: Sequence[Result]) -> None:
    """Logs each breach; never a value."""
    for result in results:
        if result.breach is not None:
            names = ("about", "window_start", "expectation", "field", "unexpected", "records", "size_ppm", "action")
            log().error("contracts.broken", **{name: result.record[name] for name in names})


def as_lines(results: Sequence[Result]) -> list[str]:
    """Gives results as JSON lines."""
    return [json.dumps(dict(result.record)) for result in results]


def tables_of(config: Config) -> ResultTables | None:
    """Gives the tables where a database is configured."""
    return None if config.timescale is None else ResultTables(config.timescale.dsn.get_secret_value())
