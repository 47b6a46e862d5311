"""The peer on Bytewax: plain operators, one record an item, Kafka to Kafka, recovery on."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import bytewax.operators as op
from bytewax.connectors.kafka import KafkaSink, KafkaSinkMessage, KafkaSource
from bytewax.dataflow import Dataflow
from bytewax.operators import windowing
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.testing import cluster_main

from benchmarks.peers.places import Places, from_command_line
from benchmarks.peers.record_rules import GRACE_MS, WINDOW_MS, RecordRules, empty_window, fold, summary

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def event_time(event: dict[str, Any]) -> datetime:
    """Gives when an event happened."""
    return _EPOCH + timedelta(milliseconds=event["timestamp"])


def message(key: str, value: dict[str, Any]) -> KafkaSinkMessage[bytes | None, bytes | None]:
    """Gives what is produced."""
    return KafkaSinkMessage(key.encode(), json.dumps(value, ensure_ascii=False).encode())


def dataflow(places: Places) -> Dataflow:
    """Gives the whole job."""
    rules = RecordRules(places.masker)
    flow = Dataflow("peer")
    records = op.input("records", flow, KafkaSource([places.bootstrap], [places.source]))
    events = op.map("enrich", records, lambda record: rules(record.value))
    op.output("events", op.map("event", events, lambda event: message(event["agent_id"], event)), KafkaSink([places.bootstrap], places.events))
    # Elapsed system time is kept out of the watermark: with it, events of a replay that is slower than they were made are dropped as late.
    clock = windowing.EventClock(event_time, timedelta(milliseconds=GRACE_MS), now_getter=lambda: _EPOCH, to_system_utc=lambda _time: None)
    windower = windowing.TumblingWindower(length=timedelta(milliseconds=WINDOW_MS), align_to=_EPOCH)
    keyed = op.key_on("agent", events, lambda event: event["agent_id"])
    windows = windowing.fold_window("windows", keyed, clock, windower, empty_window, fold, lambda one, _other: one).down
    metrics = op.map("metric", windows, lambda item: message(item[0], summary(item[0], item[1][0] * WINDOW_MS, item[1][1])))
    op.output("metrics", metrics, KafkaSink([places.bootstrap], places.metrics))
    return flow


def main() -> None:
    """Runs this process of the cluster until it is told to stop."""
    places = from_command_line()
    recovery = places.state / f"recovery-{places.process}"
    recovery.mkdir(parents=True, exist_ok=True)
    init_db_dir(recovery, 1)
    cluster_main(
        dataflow(places),
        list(places.addresses),
        places.process,
        epoch_interval=timedelta(seconds=10),
        recovery_config=RecoveryConfig(str(recovery)),
    )


if __name__ == "__main__":
    main()
