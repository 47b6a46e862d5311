"""What runs on Flink, without Flink: the stages hold the golden corpus whatever the batches are, and a stage made anew from what it keeps goes on."""

from __future__ import annotations

import pickle
import threading
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from governance.parse import parse_policy
from schemas.errors import ConfigError, FatalError
from schemas.events import RAW
from schemas.registry import FileRegistry
from schemas.topics import INPUTS, OUTPUTS
from streams.config import Config, KafkaConfig, PipelineConfig
from streams.engines.files import batches_of
from streams.engines.flink.front_stage import COLUMNS, FrontStage
from streams.engines.flink.intake_stage import IntakeStage
from streams.engines.flink.job import Order, sink_table, source_table
from streams.engines.flink.lane_stage import LaneStage, Message
from streams.engines.flink.parcels import lane_parcel
from streams.engines.flink.recipe import Recipe, Worker, settings_of
from streams.pipeline import build_topology
from streams.policy_file import load_policy
from streams.telemetry import Telemetry
from tests.fixtures.corpus import CASES, NAMES, difference
from tests.fixtures.deployment import HASH_KEY, decoded

PREFIX = "p."
LANES = 2


@cache
def worker(policy: Path | None, lanes: int = LANES) -> Worker:
    config = Config(pipeline=PipelineConfig(lanes=lanes), kafka=KafkaConfig(bootstrap="127.0.0.1:1", topic_prefix=PREFIX))
    chosen = load_policy(None).policy if policy is None else parse_policy(policy.read_text(encoding="utf-8"))
    return Worker(config, build_topology(config, chosen, HASH_KEY.encode(), FileRegistry()), FileRegistry(), threading.Lock())


def worker_of_case(case: str) -> Worker:
    policy = CASES / case / "policy.yaml"
    return worker(policy if policy.exists() else None)


def recipe(of: Worker) -> Recipe:
    return Recipe(settings_of(of.config), "", frozenset(), tuple(((topic, 0), 0) for topic in of.topology.inputs), "")


class Job:
    """The stages of a job; ``crash`` makes them anew from what Flink would have kept."""

    def __init__(self, of: Worker) -> None:
        self.worker = of
        self.recipe = recipe(of)
        self.messages: list[Message] = []
        self._buckets: list[dict[str, bytes]] = [{} for _ in range(LANES)]
        self._kept: list[Any] = [None] * (LANES + 1)
        self._make()

    def _make(self) -> None:
        self.front = FrontStage(self.worker, Telemetry())
        self.intake = IntakeStage(self.recipe, self.worker, Telemetry(), self._kept[LANES])
        self.lanes = [
            LaneStage(self.recipe, self.worker, Telemetry(), lane, self._kept[lane], [(n, pickle.loads(b)) for n, b in self._buckets[lane].items()])
            for lane in range(LANES)
        ]

    def crash(self) -> None:
        self._kept = [pickle.loads(pickle.dumps(kept)) for kept in (*(lane.kept for lane in self.lanes), self.intake.kept)]
        self._make()

    def take(self, columns: list[list[Any]]) -> None:
        self._give(self.intake.take(self.front(columns)))

    def end(self) -> None:
        for lane in self.lanes:
            self.messages += lane.end()

    def _give(self, batches: Any) -> None:
        for number, (lane, batch) in enumerate(zip(self.lanes, batches, strict=True)):
            self.messages += lane.take(lane_parcel(batch))
            puts, removed = lane.changes()
            self._buckets[number] |= {name: pickle.dumps(bucket) for name, bucket in puts.items()}
            for name in removed:
                del self._buckets[number][name]

    def topic(self, name: str) -> list[dict[str, Any]]:
        return [decoded(name, message.value) for message in self.messages if message.topic == PREFIX + name]


def columns_of(case: str, rows_max: int) -> list[list[list[Any]]]:
    found = []
    for frame in batches_of(CASES / case / "input.jsonl", tuple(INPUTS), rows_max):
        by_name = frame.to_dict(as_series=False)
        by_name["topic"] = [PREFIX + topic for topic in by_name["topic"]]
        found.append([by_name[name] for name in COLUMNS])
    return found


@pytest.mark.parametrize("rows_max", [1, 3, 2_048])
@pytest.mark.parametrize("case", NAMES)
def test_the_stages_hold_the_golden_corpus(case: str, rows_max: int) -> None:
    job = Job(worker_of_case(case))
    for columns in columns_of(case, rows_max):
        job.take(columns)
        if rows_max == 3:
            job.crash()
    job.end()
    assert (told := difference(job.topic, case)) == "", told


def test_messages_carry_their_id_and_chains_have_no_gap() -> None:
    job = Job(worker_of_case("verdicts"))
    for columns in columns_of("verdicts", 3):
        job.take(columns)
        job.crash()
    audit = [message for message in job.messages if message.topic == PREFIX + "audit_log"]
    assert audit
    assert all("headrace-id" in message.headers for message in job.messages)
    seqs = sorted(int(message.headers["headrace-chain"].split(b":")[0]) for message in audit)
    assert seqs[0] == 0
    assert sum(seq == 0 for seq in seqs) <= worker_of_case("verdicts").topology.shards


def test_an_error_in_the_front_quotes_no_value() -> None:
    job = Job(worker(None))
    columns: list[list[Any]] = [["p.agent_events"], [0], [0], [None], [None], [{"secret": "jane@example.com"}], [None]]
    with pytest.raises(FatalError) as caught:
        job.front(columns)
    assert "jane" not in str(caught.value)
    assert caught.value.__context__ is None


def test_a_job_of_another_shape_refuses_the_state() -> None:
    kept = Job(worker(None)).intake.kept
    other = worker(None, lanes=1)
    with pytest.raises(ConfigError, match=r"lanes 2.*lanes 1"):
        IntakeStage(recipe(other), other, Telemetry(), kept)


def test_the_recipe_holds_no_secret() -> None:
    config = Config.model_validate(
        {
            "kafka": {"bootstrap": "127.0.0.1:1", "security": {"sasl.password": "geheim-1"}},
            "privacy": {"hash_key": "geheim-2 geheim-2 geheim-2"},
            "registry": {"type": "confluent", "url": "http://127.0.0.1:1", "basic_auth": "u:geheim-3"},
        }
    )
    settings = settings_of(config)
    assert "geheim" not in repr(settings)
    assert dict(settings)["kafka.bootstrap"] == "127.0.0.1:1"


def test_the_tables_name_every_topic_and_quote_what_they_are_given() -> None:
    order = Order(
        recipe(worker(None)), "it's", ("p.a", "p.b"), ("p.c",), {"bootstrap.servers": "h:1"}, "earliest-offset", True, {}, 1, 60_000, "", None
    )
    assert "'topic' = 'p.a;p.b'" in source_table(order)
    assert "'scan.bounded.mode' = 'latest-offset'" in source_table(order)
    assert "'sink.transactional-id-prefix' = 'it''s-flink'" in sink_table(order)
    assert set(OUTPUTS)
    assert set(COLUMNS) == set(RAW)
