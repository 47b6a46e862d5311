"""Deduplicate: of records that tell of the same event, the first goes on.

The same event is the same ``event_uid``, which is made from kind, agent_id and event_id. A later record of it with the same content is filtered as
``duplicate``; one with other content is dead-lettered as ``id_conflict``, so that nobody hides an action behind a used id. The first record stays the
reference for as long as ``ttl_ms`` of the partition's own event time, then the id is free again.

State is one entry a reference: first 64 bits of the uid, content digest, and the watermark right after it was seen. Entries lie in sorted runs
(``operators.runs``) by a time bucket of that watermark. A look-up is a binary search in each run; runs of one bucket are merged when their sizes
come close, so a bucket of ``n`` entries has about ``log2(n / batch)`` runs and each entry is copied as often.

Why it depends on the log order alone: producers key by agent, so all records of an event lie in one partition of one topic. A reference's
watermark and a row's are that partition's, and entries leave state only where the merged watermark, which is not above any row's to come, puts
them past ``ttl_ms`` for every such row: then the answer is "not a duplicate" with the entry or without it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from operators.contract import Order, Outcome, State, StateSpec, dead_rows
from operators.runs import run_id, runs_by_bucket
from schemas.errors import ConfigError, IdConflict

ENTRY: Final = pl.Schema({"uid_hi": pl.Int64(), "content_digest": pl.Int64(), "seen_watermark": pl.Int64()})

DUPLICATE: Final = "duplicate"
_DUPLICATE_REASON: Final = "an event with this agent_id and event_id came before in this topic, with the same content"
_CONFLICT_REASON: Final = "an event with this agent_id and event_id came before in this topic, with other content; give each event an id of its own"
_NEVER: Final = -(2**62)  # a reference that is older than any time to live

_Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Rows:
    """A batch's rows sorted by uid, then by place in the batch."""

    order: _Ints  # place in the batch
    uid: _Ints
    digest: _Ints
    mark: _Ints  # watermark before the row; the event time of a partition's first row, which has none
    after: _Ints  # watermark right after the row


class Deduplicate:
    """Lets the first record of each event pass.

    A row is a repetition iff its reference was seen with ``row_watermark - seen_watermark < ttl_ms``, where ``seen_watermark`` is the partition's
    watermark right after the reference: the larger of its ``row_watermark`` and its event time, so that a jump of event time over a quiet night
    does not age it. The first row of a partition has no watermark; its event time stands in.

    Ids are compared by 64 bits: that any two of 5 million live ids agree in them by chance, a false ``id_conflict``, has odds of 1 to 1.5 million.

    Args:
        ttl_ms: How long an id is remembered, in event time. At least window length plus allowed lateness (``needed_ttl_ms``), or a duplicate could be
            counted in a window twice.
        bucket_ms: Width of the buckets in which entries are freed, at most ``ttl_ms``: then no bucket holds an id twice.
        name: Another name where a topology deduplicates a second time, behind another exchange.

    Raises:
        ConfigError: The bucket is wider than the time to live, or not positive.
    """

    order: Final = Order.LOG_ORDERED

    def __init__(self, ttl_ms: int = 600_000, bucket_ms: int = 60_000, name: str = "deduplicate") -> None:
        if not 0 < bucket_ms <= ttl_ms:
            raise ConfigError(f"deduplicate: want 0 < bucket_ms <= ttl_ms, came bucket_ms {bucket_ms} and ttl_ms {ttl_ms}; narrow the bucket")
        self.name: Final = name
        self._ttl = ttl_ms
        self._bucket = bucket_ms

    @property
    def state_spec(self) -> StateSpec:
        """One entry a live id, 24 bytes."""
        return StateSpec(
            version=1,
            schema=ENTRY,
            bound="24 bytes x events/s x (time to live + one bucket + how far the fastest partition is ahead of the slowest)",
        )

    def apply(self, state: State, batch: pl.DataFrame, watermark: int | None) -> tuple[State, Outcome]:
        """Filters repetitions, remembers first rows, frees entries past their time to live."""
        runs = dict(state)
        outcome = Outcome(batch)
        if batch.height:
            rows = _sorted(batch)
            is_first, same = self._judge(rows, *_references(runs, rows.uid))
            self._remember(runs, rows, is_first)
            outcome = self._split(batch, rows, is_first, same)
        if watermark is not None:
            for run in [run for run in runs if int(run.partition("/")[0]) * self._bucket + self._bucket - 1 + self._ttl <= watermark]:
                del runs[run]
        return runs, outcome

    def _judge(self, rows: _Rows, seen: _Ints, digest: _Ints) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Gives which rows become references, and which rows have the same content as the reference before them.

        Each round settles every row up to the next reference of its id; a second round is needed only where one id outlives its time to live inside
        one batch.
        """
        head = np.concatenate(([True], rows.uid[1:] != rows.uid[:-1]))
        group = np.cumsum(head) - 1
        starts = np.flatnonzero(head)
        places = np.arange(len(group))
        is_first = np.zeros(len(group), dtype=np.bool_)
        same = np.zeros(len(group), dtype=np.bool_)
        open_rows = np.ones(len(group), dtype=np.bool_)
        while True:
            fresh = open_rows & (rows.mark - seen >= self._ttl)
            next_first = np.minimum.reduceat(np.where(fresh, places, len(group)), starts)[group]
            settled = open_rows & (places < next_first)
            same[settled] = digest[settled] == rows.digest[settled]
            is_first[next_first[next_first < len(group)]] = True
            open_rows &= places > next_first
            if not open_rows.any():
                return is_first, same
            reference = next_first[open_rows]
            seen[open_rows], digest[open_rows] = rows.after[reference], rows.digest[reference]

    def _remember(self, runs: dict[str, pl.DataFrame], rows: _Rows, is_first: NDArray[np.bool_]) -> None:
        """Appends the new references as one sorted run a bucket; merges runs of like size."""
        entries = pl.DataFrame([rows.uid[is_first], rows.digest[is_first], rows.after[is_first]], schema=ENTRY)
        buckets = rows.after[is_first] // self._bucket
        sequences = runs_by_bucket(runs)
        for bucket in np.unique(buckets):
            numbers = sequences.get(str(bucket), [])
            number = numbers[-1] + 1 if numbers else 0
            merged = [entries.filter(pl.Series(buckets == bucket))]
            height = merged[0].height
            while numbers and runs[run_id(str(bucket), numbers[-1])].height <= 2 * height:
                merged.append(runs.pop(run_id(str(bucket), numbers.pop())))
                height += merged[-1].height
            runs[run_id(str(bucket), number)] = merged[0] if len(merged) == 1 else pl.concat(merged).sort("uid_hi")

    def _split(self, batch: pl.DataFrame, rows: _Rows, is_first: NDArray[np.bool_], same: NDArray[np.bool_]) -> Outcome:
        """Gives first rows as the batch, the rest as dead rows, all in the batch's order."""
        if is_first.all():
            return Outcome(batch)
        verdict = np.empty(batch.height, dtype=np.int8)
        verdict[rows.order] = np.where(is_first, 0, np.where(same, 1, 2))
        duplicates, conflicts = batch.filter(pl.Series(verdict == 1)), batch.filter(pl.Series(verdict == 2))
        dead = [
            dead_rows(duplicates, step=self.name, disposition="filtered", code=DUPLICATE, reason=_DUPLICATE_REASON),
            dead_rows(conflicts, step=self.name, disposition="dead", code=IdConflict.code, reason=_CONFLICT_REASON),
        ]
        return Outcome(batch.filter(pl.Series(verdict == 0)), dead=pl.concat([rows for rows in dead if rows.height]))


def needed_ttl_ms(length_ms: int, lateness_ms: int) -> int:
    """Gives the least time to live for windows of this length and lateness: with it, no duplicate is counted in a window.

    A duplicate passes once its watermark is ``ttl_ms`` past the event time; from length plus lateness past it on, the window is closed to it.
    """
    return length_ms + lateness_ms


def _sorted(batch: pl.DataFrame) -> _Rows:
    assert batch["event_uid"].null_count() == 0, "an event without event_uid: mask makes it"
    times = batch["event_time"]
    mark = batch["row_watermark"].zip_with(batch["row_watermark"].is_not_null(), times).to_numpy()
    uid = batch["event_uid"].str.head(16).str.decode("hex").bin.reinterpret(dtype=pl.Int64, endianness="big").to_numpy()
    order = np.argsort(uid, kind="stable")
    return _Rows(order, uid[order], batch["content_digest"].to_numpy()[order], mark[order], np.maximum(mark, times.to_numpy())[order])


def _references(runs: State, uid: _Ints) -> tuple[_Ints, _Ints]:
    """Gives, for each uid (ascending), when its newest reference was seen and that one's digest; ``_NEVER`` where there is none."""
    seen = np.full(len(uid), _NEVER, dtype=np.int64)
    digest = np.zeros(len(uid), dtype=np.int64)
    for run in runs.values():
        known = run["uid_hi"].to_numpy()
        at = np.searchsorted(known, uid, side="left")
        hit = np.flatnonzero(known[np.minimum(at, len(known) - 1)] == uid)
        if len(hit):
            marks = run["seen_watermark"].to_numpy()[at[hit]]
            newer = marks > seen[hit]
            seen[hit[newer]] = marks[newer]
            digest[hit[newer]] = run["content_digest"].to_numpy()[at[hit[newer]]]
    return seen, digest
