"""``headrace run``: the pipeline on Kafka, or over one file."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from governance.policy import Policy
from models.results import TextModels
from schemas.errors import ConfigError, FatalError
from streams.cli.engine import EngineThread, hangup_asks, signals_stop
from streams.cli.say import KAFKA_HELP, ConfigOption, tell
from streams.config import Config, config_file, load_config, load_hash_key
from streams.log import configure_logging, log
from streams.policy_file import load_policy
from streams.stop import Stop
from streams.summary import RunSummary
from streams.telemetry import Telemetry


class Engine(StrEnum):
    """What runs the pipeline."""

    BYTEWAX = "bytewax"
    FLINK = "flink"


def run(
    config: ConfigOption = None,
    input: Annotated[Path | None, typer.Option("--input", help="JSONL file of events: run over it without Kafka; needs --output.")] = None,
    output: Annotated[Path | None, typer.Option("--output", help="Directory for <topic>.jsonl; needs --input.")] = None,
    kafka: Annotated[str | None, typer.Option("--kafka", help=KAFKA_HELP)] = None,
    until_end: Annotated[bool, typer.Option("--until-end", help="Stop when all that is in the input topics now is done.")] = False,
    engine: Annotated[Engine, typer.Option("--engine", help="What runs the pipeline on Kafka.")] = Engine.BYTEWAX,
    cluster: Annotated[str | None, typer.Option("--cluster", help="URL of a Flink JobManager; absent: Flink on this machine.")] = None,
    resume: Annotated[str | None, typer.Option("--resume", help="Flink savepoint or checkpoint to go on from; absent: the newest here.")] = None,
) -> None:
    """Run the pipeline: on Kafka until told to stop, or over one file with --input and --output. Prints what became of the records."""
    if (input is None) != (output is None):
        raise ConfigError("run: --input FILE.jsonl and --output DIR go together; give both, or neither to run on Kafka")
    if engine is Engine.BYTEWAX and (cluster or resume):
        raise ConfigError("run: --cluster and --resume are for --engine flink; leave them out, or add it")
    if engine is Engine.FLINK and input is not None:
        raise ConfigError("run: --engine flink runs on Kafka; leave out --input and --output, or --engine")
    configure_logging()
    found = load_config(config, overrides={} if kafka is None else {"kafka.bootstrap": kafka})
    if engine is Engine.FLINK:
        on_flink(found, config, until_end, cluster, resume)
        return
    summary = over_file(found, input, output) if input is not None and output is not None else on_kafka(found, until_end)
    print("\n".join(lines_of(summary)))


def over_file(config: Config, input: Path, output: Path) -> RunSummary:
    """Runs the pipeline over a file; every record must be accounted for.

    Raises:
        FatalError: Records in are not records enriched, dead and left out.
    """
    from sinks.files import FilesSink
    from streams.engines.files import run_files
    from streams.inference import open_models
    from streams.pipeline import build_topology
    from streams.registry import open_registry
    from streams.vault import check_vault

    policy, telemetry, sink = load_policy(config.pipeline.policy), Telemetry(), FilesSink(output)
    check_vault(config, policy.policy, to_files=True)
    with open_models(config, policy.policy, telemetry) as models:
        topology = build_topology(config, policy.policy, load_hash_key(config), open_registry(config), models=models)
        summary = run_files(topology, input, sink, telemetry)
    sink.publish()
    enriched = summary.outputs.get("enriched_events", 0)
    if enriched != summary.passed:
        raise FatalError(f"{summary.passed} records passed and {enriched} were enriched; records were lost or made, please report it")
    return summary


def on_kafka(config: Config, until_end: bool, models: TextModels | None = None) -> RunSummary:
    """Runs the pipeline on Kafka, with health pages where they are configured.

    Args:
        config: The configuration.
        until_end: Stop when all that is in the input topics now is done.
        models: Asked in place of the server that the configuration names.
    """
    from streams.erased import erased_persons, erasure_log
    from streams.front import front_processes
    from streams.front_child import FrontRecipe
    from streams.health import HealthServer
    from streams.inference import models_problems, open_models
    from streams.live_erasure import ErasureWatch, LiveErasure, persons_marked
    from streams.pipeline import POLICY_STEPS, build_topology
    from streams.policy_watch import PolicyWatch
    from streams.recovery import ERASURE_MARKS
    from streams.registry import open_registry
    from streams.run import run_pipeline
    from streams.vault import vault_problems, vault_sink
    from streams.versions import Built, PolicyVersions

    config.require_kafka()
    policy, registry = load_policy(config.pipeline.policy), open_registry(config)
    hash_key, vault = load_hash_key(config), vault_sink(config, policy.policy)
    telemetry, stop = Telemetry(), Stop(config.pipeline.stop_grace_ms / 1000)
    with ExitStack() as stack:
        asked = models or stack.enter_context(open_models(config, policy.policy, telemetry))
        stack.enter_context(signals_stop(stop))
        if config.http is not None:
            pages = stack.enter_context(HealthServer(config.http, telemetry, config, stop.request))
            scheme = "http" if config.http.tls is None else "https"
            tell(f"pages on {scheme}://{config.http.host}:{pages.port}/ready and /metrics")
        # Of whom an earlier life recorded where their events end, that decides; the others' are left out from the first row on.
        everybody = erased_persons(config, stop)
        erased = everybody - persons_marked(config.recovery.dir / ERASURE_MARKS)
        erasure = LiveErasure(erased)

        def built(under: Policy) -> Built:
            fronts = ExitStack()
            # Who asks models keeps facts, in this process; the model is then what takes the time.
            recipe = FrontRecipe(config, under, hash_key, erased)
            front = None if asked is not None else fronts.enter_context(front_processes(recipe, telemetry))
            return Built(build_topology(config, under, hash_key, registry, front, asked, erased), fronts.close)

        versions = PolicyVersions(policy, built, POLICY_STEPS, telemetry)
        stack.callback(versions.close)
        topology = replace(versions.topology, front=(*versions.topology.front, erasure))
        stack.enter_context(ErasureWatch(erasure_log(config).read, erasure))

        def wrong(under: Policy) -> list[str]:
            return [*models_problems(config, under), *vault_problems(config, under)]

        watch = stack.enter_context(PolicyWatch(config.pipeline.policy, versions, wrong, telemetry))
        stack.enter_context(hangup_asks(watch.ask))
        log().info("run.started", pipeline=topology.name, lanes=topology.lanes, policy_id=policy.policy.id, policy_version=policy.policy.version)
        vectors = None
        if config.qdrant is not None:  # the client of Qdrant takes most of a second to import
            from streams.vectors import vector_sink

            vectors = vector_sink(config, policy.policy, None if asked is None else asked.embed)
        judged = (policy.policy.digest, policy.text)

        def running() -> RunSummary:
            return run_pipeline(topology, *judged, registry, config, telemetry, stop, until_end, vectors, versions, vault, erasure)

        engine = EngineThread(running)
        summary = engine.result()
        log().info("run.stopped", pipeline=topology.name, rows_in=summary.rows_in, rows_out=summary.passed, rows_dead=sum(summary.dead.values()))
    return summary


def on_flink(config: Config, config_path: Path | None, until_end: bool, cluster: str | None, resume: str | None) -> None:
    """Runs the pipeline on Apache Flink, on this machine or on a cluster."""
    from streams.engines.flink.launch import FlinkRun, run_on_flink
    from streams.erased import erased_persons

    config.require_kafka()
    policy, stop = load_policy(config.pipeline.policy), Stop(config.pipeline.stop_grace_ms / 1000)
    with signals_stop(stop):
        run = FlinkRun(config, config_file(config_path), policy, erased_persons(config, stop), until_end, cluster, resume, tell)
        log().info("run.started", pipeline=config.pipeline.name, lanes=config.pipeline.lanes)
        EngineThread(lambda: run_on_flink(run, stop)).result()
        log().info("run.stopped", pipeline=config.pipeline.name)


def lines_of(summary: RunSummary) -> list[str]:
    """Gives the summary as text."""
    dead, filtered = sum(summary.dead.values()), sum(summary.filtered.values())
    lines = [f"in {summary.rows_in} = passed {summary.passed} + dead {dead} + left out {filtered}"]
    lines += [f"  dead {code}: {count}" for code, count in sorted(summary.dead.items())]
    lines += [f"  left out {code}: {count}" for code, count in sorted(summary.filtered.items())]
    lines += [f"  out {topic}: {count}" for topic, count in sorted(summary.outputs.items())]
    return lines
