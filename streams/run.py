"""Runs a topology on Kafka: puts source, sinks and recovery directory together as the configuration says, and lets the engine run.

Before the first poll, in this order: the lease is taken; the fingerprint is compared with that of the state; topics and the database are looked at;
the begin record is written. From then on any crash is resumed from what is on disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from contextlib import AbstractContextManager, closing, nullcontext
from functools import partial
from typing import TypeVar

import polars as pl

from governance.parse import parse_policy
from schemas.codec.avro import encode_avro
from schemas.errors import ConfigError, RetryableError
from schemas.registry import SchemaRegistry
from schemas.topics import OUTPUTS
from sinks.contract import Sink
from sinks.kafka import KafkaSink
from sinks.kafka_chain import OnHead
from sinks.timescale import TimescaleSink
from streams.anchors import Anchors, anchored
from streams.audit_persons import PersonKeys, seal
from streams.batch import Partition
from streams.client_log import with_log
from streams.cluster import kafka_input, start_of
from streams.collector import rest_the_collector
from streams.config import Config
from streams.credits import Credits
from streams.engines.bytewax import Pace, Run, run_flow
from streams.facts import DecidingStep, FactsJournal
from streams.failpoints import Failpoints
from streams.live_erasure import LiveErasure, erasure_marks
from streams.log import log
from streams.patience import Patience
from streams.policy_file import PolicyFile
from streams.policy_marks import PolicyMarks
from streams.recovery import Begin, Fingerprint, RecoveryDirectory
from streams.sources import KafkaInput, Start
from streams.stop import Abandoned, Stop
from streams.summary import RunSummary, summary_of
from streams.telemetry import Telemetry
from streams.topology import Topology
from streams.vault import keys_in_use, person_keys
from streams.versions import PolicyVersions

T = TypeVar("T")


def _marks_of(recovery: RecoveryDirectory, failpoints: Failpoints, is_settled: bool) -> PolicyMarks:
    """Gives the marks of which policy judged from where on; after an orderly stop none counts any more."""
    marks = PolicyMarks(recovery.policy_marks_path, lambda: failpoints.hit("after_policy_mark"))
    if is_settled:
        marks.clear()
    return marks


def _start_erasure(erasure: LiveErasure | None, recovery: RecoveryDirectory, failpoints: Failpoints) -> None:
    """Lets the step adopt what earlier lives recorded."""
    if erasure is not None:
        marks = erasure_marks(recovery.erasure_marks_path, lambda: failpoints.hit("after_erasure_mark"))
        erasure.start(marks, is_settled=recovery.is_settled)


def run_pipeline(
    topology: Topology,
    policy_digest: str,
    policy_text: str,
    registry: SchemaRegistry,
    config: Config,
    telemetry: Telemetry,
    stop: Stop,
    until_end: bool = False,
    vectors: Sink | None = None,
    versions: PolicyVersions | None = None,
    vault: Sink | None = None,
    erasure: LiveErasure | None = None,
) -> RunSummary:
    """Runs until told to stop, or with ``until_end`` until all that is in the input topics now is done and every window is closed.

    Args:
        topology: The pipeline.
        policy_digest: Digest of the policy in force.
        policy_text: Its text, kept beside the state.
        registry: Where output schemas have their ids.
        config: The configuration.
        telemetry: Counts.
        stop: Ends the run.
        until_end: Whether to stop at the end of what is there now.
        vectors: The sink to a vector store (``streams.vectors``); None where none is configured.
        versions: Whose topology it is, where another policy may take over; None runs under one policy from start to end.
        vault: The sink of what tokens stand for (``streams.vault``); None where no database or key is configured for it.
        erasure: The step that takes up erasures while it runs; None where there is none.

    Raises:
        ConfigError: Before the first poll: a topic is missing, the state belongs to another pipeline, another run holds the directory.
        FatalError: The run cannot keep its promises.
    """
    failpoints, source = Failpoints(config.testing.failpoint), kafka_input(config)
    patience = Patience(config.sink.retry.wait_first_ms / 1000, config.sink.retry.wait_longest_ms / 1000)
    with (
        RecoveryDirectory(config.recovery.dir) as recovery,
        closing(_Journals(recovery, failpoints)) as journals,
        anchored(config) as anchors,
        person_keys(config) as persons,
    ):
        sinks = sinks_of(config, registry, failpoints, vectors, vault, anchors, persons)
        base = policy_digest if versions is None else _judging_before(recovery, versions, policy_digest)
        judged = topology if versions is None else versions.built(base).topology
        recovery.check(fingerprint_of(judged, config, base))
        recovery.keep_policy(policy_digest, policy_text)
        if versions is None:
            journals.keep_for(topology)

        def patiently(call: Callable[[], T]) -> T:
            def away(error: RetryableError) -> None:
                if stop.requested:
                    raise Abandoned(f"stopped before the first record was read: {error}") from error
                log().warning("run.waiting", problem=str(error))

            return patience.persist(call, stop, away)

        is_settled = recovery.is_settled
        _start_erasure(erasure, recovery, failpoints)
        begin = patiently(lambda: _begin(recovery, judged, base, config, source, sinks))
        if versions is not None:
            marks = _marks_of(recovery, failpoints, is_settled)
            # What lies in the topics now may have been judged before the crash, and its outputs written.
            floors = {} if is_settled else patiently(lambda: source.start_offsets(sorted(begin.inputs), "latest"))
            versions.start(marks, base, floors, recovery.keep_policy, journals.keep_for)
        run = Run(
            topology=topology,
            source=source,
            sinks=sinks,
            begin_inputs=begin.inputs,
            begin_sinks=begin.sinks,
            recovery=recovery,
            source_lanes=config.source.source_lanes,
            workers=config.pipeline.workers,
            pace=_pace(config, patiently(lambda: source.start_offsets(sorted(begin.inputs), "latest")) if until_end else None),
            credits=Credits(config.source.rows_in_flight_max, telemetry.rows_in_flight),
            write_deadline_s=config.sink.deadline_ms / 1000,
            patience=patience,
            stop=stop,
            telemetry=telemetry,
            failpoints=failpoints,
            journals=journals.opened,
        )
        recovery.mark_running()
        rest_the_collector()
        with _lineage(config):
            run_flow(run)
        recovery.mark_clean()
    return summary_of(telemetry, "kafka")


def _pace(config: Config, until: Mapping[Partition, int] | None) -> Pace:
    return Pace(
        batch_rows_max=config.source.batch_rows_max,
        batch_target_s=config.source.batch_target_ms / 1000,
        linger_s=config.source.linger_ms / 1000,
        idle_s=config.source.idle_ms / 1000,
        epoch_s=config.recovery.epoch_interval_ms / 1000,
        until=until,
    )


class _Journals:
    """A journal for each step whose outcome depends on more than its rows; versions of a step under several policies share one."""

    def __init__(self, recovery: RecoveryDirectory, failpoints: Failpoints) -> None:
        self._path = recovery.decided_path
        self._failpoints = failpoints
        self._by_step: dict[str, FactsJournal] = {}
        #: Grows when another policy asks a model that none asked before.
        self.opened: list[FactsJournal] = []

    def keep_for(self, topology: Topology) -> None:
        """Tells the steps of a topology where their facts are kept."""
        for step in topology.front:
            if isinstance(step, DecidingStep):
                if step.name not in self._by_step:
                    journal = FactsJournal(self._path / step.name, step.facts_spec, lambda: self._failpoints.hit("after_facts"))
                    self._by_step[step.name] = journal
                    self.opened.append(journal)
                step.keep_in(self._by_step[step.name])

    def close(self) -> None:
        """Closes the files."""
        for journal in self.opened:
            journal.close()


def _judging_before(recovery: RecoveryDirectory, versions: PolicyVersions, digest: str) -> str:
    """Gives the digest of the policy that judges the records of which no mark speaks; tells the versions of all that earlier lives judged by."""
    begin = recovery.begin()
    if begin is None or recovery.is_settled:
        return digest
    for known in {begin.fingerprint.policy, *(mark.digest for mark in PolicyMarks(recovery.policy_marks_path).marks)} - {digest}:
        text = recovery.policy_text(known)
        versions.add(PolicyFile(parse_policy(text, f"{recovery.path}/policies/{known}.yaml"), text), known)
    return begin.fingerprint.policy


def sinks_of(
    config: Config,
    registry: SchemaRegistry,
    failpoints: Failpoints,
    vectors: Sink | None = None,
    vault: Sink | None = None,
    anchors: Anchors | None = None,
    persons: PersonKeys | None = None,
) -> tuple[Sink, ...]:
    """Gives the sinks that the configuration names; Kafka always.

    Args:
        config: The configuration.
        registry: Where output schemas have their ids.
        failpoints: Where tests kill the process.
        vectors: The sink to a vector store.
        vault: The sink of what tokens stand for.
        anchors: Told of the heads of the audit chains.
        persons: Keys under which the audit log names persons; None names none.
    """
    assert (config.qdrant is None) == (vectors is None), "the caller makes the sink of vectors where one is configured"
    told = (lambda _topic, _partition, _link: None) if anchors is None else anchors.took
    sinks: list[Sink] = [kafka_sink(config, registry, failpoints, name=config.pipeline.name, topics=OUTPUTS, on_head=told)]
    if config.timescale is not None:
        sinks.append(TimescaleSink(config.timescale.dsn.get_secret_value()))
    sinks += [sink for sink in (vectors, vault) if sink is not None]
    return tuple(seal(sink, persons) for sink in sinks)


def kafka_sink(
    config: Config,
    registry: SchemaRegistry,
    failpoints: Failpoints,
    *,
    name: str,
    topics: Iterable[str],
    on_head: OnHead = lambda _topic, _partition, _link: None,
) -> KafkaSink:
    """Gives the sink to some output topics, whose transactional ids begin with a name."""
    kafka = config.require_kafka()
    encoders = {topic: partial(_encode, OUTPUTS[topic].schema, registry.id_of(OUTPUTS[topic].schema)) for topic in topics}
    return KafkaSink(
        pipeline=name,
        client=with_log(kafka.client_settings()),
        partitions=dict.fromkeys(encoders, kafka.output_partitions),
        encode=lambda topic, frame: encoders[topic](frame),
        prefix=kafka.topic_prefix,
        probe=failpoints.hit,
        on_head=on_head,
    )


def _encode(schema: str, schema_id: int, frame: pl.DataFrame) -> list[bytes]:
    return encode_avro(frame, schema, schema_id)


def fingerprint_of(topology: Topology, config: Config, policy_digest: str) -> Fingerprint:
    """Gives what the state of this pipeline depends on."""
    return Fingerprint(
        pipeline=topology.name,
        lanes=topology.lanes,
        source_lanes=config.source.source_lanes,
        output_partitions=dict.fromkeys(OUTPUTS, config.require_kafka().output_partitions),
        keyed_steps={step.name: step.state_spec.version for step in topology.keyed_steps},
        policy=policy_digest,
        models=tuple(step.name for step in topology.front if isinstance(step, DecidingStep)),
        keys=keys_in_use(config),
    )


def _begin(recovery: RecoveryDirectory, topology: Topology, policy_digest: str, config: Config, source: KafkaInput, sinks: Sequence[Sink]) -> Begin:
    """Gives the begin record, written now on a first start; later starts add partitions and sinks that are new, and the policy in force."""
    found = recovery.begin()
    partitions = source.partitions()
    known: Mapping[Partition, int] = found.inputs if found else {}
    gone = sorted(set(known) - set(partitions))
    if gone:
        raise ConfigError(
            f"kafka.inputs: the state has read {', '.join(f'{topic}[{partition}]' for topic, partition in gone[:5])}, which the cluster or the "
            "configuration no longer has; put the topics back, or start the pipeline under a new name with an empty recovery directory"
        )
    new = [partition for partition in partitions if partition not in known]
    inputs = {**known, **_starts(source, new, {topic for topic, _ in known}, start_of(config))}
    positions = {sink.name: found.sinks[sink.name] if found and sink.name in found.sinks else sink.begin() for sink in sinks}
    begin = Begin(fingerprint_of(topology, config, policy_digest), inputs, positions)
    if begin != found:
        recovery.record_begin(begin)
    return begin


def _starts(source: KafkaInput, new: Sequence[Partition], topics_known: Set[str], start: Start) -> dict[Partition, int]:
    """Gives where to begin new partitions: of a known topic at the oldest record, because it was empty before; of a new topic as configured."""
    grown = [partition for partition in new if partition[0] in topics_known]
    fresh = [partition for partition in new if partition[0] not in topics_known]
    return {**(source.start_offsets(grown, "earliest") if grown else {}), **(source.start_offsets(fresh, start) if fresh else {})}


def _lineage(config: Config) -> AbstractContextManager[None]:
    if config.lineage is None:
        return nullcontext()
    from streams.lineage import told  # only here: the client of the catalogue takes a fifth of a second to import

    return told(config)
