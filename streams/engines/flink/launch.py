"""Starts a job on Flink from headrace's own environment: looks at what is there, writes the order, and watches the process that carries it out."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from governance.audit_chain import Link
from schemas.errors import ConfigError, FatalError, RetryableError
from schemas.topics import OUTPUTS
from sinks.kafka import KafkaSink
from sinks.kafka_position import KafkaPosition
from streams.client_log import with_log
from streams.cluster import kafka_input, start_of
from streams.config import Config
from streams.embedded.child import ChildProcess
from streams.engines.flink.job import Order, cluster_options
from streams.engines.flink.parts import connector_of, missing_for_flink, python_of
from streams.engines.flink.recipe import Recipe, settings_of, starts_of
from streams.hash_key import DEFAULT_KEY_FILE
from streams.log import log
from streams.patience import Patience
from streams.policy_file import PolicyFile
from streams.recovery import RecoveryDirectory
from streams.stop import Stop
from streams.vault import keys_in_use

ROOT: Final = Path(__file__).parents[3]
_PACKAGES: Final = ("schemas", "governance", "operators", "models", "sinks", "streams")
_FINISHED: Final = "finished"
_JVM: Final = "jvm.pid"
_LOOK_EVERY_S: Final = 0.2
_ENV: Final = Path("/usr/bin/env")
_STOP_S: Final = 120.0
#: librdkafka's settings that Kafka's Java client knows under the same name, or under another.
_JAVA_NAMES: Final = {"security.protocol": "security.protocol", "ssl.ca.location": "ssl.truststore.location"}


@dataclass(frozen=True, slots=True)
class FlinkRun:
    """A run on Flink.

    Attributes:
        config: The configuration.
        config_path: The file it was read from; None where there is none.
        policy: The policy in force.
        erased: Hashes of erased persons.
        until_end: Whether to stop at the end of what is there now, with every window closed.
        cluster: URL of a JobManager's REST; None runs Flink on this machine, for as long as this process lives.
        resume: Savepoint or checkpoint to go on from; None takes the newest of a run on this machine, and nothing on a cluster.
        tell: Called with one line that a person should see.
    """

    config: Config
    config_path: Path | None
    policy: PolicyFile
    erased: frozenset[str]
    until_end: bool
    cluster: str | None
    resume: str | None
    tell: Callable[[str], None]


def problems_on_flink(config: Config, policy: PolicyFile) -> list[str]:
    """Gives what the configuration asks for and a run on Flink does not do, a sentence each."""
    found = [
        f"{name}: the section is set, and a run on Flink {why}; remove it, or run on the default engine"
        for name, is_set, why in (
            ("timescale", config.timescale is not None, "writes to Kafka only"),
            ("qdrant", config.qdrant is not None, "writes to Kafka only"),
            ("models", config.models is not None, "asks no models"),
            ("lineage", config.lineage is not None, "tells no lineage"),
            ("http", config.http is not None, "has Flink's own pages and metrics"),
        )
        if is_set
    ]
    if policy.policy.pii.seals:
        found.append("pii.entities: the policy encrypts or tokenises, for which a run on Flink has no vault; run on the default engine")
    foreign = sorted(set(config.require_kafka().security) - set(_JAVA_NAMES))
    if foreign:
        found.append(f"kafka.security: {', '.join(foreign)} is not handed to Flink's Kafka client; known there: {', '.join(_JAVA_NAMES)}")
    return found


def run_on_flink(run: FlinkRun, stop: Stop) -> None:
    """Runs the job: on this machine to its end or until told to stop, on a cluster until it was taken.

    Raises:
        ConfigError: Something is missing here, or the configuration asks for what a run on Flink does not do.
        FatalError: The job failed.
    """
    config = run.config
    problems = [*missing_for_flink(config), *problems_on_flink(config, run.policy)]
    if problems:
        raise ConfigError(*problems)
    folder = _folder(config)
    if run.cluster is not None:
        _carry_out(run, _order(run, stop, folder), stop, folder)
        return
    with RecoveryDirectory(config.recovery.dir):
        end_orphan(folder)
        if (folder / _FINISHED).exists():
            raise ConfigError(f"{folder}: a run with --until-end has closed every window; remove the folder, and begin under another pipeline name")
        if run.until_end and (state := run.resume or newest_state(folder)) is not None:
            raise ConfigError(f"run: --until-end on Flink begins without state, and there is {state}; run without --until-end, or remove the folder")
        _carry_out(run, _order(run, stop, folder), stop, folder)


def _carry_out(run: FlinkRun, order: Order, stop: Stop, folder: Path) -> None:
    config = run.config
    message = pickle.dumps(order, protocol=pickle.HIGHEST_PROTOCOL)
    # Left alone, PyFlink would run the workers of a job on this machine as threads of this one process.
    alone: list[str | Path] = [_ENV, "_python_worker_execution_mode=process"] if config.flink.parallelism > 1 else []
    command = [*alone, python_of(config.flink), "-m", "streams.engines.flink.job"]
    child = ChildProcess("Flink job", command, log=folder / "job.log", cwd=ROOT, piped=True)
    try:
        assert child.popen.stdin is not None
        child.popen.stdin.write(b"%d\n" % len(message) + message)
        child.popen.stdin.flush()
        if _watched(child, stop, run.tell, folder) and run.until_end and run.cluster is None:
            (folder / _FINISHED).touch()
    finally:
        child.stop(within_s=10.0)


def end_orphan(folder: Path) -> None:
    """Ends the Java process of a run that was killed: until it notices by itself it might commit what a new run does not know of."""
    note = folder / _JVM
    pid = int(note.read_text()) if note.exists() else 0
    if pid and b"PythonGatewayServer" in _command_of(pid):
        os.kill(pid, signal.SIGKILL)
        until = time.monotonic() + _STOP_S
        while _command_of(pid):
            if time.monotonic() > until:
                raise FatalError(f"Flink: process {pid} of an earlier run does not end; end it, then start again")
            time.sleep(_LOOK_EVERY_S)
    note.unlink(missing_ok=True)


def _command_of(pid: int) -> bytes:
    """Gives the command line of a process; nothing where it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _watched(child: ChildProcess, stop: Stop, tell: Callable[[str], None], folder: Path) -> bool:
    """Tells what the job says until it ends; gives whether it came to the end of its input."""
    assert child.popen.stdout is not None
    assert child.popen.stdin is not None
    said: list[Mapping[str, str]] = []
    reader = threading.Thread(target=_read, args=(child.popen.stdout, said, tell, folder), daemon=True)
    reader.start()
    while reader.is_alive() and not stop.requested:
        reader.join(_LOOK_EVERY_S)
    if stop.requested and reader.is_alive():
        child.popen.stdin.write(b"stop\n")
        child.popen.stdin.flush()
        reader.join(_STOP_S)
    events = {one["event"]: one for one in said}
    if "refused" in events:
        raise ConfigError(events["refused"]["problem"])
    if "failed" in events or not events.keys() & {"done", "stopped", "running", "sent"}:
        raise FatalError(f"Flink: the job failed; what Flink said is at the end of {child.log}")
    if "running" in events and not events.keys() & {"done", "stopped", "sent"}:
        raise FatalError(f"Flink: the job's process ended before the job did; its last words are in {child.log}")
    return "done" in events and not stop.requested


def _read(pipe: IO[bytes], said: list[Mapping[str, str]], tell: Callable[[str], None], folder: Path) -> None:
    for line in pipe:
        try:
            event = json.loads(line)
        except ValueError:
            continue  # Flink's own scripts print too
        if not isinstance(event, dict) or "event" not in event:
            continue
        said.append(event)
        if event["event"] == "jvm":
            (folder / _JVM).write_text(event["pid"])
        log().info(f"flink.{event['event']}")
        if event["event"] == "sent":
            tell(f"the job {event['job']} runs on the cluster; stop it with: flink stop --savepointPath DIR {event['job']}")


def _folder(config: Config) -> Path:
    folder = config.recovery.dir.expanduser().absolute() / "flink"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _order(run: FlinkRun, stop: Stop, folder: Path) -> Order:
    config, kafka = run.config, run.config.require_kafka()
    source, patience = kafka_input(config), Patience(config.sink.retry.wait_first_ms / 1000, config.sink.retry.wait_longest_ms / 1000)

    def waits(error: RetryableError) -> None:
        log().warning("run.waiting", problem=str(error))

    begin = start_of(config)
    starts = patience.persist(lambda: source.start_offsets(source.partitions(), begin), stop, waits)
    heads = patience.persist(lambda: _heads(config), stop, waits)
    local_config = None if run.config_path is None or run.cluster is not None else str(run.config_path.absolute())
    settings = settings_of(config) if run.cluster is not None else (*settings_of(config), *_key_file(config))
    recipe = Recipe(settings, run.policy.text, run.erased, starts_of(starts), keys_in_use(config), local_config, heads)
    state = config.flink.checkpoint_dir or (folder / "checkpoints").as_uri()
    resume = run.resume or (newest_state(folder) if run.cluster is None else None)
    return Order(
        recipe=recipe,
        name=config.pipeline.name,
        inputs=tuple(map(source.physical, kafka.inputs)),
        outputs=tuple(kafka.topic_prefix + topic for topic in OUTPUTS),
        client={"bootstrap.servers": kafka.bootstrap, **_java_security(kafka.client_settings())},
        start=begin + "-offset" if isinstance(begin, str) else str(int(begin.timestamp() * 1000)),
        until_end=run.until_end,
        options={**_options(config, state), **(_resumed(resume, run.resume is None) if resume else {}), **_place(run)},
        parallelism=config.flink.parallelism,
        transaction_timeout_ms=config.flink.transaction_timeout_ms,
        savepoints=(folder / "savepoints").as_uri() if config.flink.checkpoint_dir is None else f"{state.rstrip('/')}/savepoints",
        cluster=run.cluster,
    )


def _key_file(config: Config) -> tuple[tuple[str, str], ...]:
    """Gives the place of a key that lies in a file, for workers on this machine: they start elsewhere."""
    privacy = config.privacy
    if privacy.hash_key is not None or privacy.keys is not None or privacy.keys_file is not None:
        return () if privacy.keys_file is None else (("privacy.keys_file", str(privacy.keys_file.absolute())),)
    return (("privacy.key_file", str((privacy.key_file or DEFAULT_KEY_FILE).absolute())),)


def _java_security(settings: Mapping[str, str]) -> dict[str, str]:
    found = {_JAVA_NAMES[name]: value for name, value in settings.items() if name in _JAVA_NAMES}
    return {**found, **({"ssl.truststore.type": "PEM"} if "ssl.truststore.location" in found else {})}


def _heads(config: Config) -> tuple[tuple[tuple[str, int], Link], ...]:
    kafka = config.require_kafka()
    chained = {name: kafka.output_partitions for name, topic in OUTPUTS.items() if topic.chained}
    sink = KafkaSink(config.pipeline.name, with_log(kafka.client_settings()), chained, lambda _topic, _frame: [], prefix=kafka.topic_prefix)
    heads = KafkaPosition.from_bytes(sink.begin()).heads
    return tuple(((topic, partition), link) for topic, parts in sorted(heads.items()) for partition, link in sorted(parts.items()))


def _options(config: Config, state: str) -> dict[str, str]:
    flink, rows = config.flink, config.source.batch_rows_max
    return {
        "pipeline.name": config.pipeline.name,
        "pipeline.jars": connector_of(flink).as_uri(),
        "python.fn-execution.arrow.batch.size": str(rows),
        "python.fn-execution.bundle.size": str(rows),
        "python.fn-execution.bundle.time": str(max(config.source.linger_ms, 20)),
        "python.map-state.write-cache-size": "100000",
        "python.map-state.read-cache-size": "1",
        "execution.checkpointing.interval": f"{flink.checkpoint_interval_ms} ms",
        "execution.checkpointing.min-pause": f"{flink.checkpoint_interval_ms // 2} ms",
        "execution.checkpointing.mode": "EXACTLY_ONCE",
        # An unaligned checkpoint would write records in flight to disk.
        "execution.checkpointing.unaligned.enabled": "false",
        "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
        "execution.checkpointing.dir": state,
        "restart-strategy.type": "exponential-delay",
        "restart-strategy.exponential-delay.initial-backoff": "500 ms",
        "restart-strategy.exponential-delay.max-backoff": "10 s",
        "restart-strategy.exponential-delay.attempts-before-reset-backoff": str(flink.restarts_max),
    }


def _resumed(path: str, is_ours: bool) -> dict[str, str]:
    """Goes on from a state; one that a run on this machine left is given over to the job, which removes it when it has a newer one."""
    return {"execution.state-recovery.path": path, "execution.state-recovery.claim-mode": "CLAIM" if is_ours else "NO_CLAIM"}


def _place(run: FlinkRun) -> dict[str, str]:
    flink = run.config.flink
    if run.cluster is None:
        here = dict.fromkeys(("rest.address", "rest.bind-address", "jobmanager.bind-host", "taskmanager.bind-host", "taskmanager.host"), "127.0.0.1")
        slots = {"taskmanager.numberOfTaskSlots": str(flink.parallelism), "rest.bind-port": "0"}
        return {
            **here,
            **slots,
            "python.pythonpath": str(ROOT),
            "python.executable": str(python_of(flink)),
            "python.client.executable": str(python_of(flink)),
        }
    return {
        **cluster_options(run.cluster),
        "python.files": str(_code(_folder(run.config))),
        "python.executable": flink.python or str(python_of(flink)),
    }


def _code(folder: Path) -> Path:
    """Gives a folder that holds headrace's packages and nothing else: what is sent to a cluster."""
    code = folder / "code"
    shutil.rmtree(code, ignore_errors=True)
    for package in _PACKAGES:
        shutil.copytree(ROOT / package, code / package, ignore=shutil.ignore_patterns("__pycache__"))
    return code


def newest_state(folder: Path) -> str | None:
    """Gives the newest complete checkpoint or savepoint of runs on this machine; None where there is none."""
    found = [*folder.glob("checkpoints/*/chk-*/_metadata"), *folder.glob("savepoints/*/_metadata")]
    return max(found, key=lambda path: path.stat().st_mtime_ns).parent.as_uri() if found else None
