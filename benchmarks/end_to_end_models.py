"""The main job end to end with models on: real Kafka, PostgreSQL and Triton on one machine, names tagged and texts scored as the default policy says.

The records are there before the run starts; ``headrace run --until-end`` takes them all. What bounds the rate is the encoder, so the table says how
many texts an event costs, and what share of the events was scored. ``python -m benchmarks.end_to_end_models [--quick]``.
"""

from __future__ import annotations

import argparse
import io
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import fastavro
from confluent_kafka import Consumer, TopicPartition

from benchmarks.end_to_end import CORPORA, fresh_name, preload, say
from benchmarks.result import ROOT, Row, Table, save
from benchmarks.stack import PARTITIONS, Deployment, Metrics, Servers, servers
from schemas import avro
from schemas.topics import OUTPUTS
from streams.embedded.triton import TritonServer

EVENTS: Final = 12_000
QUICK_EVENTS: Final = 6_000
REPOSITORY: Final = ROOT / ".headrace" / "models" / "cpu"
_DEADLINE_S: Final = 1_200.0
#: In front of each record: a zero byte and the id of its schema.
_FRAME_BYTES: Final = 5
_LOOK_EVERY_S: Final = 0.2


def measured(on: Servers, prefix: str, events: int, url: str) -> dict[str, float]:
    """Runs the pipeline over what is in the topics of the prefix; gives what one run measured, by column."""
    deployment = Deployment(on, prefix, fresh_name(), {"pipeline": {"lanes": 2, "workers": 1}, "models": {"url": url}})
    running = deployment.start("--until-end")
    last: Metrics = {}
    deadline = time.monotonic() + _DEADLINE_S
    while running.child.alive and time.monotonic() < deadline:
        last = running.metrics() or last
        time.sleep(_LOOK_EVERY_S)
    _, end = running.finish()
    first = running.event_time("run.started")  # the first batch is behind the model before a page shows that it was polled
    counts = running.summary()
    if counts["in"] != events:
        raise SystemExit(f"{events} events were sent, headrace says {counts}")
    if not last.get(("headrace_model_texts_total", "ok", "guard")):
        raise SystemExit("headrace counts no text that guard read: nothing was measured")
    values = {"events/s": events / (end - first)}
    for model in ("guard", "pii_tagger"):
        answered = {answer: last.get(("headrace_model_texts_total", answer, model), 0.0) for answer in ("ok", "cached")}
        values[f"{model}: texts read/s"] = answered["ok"] / (end - first)
        values[f"{model}: texts read/event"] = answered["ok"] / events
        values[f"{model}: texts from memory/event"] = answered["cached"] / events
    values |= _shares(on.kafka.bootstrap, f"{prefix}enriched_events")
    deployment.close()
    return values


def _shares(bootstrap: str, topic: str) -> dict[str, float]:
    """Gives which shares of the enriched events were scored, and did without a model; over all runs so far, which share the topic."""
    settings = {"bootstrap.servers": bootstrap, "group.id": "shares", "isolation.level": "read_committed", "enable.partition.eof": True}
    reader = Consumer({**settings, "auto.offset.reset": "earliest"})
    reader.assign([TopicPartition(topic, partition, 0) for partition in range(PARTITIONS)])
    schema = fastavro.parse_schema(json.loads(avro.text(OUTPUTS["enriched_events"].schema)))
    ended: set[int | None] = set()
    count = scored = degraded = 0
    while len(ended) < PARTITIONS:
        for message in reader.consume(2_000, timeout=0.2):
            if message.error():
                ended.add(message.partition())
                continue
            value = message.value()
            assert isinstance(value, bytes)
            event = fastavro.schemaless_reader(io.BytesIO(value[_FRAME_BYTES:]), schema, None)
            assert isinstance(event, dict)
            count, scored, degraded = count + 1, scored + (event["scored_by"] is not None), degraded + bool(event["degraded"])
    reader.close()
    return {"% of events scored": 100 * scored / count, "% of events degraded": 100 * degraded / count}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpora", nargs="*", default=CORPORA, choices=CORPORA)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--events", type=int, default=EVENTS)
    parser.add_argument("--repository", type=Path, default=REPOSITORY)
    parser.add_argument("--quick", action="store_true", help=f"one run over {QUICK_EVENTS} events of the first corpus")
    given = parser.parse_args(arguments)
    if given.quick:
        given.runs, given.events, given.corpora = 1, min(given.events, QUICK_EVENTS), given.corpora[:1]
    rows = []
    with servers() as on, TritonServer(given.repository, models=("guard", "pii_tagger")) as triton:
        for name in given.corpora:
            prefix = f"models-{name}."
            preload(on, prefix, name, given.events)
            runs = []
            for number in range(given.runs):
                runs.append(measured(on, prefix, given.events, triton.endpoint.url))
                say(f"{name}, run {number + 1}: {runs[-1]}")
            on.drop_topics(prefix)
            labels = {"corpus": name, "events": f"{given.events:,}"}
            rows.append(Row(labels, {column: [one[column] for one in runs] for column in runs[0]}))
    notes = (
        "2 lanes, 1 worker, INT8 models, default policy: every leaf is read for names, what users say and tools return is scored, 1 % of the rest.",
        "Each run begins with an empty cache of results. Texts read are those that the encoder saw; repeated ones are answered from memory.",
    )
    save(Table("end_to_end_models", "End to end with models on", rows, notes, given.quick))


if __name__ == "__main__":
    main()
