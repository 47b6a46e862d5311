"""Measure: what each agent did in each window, by event type and tool.

State of a window is made of runs (``operators.runs``) of partial counts in two buckets: ``<start>/open`` holds counts not emitted yet,
``<start>/done`` counts that are part of an emitted revision. A batch is reduced to one partial row a group, and only that is appended; runs
are added up when there are many of them, and when a window is emitted. When the merged watermark passes a window's end its groups are emitted,
and from then on each batch that brings more emits the groups it touched, with a higher revision (the number of events folded in).
"""

from __future__ import annotations

from typing import Final

import polars as pl

from operators.contract import Order, Outcome, State, StateSpec
from operators.runs import frames_of, run_id, runs_by_bucket
from operators.windows import assign, histogram
from operators.windows.accumulators import ACCUMULATORS, KEY, accumulate, add, as_rows, own_text
from operators.windows.histogram import DEFAULT_ALPHA_PPM, Histograms
from schemas.coordinates import window_uid
from schemas.frames import output_schema

TOPIC: Final = "agent_metrics"
#: A bucket of more runs than this is added up into one; more runs cost memory, fewer cost time.
_RUNS_MAX: Final = 16
_PERMILLE: Final = (500, 950, 990)
_NEVER: Final = -(2**63)  # a watermark before which no window ends


class Measure:
    """Counts events into tumbling windows of event time, and emits the windows as they close and change.

    Lateness is decided by a row's own ``row_watermark`` alone: a row is late iff its window's end plus the allowed lateness is not after it. A
    late row is counted in no window; it goes on with ``late`` true and is told as fact ``("late_events", kind)``. A row that is not late finds its
    window's state in place: state is freed by a merged watermark that is not above the row's own.

    Every event counts that reaches this step, whatever its verdict; duplicates were filtered before.

    Args:
        window_ms: Length of a window, aligned to 1970 UTC.
        lateness_ms: How long after its end a window takes in events.
        alpha_ppm: Relative error of the quantiles in parts per million.
    """

    name: Final = "measure"
    order: Final = Order.COMMUTATIVE

    def __init__(self, window_ms: int = 10_000, lateness_ms: int = 60_000, alpha_ppm: int = DEFAULT_ALPHA_PPM) -> None:
        self._length = window_ms
        self._lateness = lateness_ms
        self._table = histogram.buckets(alpha_ppm)
        self._schema = output_schema(TOPIC)

    @property
    def state_spec(self) -> StateSpec:
        """One row a group and window, plus up to 16 partial runs: about 200 bytes and 10 bytes a latency bucket in use."""
        return StateSpec(
            version=1,
            schema=ACCUMULATORS,
            bound="groups active in a window x (200 bytes + 10 bytes a latency bucket in use, at most 1,704) x (length + lateness) / length "
            "windows not yet freed, and those ahead of the merged watermark; at most 16 runs of partials beside each",
        )

    def apply(self, state: State, batch: pl.DataFrame, watermark: int | None) -> tuple[State, Outcome]:
        """Folds the batch in, emits closed windows that changed, frees windows past their lateness."""
        runs = dict(state)
        starts = assign.tumbling(batch["event_time"], self._length)
        late = self._late(starts, batch["row_watermark"])
        self._fold(runs, batch.filter(~late).with_columns(starts.filter(~late)) if late.any() else batch.with_columns(starts))
        metrics = None
        if watermark is not None:
            metrics = self._emit(runs, watermark)
            self._free(runs, watermark)
        facts = {("late_events", str(kind)): count for kind, count in batch["kind"].filter(late).value_counts().iter_rows()} if late.any() else {}
        return runs, Outcome(batch.with_columns(late), outputs={} if metrics is None else {TOPIC: metrics}, facts=facts)

    def _late(self, starts: pl.Series, watermarks: pl.Series) -> pl.Series:
        """Gives ``late`` for each row: whether its window had ended longer ago than the allowed lateness when it came."""
        marks = watermarks.fill_null(_NEVER).to_numpy()
        return pl.Series("late", starts.to_numpy() + (self._length + self._lateness) <= marks)

    def _fold(self, runs: dict[str, pl.DataFrame], events: pl.DataFrame) -> None:
        """Appends the batch's partials as one run a window."""
        if events.is_empty():
            return
        partials = accumulate(events, self._table)
        sequences = runs_by_bucket(runs)
        for (start,), part in partials.partition_by("window_start", as_dict=True).items():
            self._append(runs, sequences, f"{start}/open", part)

    def _append(self, runs: dict[str, pl.DataFrame], sequences: dict[str, list[int]], bucket: str, part: pl.DataFrame) -> None:
        """Adds a run to a bucket; adds the bucket up where that makes too many."""
        numbers = sequences.setdefault(bucket, [])
        number = numbers[-1] + 1 if numbers else 0
        if len(numbers) >= _RUNS_MAX:
            part = as_rows(*add([*frames_of(runs, bucket, numbers), part]))
            for old in numbers:
                del runs[run_id(bucket, old)]
            numbers.clear()
        runs[run_id(bucket, number)] = own_text(part)
        numbers.append(number)

    def _emit(self, runs: dict[str, pl.DataFrame], watermark: int) -> pl.DataFrame | None:
        """Gives the groups of closed windows that changed since they were last emitted, and makes their open runs done ones."""
        sequences = runs_by_bucket(runs)
        closed = [start for start in _starts(sequences, "open") if start + self._length <= watermark]
        if not closed:
            return None
        fresh = {start: frames_of(runs, f"{start}/open", sequences[f"{start}/open"]) for start in closed}
        done = [frame for start in closed for frame in frames_of(runs, f"{start}/done", sequences.get(f"{start}/done", ()))]
        parts = [part for parts in fresh.values() for part in parts]
        if done:
            keys = pl.concat([part[KEY] for part in parts])
            parts.append(pl.concat(done).join(keys, on=KEY, how="semi", nulls_equal=True))
        sums, histograms = add(parts)
        new = [start for start in closed if f"{start}/done" not in sequences]
        totals = as_rows(sums, histograms).partition_by("window_start", as_dict=True) if new else {}
        for start, runs_of_start in fresh.items():
            for number in sequences[f"{start}/open"]:
                del runs[run_id(f"{start}/open", number)]
            for part in [totals[(start,)]] if start in new else runs_of_start:
                self._append(runs, sequences, f"{start}/done", part)
        return self._metrics(sums, histograms)

    def _free(self, runs: dict[str, pl.DataFrame], watermark: int) -> None:
        """Drops windows that no event can enter any more: for every later row they are late."""
        for run in [run for run in runs if int(run.partition("/")[0]) + self._length + self._lateness <= watermark]:
            del runs[run]

    def _metrics(self, sums: pl.DataFrame, histograms: Histograms) -> pl.DataFrame:
        """Gives totals as records of the topic: means, quantiles and ids computed."""
        keys = zip(*(sums[name].to_list() for name in KEY), strict=True)
        uids = [window_uid(str(start), str(self._length), agent, _part(event), _part(tool)) for start, agent, event, tool in keys]
        quantiles = [histograms.quantile(permille, self._table).cast(pl.Float64).alias(f"latency_p{permille // 10}_us") for permille in _PERMILLE]
        full = sums.hstack([pl.Series("window_uid", uids, dtype=pl.String), *quantiles]).with_columns(
            pl.lit(0, dtype=pl.Int32).alias("generation"),
            pl.col("events").alias("revision"),
            (pl.col("window_start") + self._length).alias("window_end"),
            (pl.col("latency_sum_us") / pl.col("latency_count")).fill_nan(None).alias("latency_mean_us"),
            (pl.col("confidence_sum_ppm") / pl.col("confidence_count") / 1_000_000).fill_nan(None).alias("confidence_mean"),
        )
        return full[self._schema.names()]


def _starts(sequences: dict[str, list[int]], phase: str) -> list[int]:
    """Gives the starts of windows that have runs of this phase, ascending."""
    parts = (bucket.split("/") for bucket in sequences)
    return sorted(int(start) for start, found in parts if found == phase)


def _part(name: str | None) -> str:
    """Gives a name as a part of an id in which no name at all and an empty one differ."""
    return "" if name is None else f"={name}"
