"""A lane on Flink: folds its parcels through the keyed steps and gives the messages to write, with the lane's state as entries for Flink to keep."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from governance.audit_chain import Link, Stated, follow, genesis
from operators.shards import shard_of
from schemas.codec.avro import encode_avro
from schemas.topics import CHAIN_HEADER, ID_HEADER, OUTPUTS, TRACE_HEADER
from sinks.contract import OutputBatch
from sinks.kafka_chain import chain_name
from sinks.kafka_position import message_ids
from streams.audit_persons import sealed
from streams.audit_start import POLICY_KEY, policy_in_force
from streams.batch import Marks, Partition
from streams.engines.flink.intake_stage import check_shape, shape_of
from streams.engines.flink.parcels import lane_batch
from streams.engines.flink.recipe import Recipe, Worker
from streams.lane import Lane
from streams.state_entries import Bucket, Sealed, StateEntries
from streams.telemetry import Telemetry


@dataclass(frozen=True, slots=True)
class Message:
    """One record to write: topic as the cluster calls it, key, value, headers."""

    topic: str
    key: bytes
    value: bytes = field(repr=False)
    headers: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class LaneKept:
    """What a lane keeps beside the buckets of its steps.

    Attributes:
        shape: What the state depends on.
        marks: Watermarks by partition.
        joined: Partitions that were added later, with the watermark from which they count.
        heads: Last link of each chained output partition.
        policy: Digest of the policy that the audit log was last told of.
    """

    shape: str
    marks: Marks
    joined: Mapping[Partition, int]
    heads: Mapping[tuple[str, int], Link]
    policy: str


class LaneStage:
    """One lane of a job.

    Args:
        recipe: What the job is told.
        worker: What the stages of this process share.
        telemetry: Counts.
        number: Number of the lane.
        kept: As of the checkpoint; None on a first start.
        entries: Buckets as of the checkpoint.
    """

    def __init__(
        self,
        recipe: Recipe,
        worker: Worker,
        telemetry: Telemetry,
        number: int,
        kept: LaneKept | None,
        entries: Iterable[tuple[str, Bucket | Sealed]],
    ) -> None:
        self._worker = worker
        self._telemetry = telemetry
        if kept is not None:
            check_shape(kept.shape, worker)
        topology = worker.topology
        self._entries = StateEntries(topology.keyed_steps, entries)
        marks, joined = (kept.marks, kept.joined) if kept else (None, None)
        self._lane = Lane(topology, recipe.partitions, telemetry, dict(self._entries.states), marks, joined)
        self._heads: dict[tuple[str, int], Link] = dict(kept.heads) if kept else dict(recipe.heads)
        self._told = kept.policy if kept else ""
        kafka = worker.config.require_kafka()
        self._prefix, self._partitions = kafka.topic_prefix, kafka.output_partitions
        # The entry goes to the partition of its key, which another lane must not write.
        is_ours = int(shard_of(pl.Series([POLICY_KEY]), self._partitions)[0]) % topology.lanes == number
        self._tells = is_ours and topology.policy is not None and topology.policy.digest != self._told
        self._schema_ids = {topic: worker.registry.id_of(output.schema) for topic, output in OUTPUTS.items()}

    @property
    def kept(self) -> LaneKept:
        """What a checkpoint must hold now, beside ``changes``."""
        return LaneKept(shape_of(self._worker), dict(self._lane.marks), dict(self._lane.joined), dict(self._heads), self._told)

    def changes(self) -> tuple[dict[str, Bucket], list[str]]:
        """Gives the buckets to put and the names of those to remove since the last call."""
        return self._entries.changes(self._lane.states)

    def take(self, parcel: bytes) -> Iterator[Message]:
        """Gives the messages that follow from a parcel, each output partition's in the order in which they must be written."""
        if self._tells:
            yield from self._tell()
        yield from self._messages(self._lane.apply([lane_batch(parcel)]))

    def end(self) -> Iterator[Message]:
        """Gives what follows from closing every window: the input has ended, and the lane is not asked again."""
        yield from self._messages(self._lane.finish())

    def _tell(self) -> Iterator[Message]:
        """Writes down in the audit log which policy judges from here on: at a first start, and where a restart brought another one."""
        policy = self._worker.topology.policy
        assert policy is not None
        self._tells = False
        yield from self._messages(policy_in_force(self._worker.topology.name, policy, self._told or None))
        self._told = policy.digest

    def _messages(self, outputs: OutputBatch) -> Iterator[Message]:
        for topic, frame in sealed(outputs, None).items():
            if frame.height:
                self._telemetry.sink_written("kafka", topic, frame.height, 0)
                yield from self._of_topic(topic, frame)

    def _of_topic(self, name: str, frame: pl.DataFrame) -> Iterator[Message]:
        topic = OUTPUTS[name]
        ids, keys = message_ids(topic, frame), frame[topic.key_column].to_list()
        values = encode_avro(frame, topic.schema, self._schema_ids[name])
        traces = frame[TRACE_HEADER].to_list() if TRACE_HEADER in frame.columns else [None] * len(ids)
        links = self._links(name, ids, frame[topic.key_column], values) if topic.chained else [None] * len(ids)
        for row_id, key, value, trace, link in zip(ids, keys, values, traces, links, strict=True):
            headers = {ID_HEADER: row_id.encode()}
            if trace is not None:
                headers[TRACE_HEADER] = trace.encode()
            if link is not None:
                headers[CHAIN_HEADER] = link
            yield Message(self._prefix + name, key.encode(), value, headers)

    def _links(self, topic: str, ids: Sequence[str], keys: pl.Series, values: Sequence[bytes]) -> list[bytes]:
        """Gives the chain header of each message. A lane owns whole partitions of a chained topic, so nobody else adds to their chains."""
        found = []
        for row_id, key, value, partition in zip(ids, keys.to_list(), values, shard_of(keys, self._partitions).to_list(), strict=True):
            before = self._heads.get((topic, partition)) or genesis(chain_name(topic, partition))
            link = follow(before, (row_id.encode(), key.encode(), value))
            self._heads[topic, partition] = link
            found.append(Stated(link, before.hash).to_header())
        return found
