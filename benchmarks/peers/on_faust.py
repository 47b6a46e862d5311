"""The peer on Faust: an agent over a stream, one record at a time, Kafka to Kafka, at least once.

Faust's windowed tables expire by the wall clock, and a closing window cannot see its value; its plain tables stopped after the rebalance that a
second worker causes (0.15.3: recovery waited for events of empty changelog partitions). So open windows stand in plain memory and event time closes
them: less than the other peers do, to its advantage.
"""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

import faust

from benchmarks.peers.places import from_command_line
from benchmarks.peers.record_rules import GRACE_MS, WINDOW_MS, RecordRules, empty_window, fold, summary

_PARTITIONS = 4


def main() -> None:
    """Runs until it is told to stop."""
    places = from_command_line()
    rules = RecordRules(places.masker)
    places.state.mkdir(parents=True, exist_ok=True)
    app = faust.App(
        places.group,
        broker=f"kafka://{places.bootstrap}",
        store="memory://",
        datadir=str(places.state / f"state-{places.process}"),
        topic_partitions=_PARTITIONS,
        topic_disable_leader=True,
        web_enabled=False,
    )
    source = app.topic(places.source, value_type=bytes, value_serializer="raw", key_serializer="raw")
    events = app.topic(places.events, value_serializer="raw", key_serializer="raw")
    metrics = app.topic(places.metrics, value_serializer="raw", key_serializer="raw")
    open_windows: dict[str, dict[int, dict[str, Any]]] = defaultdict(dict)

    @app.agent(source)
    async def enrich(stream: Any) -> None:
        async for key, value in stream.items():
            event = rules(value)
            await events.send(key=key, value=json.dumps(event, ensure_ascii=False).encode())
            agent, start = event["agent_id"], event["timestamp"] // WINDOW_MS * WINDOW_MS
            windows = open_windows[agent]
            windows[start] = fold(windows.get(start) or empty_window(), event)
            for closed in [one for one in windows if one + WINDOW_MS + GRACE_MS <= event["timestamp"]]:
                await metrics.send(key=key, value=json.dumps(summary(agent, closed, windows.pop(closed))).encode())

    faust.Worker(app, loglevel="warning").execute_from_commandline()


if __name__ == "__main__":
    main()
