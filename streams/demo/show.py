"""The demo from start to end: starts the parts, runs, drains, checks, stops."""

from __future__ import annotations

import itertools
import secrets
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psycopg
from rich.console import Console

from models.results import TextModels
from operators.contract import BatchStep
from schemas.errors import FatalError
from schemas.topics import INPUTS, OUTPUTS
from sinks.migrate import migrate
from sinks.vectors import Where
from streams.cli.engine import EngineThread, signals_stop
from streams.cli.search import table_of
from streams.config import Config, load_hash_key
from streams.demo.model_results import flagged, model_checks, read_events, stored
from streams.demo.models import ModelsChoice, model_server, models_wanted
from streams.demo.results import Check, checks, read_topic, slowest_agents, table_count, window_counts
from streams.demo.sender import Sender
from streams.demo.view import Moment, View, attacks_table
from streams.embedded.choose import KafkaKind, choose_kafka
from streams.embedded.postgres import PostgresServer
from streams.fleet import Fleet
from streams.front import front_processes
from streams.front_child import FrontRecipe
from streams.inference import open_models
from streams.pipeline import build_topology
from streams.policy_file import PolicyFile, load_policy
from streams.publish import Publisher
from streams.registry import open_registry
from streams.run import run_pipeline
from streams.stop import Stop
from streams.summary import RunSummary
from streams.telemetry import Telemetry, Totals
from streams.topic_setup import OUTPUT_SETTINGS
from streams.vectors import backend_of, require_qdrant, text_rule, vector_sink

_INPUT_PARTITIONS: Final = 2
_IDLE_MS: Final = 1_500
_LOOK_EVERY_S: Final = 0.25
_START_DEADLINE_S: Final = 60.0
_DRAIN_DEADLINE_S: Final = 120.0
_LEAVE_S: Final = 15.0
_RATE: Final = 500.0
#: What two cores keep up with beside Kafka and PostgreSQL.
_RATE_WITH_MODELS: Final = 20.0
_SHOWN: Final = 3
_QUESTION: Final = "the customer wants to send something back"


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What a person may choose.

    Attributes:
        seconds: How long the fleet sends; None until Ctrl-C.
        rate: Records a second; None for what fits: fewer with models, which take about 10 ms of CPU time a text.
        agents: Agents in the fleet.
        seed: Seed of the fleet.
        kafka: Which Kafka.
        models: Whether with models.
    """

    seconds: float | None
    rate: float | None
    agents: int
    seed: int
    kafka: KafkaKind
    models: ModelsChoice


def demo_config(bootstrap: str, dsn: str, recovery: Path, models: str | None = None) -> Config:
    """Gives the configuration of the demo: the defaults, on the embedded parts, with quick idle marks and a key of its own.

    Args:
        bootstrap: The Kafka.
        dsn: The PostgreSQL.
        recovery: Folder for the state; the vector store lies beside it.
        models: host:port of Triton; None for no models and no vectors.
    """
    inference = {} if models is None else {"models": {"url": models}, "qdrant": {"type": "edge", "path": recovery.with_name("vectors")}}
    return Config.model_validate(
        {
            **inference,
            "pipeline": {"name": "demo"},
            "kafka": {"bootstrap": bootstrap},
            "source": {"idle_ms": _IDLE_MS},
            "recovery": {"dir": recovery},
            "timescale": {"dsn": dsn},
            "privacy": {"hash_key": secrets.token_hex(32)},
        }
    )


def show_demo(options: DemoOptions, console: Console) -> list[Check]:
    """Runs the demo and gives its checked summary.

    Raises:
        ConfigError: A part cannot be started on this machine.
        FatalError: The pipeline stopped, or did not finish in time.
    """
    say = console.print

    def tell(line: str) -> None:
        say(line, soft_wrap=True, highlight=False, markup=False)

    with ExitStack() as stack:
        chosen = choose_kafka(wanted=options.kafka, tell=say)
        if chosen.warning is not None:
            say(f"warning: {chosen.warning}", soft_wrap=True, highlight=False)
        say(f"starting {'Kafka' if chosen.kind is KafkaKind.REAL else 'mock Kafka'} and PostgreSQL ...")
        kafka = stack.enter_context(chosen.kafka)
        postgres = stack.enter_context(PostgresServer(fsync=False))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="headrace-demo-")))
        triton = stack.enter_context(model_server(tell)) if models_wanted(options.models, tell) else None
        config = demo_config(kafka.bootstrap, postgres.dsn, folder / "recovery", triton)
        # By the embedded part itself: the mock knows no other way.
        kafka.create_topics(dict.fromkeys(INPUTS, _INPUT_PARTITIONS))
        kafka.create_topics(dict.fromkeys(OUTPUTS, config.require_kafka().output_partitions), OUTPUT_SETTINGS)
        migrate(postgres.dsn)
        if config.qdrant is not None:
            backend_of(config.qdrant).prepare(_START_DEADLINE_S)
        database = stack.enter_context(psycopg.connect(postgres.dsn, autocommit=True))
        say("starting the pipeline ...")
        policy, telemetry = load_policy(None), Telemetry()
        models = stack.enter_context(open_models(config, policy.policy, telemetry))
        recipe = FrontRecipe(config, policy.policy, load_hash_key(config))
        front = None if models is not None else stack.enter_context(front_processes(recipe, telemetry))
        stage = _Stage(config, options, console, database, policy, front, models, telemetry)
        stack.callback(stage.leave)
        return stage.play(real=chosen.kind is KafkaKind.REAL)


class _Stage:
    """The running demo: pipeline, fleet and view."""

    def __init__(
        self,
        config: Config,
        options: DemoOptions,
        console: Console,
        database: psycopg.Connection,
        policy: PolicyFile,
        front: tuple[BatchStep, ...] | None,
        models: TextModels | None,
        telemetry: Telemetry,
    ) -> None:
        self._config, self._options, self._console = config, options, console
        self._asked, self._database, self._policy = Stop(), database, policy.policy
        self._models, self._telemetry = models, telemetry
        self._engine_stop = Stop()
        registry = open_registry(config)
        topology = build_topology(config, policy.policy, load_hash_key(config), registry, front, models)
        vectors = vector_sink(config, policy.policy, None if models is None else models.embed)
        self._engine: EngineThread[RunSummary] = EngineThread(
            lambda: run_pipeline(topology, policy.policy.digest, policy.text, registry, config, telemetry, self._engine_stop, vectors=vectors)
        )

    def play(self, real: bool) -> list[Check]:
        """Waits for the pipeline, sends, drains and checks."""
        options, kafka = self._options, self._config.require_kafka()
        with ExitStack() as stack:
            view = stack.enter_context(View(self._console))
            if not self._await(_START_DEADLINE_S, lambda: self._telemetry.source_assigned, lambda: None):
                raise FatalError(f"the pipeline did not begin to read within {_START_DEADLINE_S:.0f} s; see the lines above")
            rate = options.rate or (_RATE if self._models is None else _RATE_WITH_MODELS)
            fleet = Fleet(options.seed, options.agents, rate, int(time.time() * 1_000))
            records = fleet.records()
            if options.seconds is not None:
                until_ms = options.seconds * 1_000
                records = itertools.takewhile(lambda record: record.due_ms < until_ms, records)
            sender = Sender(Publisher(kafka.client_settings()), records, self._config.pipeline.window_s * 1_000)
            stack.enter_context(signals_stop(self._asked))  # from here on Ctrl-C ends the demo in order; before, at once
            begin = time.monotonic()
            sender.start()

            def show(phase: str) -> None:
                sender.check()
                agents = slowest_agents(self._database, 8)
                view.show(Moment(phase, time.monotonic() - begin, options.seconds, sender.book.total, self._telemetry.snapshot(), agents))

            end = float("inf") if options.seconds is None else begin + options.seconds
            while not self._asked.requested and time.monotonic() < end:
                self._engine_lives()
                show("running")
                self._asked.wait(_LOOK_EVERY_S)
            sender.stop()
            # A drain that does not come to its end in time shows in the checks as what is missing.
            self._await(_DRAIN_DEADLINE_S, lambda: self._drained(sender), lambda: show("draining"))
            show("stopping")
            self._engine_stop.request()
            self._engine.result()
        enriched = read_topic(kafka.client_settings(), "enriched_events", kafka.output_partitions) if real else None
        totals = self._telemetry.snapshot()
        found = list(checks(sender.book, totals, window_counts(self._database), enriched, table_count(self._database, "dead")))
        return found + (self._of_models(totals, real) if self._models is not None else [])

    def _of_models(self, totals: Totals, real: bool) -> list[Check]:
        """Shows what the models did, and gives their numbers beside what they must be."""
        kafka, qdrant = self._config.require_kafka(), require_qdrant(self._config)
        assert self._models is not None
        events = read_events(kafka.client_settings(), kafka.output_partitions) if real else None
        store = backend_of(qdrant).open(_START_DEADLINE_S)
        try:
            if events is not None:
                self._console.print(attacks_table(flagged(events, _SHOWN)))
            vector = self._models.embed([_QUESTION], _START_DEADLINE_S)[0].tolist()
            self._console.print(f"steps near {_QUESTION!r}:", highlight=False)
            self._console.print(table_of(store.similar(vector, Where(), _SHOWN, _START_DEADLINE_S)))
            return list(model_checks(totals, stored(store, events, text_rule(qdrant, self._policy))))
        finally:
            store.close()

    def leave(self) -> None:
        """Lets the pipeline end before Kafka and PostgreSQL do, also where the demo was cut short."""
        self._engine_stop.request()
        self._engine.wait(_LEAVE_S)

    def _drained(self, sender: Sender) -> bool:
        """Whether all that was sent is done and every window was written; what is lost or made too much shows in the checks."""
        totals = self._telemetry.snapshot()
        done = sum(totals.by("events_total", outcome=outcome) for outcome in ("passed", "dead", "filtered"))
        if done < sender.book.total or totals.by("rows_in_flight"):
            return False
        return window_counts(self._database).total() >= sender.book.windows.total()

    def _await(self, deadline_s: float, done: Callable[[], bool], meanwhile: Callable[[], None]) -> bool:
        """Waits until it is done, and tells whether it was in time."""
        until = time.monotonic() + deadline_s
        while time.monotonic() < until:
            if done():
                return True
            self._engine_lives()
            meanwhile()
            self._engine.wait(_LOOK_EVERY_S)
        return False

    def _engine_lives(self) -> None:
        """Raises what ended the pipeline before it was told to stop."""
        if not self._engine.running:
            self._engine.result()
            raise FatalError("the pipeline ended before it was told to; please report it")
