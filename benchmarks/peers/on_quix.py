"""The peer on Quix Streams: one record at a time, Kafka to Kafka, at least once, state in RocksDB with changelog topics."""

from __future__ import annotations

from typing import Any

from quixstreams import Application

from benchmarks.peers.places import from_command_line
from benchmarks.peers.record_rules import GRACE_MS, WINDOW_MS, RecordRules, empty_window, fold, summary


def main() -> None:
    """Runs until it is told to stop."""
    places = from_command_line()
    rules = RecordRules(places.masker)
    app = Application(
        places.bootstrap,
        consumer_group=places.group,
        auto_offset_reset="earliest",
        state_dir=places.state / f"state-{places.process}",
        loglevel="WARNING",
    )
    source = app.topic(places.source, value_deserializer="bytes", key_deserializer="str")
    enriched = app.dataframe(source).apply(rules)
    enriched.to_topic(app.topic(places.events, key_serializer="str"))

    def first(event: dict[str, Any]) -> dict[str, Any]:
        return fold(empty_window(), event)

    def metric(window: dict[str, Any], key: str, _timestamp: int, _headers: Any) -> dict[str, Any]:
        return summary(key, window["start"], window["value"])

    windows = enriched.tumbling_window(WINDOW_MS, grace_ms=GRACE_MS).reduce(fold, first).final()
    windows.apply(metric, metadata=True).to_topic(app.topic(places.metrics, key_serializer="str"))
    app.run()


if __name__ == "__main__":
    main()
