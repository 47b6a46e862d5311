"""Lineage of a run as OpenLineage events: which topics it reads, which topics and tables it writes, and which column comes from which.

START when the run begins, RUNNING from time to time, COMPLETE or FAIL at its end. Events leave on a thread of their own: a catalogue that is away
costs lineage events, never a record.
"""

from __future__ import annotations

import queue
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any, Final

from openlineage.client import OpenLineageClient
from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState
from openlineage.client.facet_v2 import column_lineage_dataset, error_message_run, job_type_job, schema_dataset
from psycopg import conninfo

from schemas.errors import HeadraceError
from schemas.events import CONTENT
from schemas.frames import fields, value_type
from schemas.topics import INPUTS, OUTPUTS
from sinks.tables import stored_tables
from streams.config import Config, LineageConfig
from streams.log import log

PRODUCER: Final = "https://headrace.invalid/producer"
_FIELDS_HASHED: Final = ("user_id",)
_CLOSE_S: Final = 5.0
_QUEUED_MAX: Final = 1_000


def datasets(config: Config) -> tuple[list[InputDataset], list[OutputDataset]]:
    """Gives what a run of this configuration reads and writes, with schemas, data classes and the lineage of columns."""
    kafka = config.require_kafka()
    cluster = f"kafka://{kafka.bootstrap.split(',')[0]}"
    named = [(kafka.topic_prefix + name, INPUTS[name].schema) for name in kafka.inputs]
    inputs = [InputDataset(namespace=cluster, name=name, facets={"schema": _schema(schema)}) for name, schema in named]
    outputs = []
    for name, topic in OUTPUTS.items():
        facets: dict[str, Any] = {"schema": _schema(topic.schema)}
        if name == "enriched_events":
            facets["columnLineage"] = _columns(topic.schema, cluster, named)
        outputs.append(OutputDataset(namespace=cluster, name=kafka.topic_prefix + name, facets=facets))
    if config.timescale is not None:
        place, database = _database(config.timescale.dsn.get_secret_value())
        for topic_name, table in stored_tables().items():
            facets = {"schema": _schema(OUTPUTS[topic_name].schema)}
            outputs.append(OutputDataset(namespace=place, name=f"{database}.public.{table.name}", facets=facets))
    return inputs, outputs


def _schema(schema: str) -> schema_dataset.SchemaDatasetFacet:
    described = [
        schema_dataset.SchemaDatasetFacetFields(
            name=field["name"], type=_type(field["type"]), description=f"{field['doc']} Data class: {field['data_class']}.", ordinal_position=number
        )
        for number, field in enumerate(fields(schema), 1)
    ]
    return schema_dataset.SchemaDatasetFacet(fields=described)


def _type(declared: Any) -> str:
    kind, _ = value_type(declared)
    return kind if isinstance(kind, str) else str(kind.get("logicalType", kind["type"]))


def _columns(schema: str, cluster: str, inputs: Sequence[tuple[str, str]]) -> column_lineage_dataset.ColumnLineageDatasetFacet:
    """Gives the columns that keep their name from an input: as they were, or masked where they hold content or a person."""
    found = {}
    for field in fields(schema):
        name = field["name"]
        origins = [
            column_lineage_dataset.InputField(namespace=cluster, name=topic, field=name)
            for topic, of_input in inputs
            if any(one["name"] == name for one in fields(of_input))
        ]
        if origins:
            kind = "MASKED" if name in CONTENT or name in _FIELDS_HASHED else "IDENTITY"
            found[name] = column_lineage_dataset.Fields(inputFields=origins, transformationType=kind)
    return column_lineage_dataset.ColumnLineageDatasetFacet(fields=found)


def _database(dsn: str) -> tuple[str, str]:
    parts = conninfo.conninfo_to_dict(dsn)
    return f"postgres://{parts.get('host', 'localhost')}:{parts.get('port', 5432)}", str(parts.get("dbname", "postgres"))


class Lineage:
    """Tells a catalogue of one run.

    Args:
        client: Sends events.
        namespace: Namespace of the job.
        job: Name of the job: the pipeline's.
        config: What the run reads and writes.
    """

    def __init__(self, client: OpenLineageClient, namespace: str, job: str, config: Config) -> None:
        self._client = client
        self._job = Job(
            namespace=namespace,
            name=job,
            facets={"jobType": job_type_job.JobTypeJobFacet(processingType="STREAMING", integration="HEADRACE", jobType="PIPELINE")},
        )
        self._run_id = str(uuid.uuid4())
        self._inputs, self._outputs = datasets(config)
        self._queue: queue.Queue[RunEvent | None] = queue.Queue(_QUEUED_MAX)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._send, name="lineage", daemon=True)
        self._thread.start()

    def tell(self, state: RunState, problem: str | None = None) -> None:
        """Queues an event; an event that finds no room is dropped."""
        facets: dict[str, Any] = {}
        if problem is not None:
            facets["errorMessage"] = error_message_run.ErrorMessageRunFacet(message=problem, programmingLanguage="Python")
        event = RunEvent(
            eventTime=datetime.now(UTC).isoformat(),
            producer=PRODUCER,
            run=Run(runId=self._run_id, facets=facets),
            job=self._job,
            eventType=state,
            inputs=self._inputs,
            outputs=self._outputs,
        )
        try:
            self._queue.put_nowait(event)
        except queue.Full:
            log().warning("lineage.dropped", state=state.value)

    def close(self) -> None:
        """Sends what is queued, but does not wait long for a catalogue that is away."""
        with suppress(queue.Full):
            self._queue.put_nowait(None)
            self._thread.join(_CLOSE_S)
        if self._thread.is_alive():
            log().warning("lineage.unsent", events=self._queue.qsize())
        # Whoever closes may take the log away: an event still on its way fails in silence.
        self._closed.set()

    def _send(self) -> None:
        while (event := self._queue.get()) is not None:
            try:
                self._client.emit(event)
            except Exception as error:  # noqa: BLE001 - transports raise whatever their libraries raise
                if not self._closed.is_set():
                    log().warning("lineage.away", state=str(event.eventType), problem=type(error).__name__)


def transport_of(lineage: LineageConfig) -> dict[str, Any]:
    """Gives the transport as the OpenLineage client takes it. Holds the key."""
    if lineage.type == "file":
        return {"type": "file", "log_file_path": str(lineage.path), "append": True}
    if lineage.type == "http":
        auth = {} if lineage.api_key is None else {"auth": {"type": "api_key", "apiKey": lineage.api_key.get_secret_value()}}
        return {"type": "http", "url": lineage.url, **auth}
    if lineage.type == "kafka":
        return {"type": "kafka", "topic": lineage.topic, "config": {"bootstrap.servers": lineage.bootstrap}, "flush": True}
    return {"type": "console"}


@contextmanager
def told(config: Config) -> Iterator[None]:
    """Around a run: tells the catalogue that the configuration names of its beginning, its going on and its end."""
    assert config.lineage is not None, "the caller has looked"
    client = OpenLineageClient(config={"transport": transport_of(config.lineage)})
    lineage = Lineage(client, config.lineage.namespace, config.pipeline.name, config)
    ended = threading.Event()

    interval_s = config.lineage.running_interval_ms / 1000

    def goes_on() -> None:
        while not ended.wait(interval_s):
            lineage.tell(RunState.RUNNING)

    pulse = threading.Thread(target=goes_on, name="lineage-pulse", daemon=True)
    lineage.tell(RunState.START)
    pulse.start()
    try:
        yield
    except BaseException as error:
        ended.set()
        # The text of an error that is not ours may quote a value.
        lineage.tell(RunState.FAIL, str(error) if isinstance(error, HeadraceError) else type(error).__name__)
        raise
    else:
        ended.set()
        lineage.tell(RunState.COMPLETE)
    finally:
        lineage.close()
