"""Parts of the engine that are wrong in one way each: the proof that the simulation can fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import polars as pl

from operators.windows.watermark import row_watermarks
from sinks.kafka_position import KafkaPosition
from streams import intake
from streams.engines.bytewax import _LanePart
from tests.simulation.engine import Parts, SimWriter
from tests.simulation.pipeline import pipeline


class CommitsBeforeTheAck(SimWriter):
    """Hands in its position without waiting for what it was given: the epoch is committed while rows wait."""

    def flush(self) -> bytes:
        assert self._lane is not None
        return self._lane.position()


class WritesNoDeadLetters(_LanePart):
    """Loses every dead letter on its way to the sinks."""

    def _put(self, outputs: Any, rows: int, oldest: int | None) -> None:
        super()._put({topic: frame.head(0) if topic == "dead_letters" else frame for topic, frame in outputs.items()}, rows, oldest)


def without(kind: str, field: str) -> Callable[[Any], Any]:
    """Gives snapshots without one field of source lanes or lanes, as if it had never been written."""
    empty: dict[str, Any] = {"state": '{"number": 0, "steps": {}}', "watermarks": [], "entered": [], "balance": [], "marks": []}

    def resumed(snapshot: Any) -> Any:
        is_source = "offsets" in snapshot
        return {**snapshot, field: empty[field]} if is_source is (kind == "source") else snapshot

    return resumed


@contextmanager
def skip_list_forgotten() -> Iterator[None]:
    """What an earlier life wrote is read back, and not kept."""
    with patch.object(KafkaPosition, "wrote", lambda *_: None):
        yield


@contextmanager
def watermark_goes_back() -> Iterator[None]:
    """A batch's watermark is its own largest event time, whatever was before."""

    def alone(frame: pl.DataFrame, _before: Any, floors: Any) -> Any:
        return row_watermarks(frame, {}, floors)

    with patch.object(intake, "row_watermarks", alone):
        yield


def mutants() -> dict[str, Parts]:
    """Gives them by name."""
    real = pipeline()
    snapshots = (("lane", "state"), ("lane", "marks"), ("lane", "balance"), ("source", "watermarks"), ("source", "entered"))
    return {
        "commit before ack": Parts(real, writer=CommitsBeforeTheAck),
        "skip list forgotten": Parts(real, patched=skip_list_forgotten),
        "watermark goes back": Parts(real, patched=watermark_goes_back),
        "dead letters not written": Parts(real, lane=WritesNoDeadLetters),
        **{f"snapshot of a {kind} without {name}": Parts(real, resumed=without(kind, name)) for kind, name in snapshots},
    }
