"""The stages as functions that PyFlink calls. This module is imported in Flink's environment only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from pyflink.common import Row, Types
from pyflink.datastream import KeyedProcessFunction, RuntimeContext
from pyflink.datastream.state import MapStateDescriptor, ValueStateDescriptor
from pyflink.table.udf import ScalarFunction

from streams.engines.flink.front_stage import FrontStage
from streams.engines.flink.intake_stage import IntakeStage
from streams.engines.flink.lane_stage import LaneStage, Message
from streams.engines.flink.parcels import lane_parcel
from streams.engines.flink.recipe import Recipe, worker_of
from streams.engines.flink.registry_bridge import RegistryBridge
from streams.telemetry import Telemetry

_BYTES: Final = Types.PRIMITIVE_ARRAY(Types.BYTE())
#: A lane's key and one of its parcels.
LANE_TYPE: Final = Types.ROW([Types.INT(), _BYTES])
MESSAGE_TYPE: Final = Types.ROW_NAMED(["key", "value", "topic", "headers"], [_BYTES, _BYTES, Types.STRING(), Types.MAP(Types.STRING(), _BYTES)])
#: Event time of the timer that fires at the end of a bounded input, and at no other time.
_END_MS: Final = 2**63 - 1
_LOOKS_A_SECOND: Final = 1


class Front(ScalarFunction):
    """Rows of records in columns -> the parcel in the first row, nulls in the others."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe

    def open(self, function_context: Any) -> None:
        telemetry = Telemetry()
        self._stage = FrontStage(worker_of(self._recipe), telemetry)
        self._bridge = RegistryBridge(telemetry, function_context.get_metric_group())

    def eval(self, topic: Any, partition: Any, offset: Any, time: Any, timestamp_type: Any, key: Any, value: Any, trace: Any) -> Any:
        import pandas as pd

        millis = time.dt.as_unit("ms").astype("int64").tolist()
        times = [None if kind == "NoTimestampType" else at for at, kind in zip(millis, timestamp_type, strict=True)]
        columns = [topic.tolist(), partition.tolist(), offset.tolist(), times, _bytes(key), _bytes(value), _bytes(trace)]
        parcel = self._stage(columns)
        self._bridge.push()
        return pd.Series([parcel, *[None] * (len(value) - 1)], dtype=object)


def _bytes(column: Any) -> list[bytes | None]:
    return [None if value is None else bytes(value) for value in column]


class IntakeFunction(KeyedProcessFunction):
    """Parcels of the front -> parcels for the lanes."""

    def __init__(self, recipe: Recipe, lane_keys: tuple[int, ...]) -> None:
        self._recipe = recipe
        self._lane_keys = lane_keys

    def open(self, runtime_context: RuntimeContext) -> None:
        self._kept = runtime_context.get_state(ValueStateDescriptor("intake", Types.PICKLED_BYTE_ARRAY()))
        self._telemetry = Telemetry()
        self._bridge = RegistryBridge(self._telemetry, runtime_context.get_metrics_group())
        self._worker = worker_of(self._recipe)
        self._stage: IntakeStage | None = None

    def process_element(self, value: Any, ctx: Any) -> Iterator[Any]:
        if self._stage is None:
            self._wake(ctx)
        stage = self._opened()
        yield from self._given(stage.take(bytes(value[0])))

    def on_timer(self, timestamp: int, ctx: Any) -> Iterator[Any]:
        self._wake(ctx)
        yield from self._given(self._opened().look())

    def _wake(self, ctx: Any) -> None:
        timers = ctx.timer_service()
        # On the whole second: a timer set twice is one.
        timers.register_processing_time_timer((timers.current_processing_time() // 1_000 + _LOOKS_A_SECOND) * 1_000)

    def _opened(self) -> IntakeStage:
        if self._stage is None:
            self._stage = IntakeStage(self._recipe, self._worker, self._telemetry, self._kept.value())
        return self._stage

    def _given(self, batches: Any) -> Iterator[Any]:
        assert self._stage is not None
        self._kept.update(self._stage.kept)
        self._bridge.push()
        for key, batch in zip(self._lane_keys, batches, strict=False):
            yield Row(key, lane_parcel(batch))


class LaneFunction(KeyedProcessFunction):
    """Parcels of the lanes -> messages. One instance may serve several lanes."""

    def __init__(self, recipe: Recipe, lane_keys: tuple[int, ...]) -> None:
        self._recipe = recipe
        self._lane_keys = lane_keys

    def open(self, runtime_context: RuntimeContext) -> None:
        self._kept = runtime_context.get_state(ValueStateDescriptor("lane", Types.PICKLED_BYTE_ARRAY()))
        self._buckets = runtime_context.get_map_state(MapStateDescriptor("buckets", Types.STRING(), Types.PICKLED_BYTE_ARRAY()))
        self._telemetry = Telemetry()
        self._bridge = RegistryBridge(self._telemetry, runtime_context.get_metrics_group())
        self._worker = worker_of(self._recipe)
        self._stages: dict[int, LaneStage] = {}

    def process_element(self, value: Any, ctx: Any) -> Iterator[Any]:
        key = value[0]
        if key not in self._stages:
            ctx.timer_service().register_event_time_timer(_END_MS)
        stage = self._stages.get(key) or self._opened(key)
        yield from map(_row, stage.take(bytes(value[1])))
        self._keep(stage)

    def on_timer(self, timestamp: int, ctx: Any) -> Iterator[Any]:
        key = ctx.get_current_key()
        stage = self._stages.get(key) or self._opened(key)
        yield from map(_row, stage.end())
        self._keep(stage)

    def _keep(self, stage: LaneStage) -> None:
        # Flink asks for the bytes when it takes a checkpoint or ends a bundle: what is touched often is encoded once.
        puts, removed = stage.changes()
        for name, bucket in puts.items():
            self._buckets.put(name, bucket)
        for name in removed:
            self._buckets.remove(name)
        self._kept.update(stage.kept)
        self._bridge.push()

    def _opened(self, key: int) -> LaneStage:
        number = self._lane_keys.index(key)
        entries = list(self._buckets.items())
        self._stages[key] = LaneStage(self._recipe, self._worker, self._telemetry, number, self._kept.value(), entries)
        return self._stages[key]


def _row(message: Message) -> Any:
    return Row(message.key, message.value, message.topic, dict(message.headers))
