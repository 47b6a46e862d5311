"""One window after another: judged, told, published, stored, acted on, in this order; a window counts as done when all of it is out."""

from __future__ import annotations

from prometheus_client import start_http_server

from governance.contracts import OnBreach
from schemas.registry import SchemaRegistry
from streams.config import Config
from streams.contracts.judge import Judge
from streams.contracts.report import Meters, ResultTopic, stop_pipeline, tables_of, told
from streams.contracts.window import Window


class Follower:
    """Takes windows and sees their results to where they go.

    Args:
        config: Cluster, database and pages.
        judge: Gives results.
        registry: For the schema of results.
        metrics_port: Port of 127.0.0.1 that Prometheus reads; None serves none.

    Attributes:
        records: Records checked.
        broken: Breaches found.
    """

    def __init__(self, config: Config, judge: Judge, registry: SchemaRegistry, metrics_port: int | None) -> None:
        self._config, self._judge = config, judge
        self._topic, self._tables = ResultTopic(config.require_kafka(), registry), tables_of(config)
        self._meters = Meters()
        self._is_stopped = False
        self.records = self.broken = 0
        if metrics_port is not None:
            start_http_server(metrics_port, "127.0.0.1", self._meters.registry)

    def judge(self, window: Window) -> None:
        """Judges a window.

        Raises:
            FatalError: Results could not be delivered, or the pipeline could not be stopped.
        """
        results = self._judge.results(window)
        self._meters.saw(window.topic, len(window.rows), results)
        told(results)
        self._topic.publish(results)
        if self._tables is not None:
            self._tables.save(results)
        self.records += len(window.rows)
        self.broken += sum(result.breach is not None for result in results)
        if self._config.http is not None and not self._is_stopped and any(result.breach is OnBreach.STOP for result in results):
            stop_pipeline(self._config.http)
            self._is_stopped = True
