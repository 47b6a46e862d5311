"""Runs cases through the pipeline that runs in production: the same topology on the file engine, with outputs kept in memory."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import polars as pl

from governance.policy import ModelsPolicy, Policy
from schemas.coordinates import record_uid
from schemas.errors import RetryableError
from schemas.events import RAW
from schemas.topics import OUTPUTS
from sinks.contract import OutputBatch, Receipt
from streams.cases.case import Case, CaseFile
from streams.cases.mocks import SayingModels
from streams.cases.outcome import outcome_of, records_of
from streams.cases.wanted import differences, shown
from streams.config import Config, PipelineConfig
from streams.engines.files import run_frames
from streams.facts import DecidingStep, LastFacts
from streams.pipeline import build_topology
from streams.telemetry import Telemetry
from streams.topology import Topology

#: Key of the hashes in cases, so that a masked id is the same everywhere.
CASE_KEY: Final = b"headrace test: the key of cases."


@dataclass(frozen=True, slots=True)
class Result:
    """How a case went.

    Attributes:
        case: The case.
        problems: What is not as wanted, a line each; nothing where it passed.
        seconds: How long it took.
    """

    case: Case
    problems: Sequence[str]
    seconds: float = 0.0


class CaseRunner:
    """Runs the cases of one policy; recognisers and rules are compiled once.

    Args:
        policy: The policy.
        config: Windows and limits; its Kafka, sinks and model server are not touched.
    """

    def __init__(self, policy: Policy, config: Config) -> None:
        self._policy = replace(policy, models=_at_once(policy.models))
        # One lane, so that the records of all events come in the order of the case.
        pipeline = PipelineConfig.model_validate(config.pipeline.model_dump() | {"lanes": 1})
        self._config = config.model_copy(update={"kafka": None, "pipeline": pipeline})
        self._models = SayingModels()
        self._topologies: dict[bool, Topology] = {}

    def problems(self, case: Case) -> list[str]:
        """Runs a case and gives what is not as wanted."""
        try:
            records, left_out = self._run(case)
        except RetryableError as error:
            return [str(error)]
        return [*_event_problems(case, records, left_out), *_output_problems(case, records)]

    def _run(self, case: Case) -> tuple[dict[str, list[dict[str, Any]]], Mapping[str, str]]:
        topology = self._topology(has_models=case.models is not None)
        if case.models is not None:
            self._models.says = case.models
        for step in topology.front:
            if isinstance(step, DecidingStep):
                step.keep_in(LastFacts(step.facts_spec))  # another case has other events at the same places
        sink, telemetry = _KeptOutputs(), _HeardTelemetry()
        partitions = [(topic, 0) for topic in topology.inputs]
        run_frames(topology, partitions, [_frame(case)], sink, telemetry, waits=False)
        return records_of(sink.frames), telemetry.left_out

    def _topology(self, has_models: bool) -> Topology:
        if has_models not in self._topologies:
            models = self._models if has_models else None
            self._topologies[has_models] = build_topology(self._config, self._policy, CASE_KEY, None, models=models)
        return self._topologies[has_models]


def _at_once(models: ModelsPolicy) -> ModelsPolicy:
    """Gives the section with outages that take effect without a wait: a case has no clock."""
    parts = {name: part for name in ("guard", "pii_tagger") if (part := getattr(models, name)) is not None}
    return replace(models, **{name: replace(part, outage=replace(part.outage, after_s=0)) for name, part in parts.items()})


def _places(case: Case) -> Iterator[tuple[str, int, int]]:
    offsets: dict[str, int] = defaultdict(int)
    for event in case.events:
        yield event.topic, 0, offsets[event.topic]
        offsets[event.topic] += 1


def _frame(case: Case) -> pl.DataFrame:
    rows = [(*place, None, None, event.value, None) for place, event in zip(_places(case), case.events, strict=True)]
    return pl.DataFrame(rows, schema=RAW, orient="row")


def _event_problems(case: Case, records: Mapping[str, Sequence[dict[str, Any]]], left_out: Mapping[str, str]) -> Iterator[str]:
    for number, (place, wanted) in enumerate(zip(_places(case), case.expected, strict=False), 1):
        came = outcome_of(place, records, left_out.get(record_uid(*place)))
        problems = list(differences(_sorted(wanted), _as_short(wanted, came)))
        yield from (f"event {number}: {problem}" for problem in problems)
        if problems and came["dead"] and "dead" not in wanted:
            yield f"event {number}: it became a dead letter, {came['dead']}"
        if problems and came["left_out"] and "left_out" not in wanted:
            yield f"event {number}: it was left out, {came['left_out']}"


def _sorted(wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Gives what is wanted with lists of plain words sorted: neither rules nor entities have an order that counts."""
    short = {key: value for key, value in wanted.items() if key in ("hits", "masked") and _are_words(value)}
    return dict(wanted) | {key: sorted(value) for key, value in short.items()}


def _as_short(wanted: Mapping[str, Any], came: dict[str, Any]) -> dict[str, Any]:
    """Gives what came with entities alone where the case names entities alone."""
    if not _are_words(wanted.get("masked")):
        return came
    return came | {"masked": sorted(one["entity"] for one in came.get("masked") or ())}


def _are_words(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _output_problems(case: Case, records: Mapping[str, Sequence[dict[str, Any]]]) -> Iterator[str]:
    for topic, wanted in case.outputs.items():
        came = list(records.get(topic, ()))
        if not wanted and came:
            yield f"outputs.{topic}: wanted none, came {len(came)}: {shown(came[0])}"
        for index, one in enumerate(wanted):
            match = next((record for record in came if not list(differences(one, record))), None)
            if match is not None:
                came.remove(match)  # each record is wanted once
                continue
            yield f"outputs.{topic}[{index}]: no record is as wanted"
            nearest = min(came, key=lambda record: len(list(differences(one, record))), default=None)
            yield from (f"  the nearest: {problem}" for problem in (() if nearest is None else differences(one, nearest)))


class _HeardTelemetry(Telemetry):
    """Keeps why each record was left out, by its id."""

    def __init__(self) -> None:
        super().__init__()
        self.left_out: dict[str, str] = {}

    def dead(self, frame: pl.DataFrame) -> None:
        """Counts, and keeps the reason of what was filtered."""
        super().dead(frame)
        filtered = frame.filter(pl.col("disposition") == "filtered")
        self.left_out |= {record_uid(*place): code for *place, code in filtered.select("topic", "partition", "offset", "code").iter_rows()}


class _KeptOutputs:
    """A sink that keeps all output frames, by topic."""

    name = "kept"
    topics = frozenset(OUTPUTS)
    rows_max = None

    def __init__(self) -> None:
        self.frames: dict[str, list[pl.DataFrame]] = defaultdict(list)

    def begin(self) -> bytes:
        """Gives the position of nothing."""
        return b""

    def open_lane(self, lane: int, lane_count: int, position: bytes) -> _KeptOutputs:
        """Gives itself: there is one lane."""
        return self

    def write(self, batch: OutputBatch, deadline_s: float) -> Receipt:
        """Keeps the frames."""
        for topic, frame in batch.items():
            self.frames[topic].append(frame)
        return Receipt({topic: frame.height for topic, frame in batch.items()}, dict.fromkeys(batch, 0))

    def position(self) -> bytes:
        """Gives the position of nothing."""
        return b""

    def close(self) -> None:
        """Does nothing."""


def run_cases(file: CaseFile, policy: Policy, config: Config, wanted: str = "") -> Iterator[Result]:
    """Runs the cases whose name holds a text, in the order of the file.

    Args:
        file: The cases.
        policy: The policy.
        config: Windows and limits.
        wanted: Part of a name; empty takes all.
    """
    runner = CaseRunner(policy, config)
    for case in file.cases:
        if wanted in case.name:
            yield Result(case, runner.problems(case))
