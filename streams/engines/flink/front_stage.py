"""The front on Flink: a batch of records as columns goes in, one parcel of masked events comes out. Stateless; nothing raw leaves it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import polars as pl

from schemas.errors import FatalError, HeadraceError, RetryableError
from schemas.events import RAW
from streams.engines.flink.parcels import FrontParcel
from streams.engines.flink.recipe import Worker
from streams.intake import through_front
from streams.log import log
from streams.patience import Patience
from streams.sources import trace_of
from streams.stop import Stop
from streams.telemetry import Telemetry

#: Columns of a batch, in the order in which the job hands them over.
COLUMNS: Final = ("topic", "partition", "offset", "kafka_time", "key", "value", "traceparent")


class FrontStage:
    """The front steps in one worker.

    Args:
        worker: What the stages of this process share.
        telemetry: Counts.
    """

    def __init__(self, worker: Worker, telemetry: Telemetry) -> None:
        self._worker = worker
        self._telemetry = telemetry
        kafka = worker.config.require_kafka()
        self._prefix_length = len(kafka.topic_prefix)
        retry = worker.config.sink.retry
        self._patience = Patience(retry.wait_first_ms / 1000, retry.wait_longest_ms / 1000)

    def __call__(self, columns: Sequence[Sequence[object]]) -> bytes:
        """Gives the parcel of a batch; waits for a schema registry that is away.

        Args:
            columns: One sequence for each of COLUMNS, all of one length; each partition's records in log order.

        Raises:
            FatalError: A step failed for good. Its text holds no value.
        """
        failure: HeadraceError
        try:
            raw = self._frame(columns)
            rows, dead = self._patience.persist(lambda: self._through(raw), Stop(), self._waits)
            return FrontParcel.of(rows, dead)
        except HeadraceError as error:
            failure = error
        except Exception as error:  # noqa: BLE001 - a foreign error's text may quote a raw value, and Flink prints it: only its class is told
            failure = FatalError(f"front: {type(error).__name__} in headrace itself; nothing of the batch went on. Please report it")
        raise failure  # outside of the handler, so that the foreign error does not travel along

    def _through(self, raw: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        with self._worker.front_lock:
            return through_front(self._worker.topology, raw, self._telemetry)

    def _frame(self, columns: Sequence[Sequence[object]]) -> pl.DataFrame:
        by_name = dict(zip(COLUMNS, columns, strict=True))
        by_name["traceparent"] = [trace_of(value) for value in by_name["traceparent"]]
        frame = pl.DataFrame({name: by_name[name] for name in RAW}, schema=RAW)
        return frame.with_columns(pl.col("topic").str.slice(self._prefix_length)) if self._prefix_length else frame

    def _waits(self, error: RetryableError) -> None:
        log().warning("source.waiting", problem=str(error))
