"""Where a Kafka lane stands: its output offsets, and the ids written behind its back that the replay has not come to yet.

A position of offsets alone would lose ids: a successor that replays half of what its predecessor wrote, takes a snapshot and dies, has left
the end of the log in its snapshot while the other half is still to be replayed. So the ids that were read back stay in the position until the
replay meets them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Self

import polars as pl

from governance.audit_chain import Link
from schemas.topics import OUTPUTS, OutputTopic


def message_ids(topic: OutputTopic, frame: pl.DataFrame) -> list[str]:
    """Gives the message id of each row: the id columns joined by ``:``."""
    if len(topic.id_columns) == 1:
        return frame[topic.id_columns[0]].to_list()
    return frame.select(pl.concat_str(topic.id_columns, separator=":"))[topic.id_columns[0]].to_list()


@dataclass(slots=True)
class KafkaPosition:
    """The position of a lane, or of the whole sink before the first write.

    Attributes:
        offsets: Offset after the last record, by topic and partition.
        unmet: Ids that an earlier life wrote and the replay has not met, by topic. Of a topic with revisions an id is forgotten when a higher
            revision of it comes by, since a lower one cannot come any more.
        heads: Last link of each chained partition, by topic and partition; absent where nothing was written yet.
    """

    offsets: dict[str, dict[int, int]] = field(default_factory=dict)
    unmet: dict[str, dict[str, None]] = field(default_factory=dict)
    heads: dict[str, dict[int, Link]] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """Gives the position for a snapshot."""
        unmet = {topic: list(ids) for topic, ids in self.unmet.items() if ids}
        heads = {topic: {partition: [head.seq, head.hash.hex()] for partition, head in parts.items()} for topic, parts in self.heads.items()}
        return json.dumps({"offsets": self.offsets, "unmet": unmet, "heads": heads}, separators=(",", ":"), sort_keys=True).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Reads what ``to_bytes`` gave."""
        found = json.loads(data)
        offsets = {topic: {int(partition): offset for partition, offset in parts.items()} for topic, parts in found["offsets"].items()}
        heads = {
            topic: {int(partition): Link(seq, bytes.fromhex(digest)) for partition, (seq, digest) in parts.items()}
            for topic, parts in found.get("heads", {}).items()
        }
        return cls(offsets, {topic: dict.fromkeys(ids) for topic, ids in found["unmet"].items()}, heads)

    def of_lane(self, lane: int, lane_count: int) -> Self:
        """Gives the part of a lane: the partitions it owns."""
        offsets = {topic: {p: offset for p, offset in parts.items() if p % lane_count == lane} for topic, parts in self.offsets.items()}
        heads = {topic: {p: head for p, head in parts.items() if p % lane_count == lane} for topic, parts in self.heads.items()}
        return type(self)(offsets, {topic: dict(ids) for topic, ids in self.unmet.items()}, heads)

    def advance(self, topic: str, partition: int, offset: int) -> None:
        """Moves the offset of a partition forward, never back."""
        parts = self.offsets.setdefault(topic, {})
        parts[partition] = max(parts.get(partition, 0), offset)

    def wrote(self, topic: str, ids: Iterable[str]) -> None:
        """Takes in ids that are in the log and may come again."""
        self.unmet.setdefault(topic, {}).update(dict.fromkeys(ids))

    def met(self, topic: str, ids: Iterable[str]) -> None:
        """Takes in ids that have come by, written now or skipped."""
        unmet = self.unmet.get(topic)
        if not unmet:
            return
        if OUTPUTS[topic].revision_column is None:
            for row_id in ids:
                unmet.pop(row_id, None)
        else:
            passed: dict[str, int] = {}
            for row_id in ids:
                name, _, revision = row_id.rpartition(":")
                passed[name] = max(int(revision), passed.get(name, 0))
            for row_id in [i for i in unmet if int(i.rpartition(":")[2]) <= passed.get(i.rpartition(":")[0], -1)]:
                del unmet[row_id]
