"""The job: a topology as a Flink program, built and watched in Flink's environment.

    KafkaSource -> front (columns of a batch -> one parcel)  --one key-->  intake  --by lane-->  lane  ->  KafkaSink

Run as ``python -m streams.engines.flink.job`` by ``streams.engines.flink.launch``, which sends an order on standard input and reads what becomes of
it from standard output, a JSON object a line.
"""

from __future__ import annotations

import json
import pickle
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from schemas.errors import ConfigError
from streams.engines.flink.recipe import Recipe, worker_of

#: Key groups of the state: how far a job can ever be spread. Never to be changed, or no savepoint can be read.
MAX_PARALLELISM: Final = 128
_SOURCE: Final = "headrace_input"
_SINK: Final = "headrace_output"


@dataclass(frozen=True, slots=True)
class Order:
    """What the command asks for.

    Attributes:
        recipe: What the workers are told.
        name: Name of the pipeline and the job.
        inputs: Input topics as the cluster calls them.
        outputs: Output topics as the cluster calls them.
        client: Settings of Kafka's Java client.
        start: ``earliest-offset``, ``latest-offset`` or a time in ms.
        until_end: Whether to stop at the end of what is there now.
        options: Flink's own configuration.
        parallelism: Slots.
        transaction_timeout_ms: Of the sink's transactions.
        savepoints: Where an orderly stop leaves its savepoint.
        cluster: URL of a JobManager; None runs the job in this process.
    """

    recipe: Recipe
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    client: Mapping[str, str]
    start: str
    until_end: bool
    options: Mapping[str, str]
    parallelism: int
    transaction_timeout_ms: int
    savepoints: str
    cluster: str | None


def quoted(options: Mapping[str, str]) -> str:
    """Gives options as SQL writes them."""
    return ", ".join(f"'{name}' = '{value.replace(chr(39), chr(39) * 2)}'" for name, value in options.items())


def source_table(order: Order) -> str:
    """Gives the SQL that makes the input: keys and values as bytes, coordinates and headers as columns."""
    start = {"scan.startup.mode": order.start} if not order.start.isdigit() else _from_time(order.start)
    options = {
        "connector": "kafka",
        "topic": ";".join(order.inputs),
        **{f"properties.{name}": value for name, value in order.client.items()},
        "properties.group.id": order.name,
        "properties.isolation.level": "read_committed",
        **start,
        **({"scan.bounded.mode": "latest-offset"} if order.until_end else {}),
        # The recipe holds every partition: a new one joins at a restart.
        "scan.topic-partition-discovery.interval": "0",
        "key.format": "raw",
        "key.fields": "key",
        "value.format": "raw",
        "value.fields-include": "EXCEPT_KEY",
    }
    return (
        f"CREATE TABLE {_SOURCE} (`key` BYTES, `value` BYTES, `topic` STRING METADATA VIRTUAL, `partition` INT METADATA VIRTUAL, "
        "`offset` BIGINT METADATA VIRTUAL, `headers` MAP<STRING, BYTES> METADATA VIRTUAL, `at` TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL, "
        f"`at_type` STRING METADATA FROM 'timestamp-type' VIRTUAL) WITH ({quoted(options)})"
    )


def _from_time(millis: str) -> dict[str, str]:
    return {"scan.startup.mode": "timestamp", "scan.startup.timestamp-millis": millis}


def sink_table(order: Order) -> str:
    """Gives the SQL that makes the output: every topic, in transactions that end with a checkpoint."""
    options = {
        "connector": "kafka",
        "topic": ";".join(order.outputs),
        **{f"properties.{name}": value for name, value in order.client.items()},
        "properties.compression.type": "lz4",
        "properties.linger.ms": "5",
        "properties.max.request.size": str(4 * 1024 * 1024),
        "properties.transaction.timeout.ms": str(order.transaction_timeout_ms),
        "sink.delivery-guarantee": "exactly-once",
        "sink.transactional-id-prefix": f"{order.name}-flink",
        "key.format": "raw",
        "key.fields": "key",
        "value.format": "raw",
        "value.fields-include": "EXCEPT_KEY",
    }
    return (
        f"CREATE TABLE {_SINK} (`key` BYTES, `value` BYTES, `topic` STRING METADATA, `headers` MAP<STRING, BYTES> METADATA) WITH ({quoted(options)})"
    )


def lane_keys(lanes: int, gateway: Any) -> tuple[int, ...]:
    """Gives a key for each lane such that Flink spreads the lanes evenly over its key groups, so that each slot gets its share of them."""
    row = gateway.jvm.org.apache.flink.types.Row
    assign = gateway.jvm.org.apache.flink.runtime.state.KeyGroupRangeAssignment.assignToKeyGroup
    wanted = [(2 * lane + 1) * MAX_PARALLELISM // (2 * lanes) for lane in range(lanes)]
    found: dict[int, int] = {}
    key = 0
    while not found.keys() >= set(wanted):
        one = row(1)
        one.setField(0, key)
        found.setdefault(assign(one, MAX_PARALLELISM), key)
        key += 1
    return tuple(found[group] for group in wanted)


def submit(order: Order) -> Any:
    """Gives the client of the job, which has been submitted."""
    from pyflink.common import Configuration, Types
    from pyflink.datastream import StreamExecutionEnvironment
    from pyflink.java_gateway import get_gateway
    from pyflink.table import DataTypes, StreamTableEnvironment
    from pyflink.table.udf import udf

    from streams.engines.flink.functions import LANE_TYPE, MESSAGE_TYPE, Front, IntakeFunction, LaneFunction

    configuration = Configuration()
    for name, value in order.options.items():
        configuration.set_string(name, value)
    environment = StreamExecutionEnvironment.get_execution_environment(configuration)
    environment.set_parallelism(order.parallelism)
    environment.set_max_parallelism(MAX_PARALLELISM)
    tables = StreamTableEnvironment.create(environment)
    tables.get_config().set_local_timezone("UTC")
    tables.execute_sql(source_table(order))
    tables.execute_sql(sink_table(order))
    tables.create_temporary_function("front", udf(Front(order.recipe), result_type=DataTypes.BYTES(), func_type="pandas"))
    columns = "`topic`, `partition`, `offset`, `at`, `at_type`, `key`, `value`, `headers`['traceparent']"
    parcels = tables.to_data_stream(
        tables.sql_query(f"SELECT parcel FROM (SELECT front({columns}) AS parcel FROM {_SOURCE}) WHERE parcel IS NOT NULL")
    )
    keys = lane_keys(_lanes(order.recipe), get_gateway())
    taken = parcels.key_by(lambda _parcel: 0, key_type=Types.INT()).process(IntakeFunction(order.recipe, keys), output_type=LANE_TYPE)
    messages = (
        taken.uid("intake")
        .name("intake")
        .key_by(lambda row: row[0], key_type=Types.INT())
        .process(LaneFunction(order.recipe, keys), output_type=MESSAGE_TYPE)
    )
    if order.cluster is None:
        tell("jvm", pid=str(get_gateway().jvm.java.lang.ProcessHandle.current().pid()))
    return tables.from_data_stream(messages.uid("lane").name("lane")).execute_insert(_SINK).get_job_client()


def _lanes(recipe: Recipe) -> int:
    return int(dict(recipe.settings)["pipeline.lanes"])


def cluster_options(url: str) -> dict[str, str]:
    """Gives where a JobManager's REST is."""
    parts = urlsplit(url)
    return {"execution.target": "remote", "rest.address": parts.hostname or "", "rest.port": str(parts.port or 8081)}


def tell(event: str, **more: str) -> None:
    """Tells the command what became of its order."""
    print(json.dumps({"event": event, **more}), file=_ANSWERS, flush=True)


def _stops(client: Any, order: Order) -> None:
    """Waits for the command to ask for an end, or to be gone, and ends the job with a savepoint."""
    from pyflink.datastream.checkpoint_storage import CheckpointStorage  # noqa: F401 - the gateway must be up before the thread calls it
    from pyflink.java_gateway import get_gateway

    sys.stdin.buffer.readline()
    native = get_gateway().jvm.org.apache.flink.core.execution.SavepointFormatType.NATIVE
    try:
        path = client._j_job_client.stopWithSavepoint(False, order.savepoints, native).get()
        tell("stopped", savepoint=str(path))
    except Exception as error:  # noqa: BLE001 - Java raises anything, mostly because the job has ended; it is told
        tell("stop_failed", problem=type(error).__name__)


def main() -> None:
    """Takes the order, submits the job, and tells what becomes of it."""
    length = int(sys.stdin.buffer.readline())
    order: Order = pickle.loads(sys.stdin.buffer.read(length))
    # What is wrong with the configuration is told before anything starts; workers that this process forks find the work done.
    try:
        worker_of(order.recipe)
    except ConfigError as error:
        tell("refused", problem="; ".join(error.problems))
        return
    client = submit(order)
    if order.cluster is not None:
        tell("sent", job=str(client.get_job_id()))
        return
    tell("running", job=str(client.get_job_id()))
    threading.Thread(target=_stops, args=(client, order), daemon=True).start()
    try:
        client.get_job_execution_result().result()
    except Exception as error:  # noqa: BLE001 - the text of a Java error is long, and may be a foreign one: its end is in the log
        print(error, file=sys.stderr)
        tell("failed")
        return
    tell("done")


_ANSWERS: Any = sys.stdout

if __name__ == "__main__":
    # Not as __main__: the order's classes must be those that the command knows.
    from streams.engines.flink import job

    job.main()
