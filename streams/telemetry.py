"""What the shell counts: the catalogue of metrics, and the calls by which the engine fills it.

Labels are bounded: a value that its set does not hold, or that comes after the set is full, is counted as ``other``. No method takes a
payload value, an id or a text.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

import polars as pl
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.registry import Collector

from models.spec import MODELS
from schemas.errors import record_error_codes
from schemas.topics import INPUTS, OUTPUTS

OTHER: Final = "other"

_FAST_S: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_PARTS: Final = (0.0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 0.6, 1.0)
_ROWS: Final = (1, 4, 16, 64, 256, 1_024, 2_048, 4_096, 8_192, 16_384, 65_536)


class Kind(StrEnum):
    """Kind of a metric."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """One row of the catalogue.

    Attributes:
        name: Name without the prefix ``headrace_``.
        kind: Counter, gauge or histogram.
        doc: What it counts, in one sentence; the help text.
        labels: Label names.
        buckets: Upper bounds of a histogram's buckets.
    """

    name: str
    kind: Kind
    doc: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = _FAST_S


CATALOGUE: Final[tuple[Metric, ...]] = (
    Metric("events_total", Kind.COUNTER, "Records by input topic and outcome: polled, passed, dead, filtered.", ("topic", "outcome")),
    Metric(
        "balance_records",
        Kind.GAUGE,
        "Records since the pipeline began that entered a lane and that left it, over restarts, by side: in, passed, dead, filtered.",
        ("topic", "lane", "side"),
    ),
    Metric("unaccounted_records", Kind.GAUGE, "Records that entered a lane and did not leave it; must be 0.", ("topic", "lane")),
    Metric("stage_seconds", Kind.HISTOGRAM, "Time one step took for one batch.", ("stage",)),
    Metric("stage_rows_total", Kind.COUNTER, "Rows a step was given.", ("stage",)),
    Metric("batch_rows", Kind.HISTOGRAM, "Rows of one polled batch.", buckets=_ROWS),
    Metric("consumer_lag_records", Kind.GAUGE, "Records in a partition that were not polled yet.", ("topic", "partition")),
    Metric("watermark_delay_seconds", Kind.GAUGE, "Wall time less the watermark of a partition.", ("topic", "partition")),
    Metric("sink_seconds", Kind.HISTOGRAM, "Time one write to a sink took until it was acknowledged.", ("sink",)),
    Metric(
        "sink_rows_total",
        Kind.COUNTER,
        "Rows a sink wrote, skipped as there before, or left out by its rule.",
        ("sink", "topic", "result"),
    ),
    Metric("sink_retries_total", Kind.COUNTER, "Writes that a sink that was away or slow did not take.", ("sink",)),
    Metric("dead_letters_total", Kind.COUNTER, "Records that could not go on.", ("code",)),
    Metric("filtered_total", Kind.COUNTER, "Records left out on purpose.", ("code",)),
    Metric("masked_entities_total", Kind.COUNTER, "Pieces of personal data masked, by entity.", ("entity",)),
    Metric("masked_recognisers_total", Kind.COUNTER, "Pieces of personal data masked, by the recogniser that found them.", ("recogniser",)),
    Metric("verdicts_total", Kind.COUNTER, "Decisions, by verdict.", ("verdict",)),
    Metric("actions_total", Kind.COUNTER, "Decisions, by the action taken.", ("action",)),
    Metric("rule_hits_total", Kind.COUNTER, "Hits of guardrail rules.", ("rule",)),
    Metric("late_events_total", Kind.COUNTER, "Events too late for their window, by kind.", ("kind",)),
    Metric("degraded_events_total", Kind.COUNTER, "Events that did without a model that was away, as policy allows, by model.", ("model",)),
    Metric("model_seconds", Kind.HISTOGRAM, "Time one batch of texts took at a model until it was answered or failed.", ("model",)),
    Metric("model_texts_total", Kind.COUNTER, "Texts by model and how they were answered: ok, cached, or the kind of failure.", ("model", "answer")),
    Metric("model_retries_total", Kind.COUNTER, "Batches of texts that were sent again.", ("model",)),
    Metric("model_breaker_open", Kind.GAUGE, "1 while a model is not asked because its last requests failed.", ("model",)),
    Metric("model_candidate_texts_total", Kind.COUNTER, "Texts of a version that is tried: answered, compared, failed, dropped.", ("model", "trial")),
    Metric("model_difference", Kind.HISTOGRAM, "How far a shadow's answer is from the stable one: 0 equal, 1 nothing in common.", ("model",), _PARTS),
    Metric("facts_total", Kind.COUNTER, "Facts of steps that have no metric of their own.", ("fact",)),
    Metric("policy_reloads_total", Kind.COUNTER, "New versions of the policy while running: applied, refused.", ("result",)),
    Metric("policy_refused", Kind.GAUGE, "1 while the policy file holds what was refused, and another version judges."),
    Metric("rows_in_flight", Kind.GAUGE, "Rows between source and sinks."),
    Metric("snapshot_seconds", Kind.HISTOGRAM, "Time one lane took to hand its state to a snapshot."),
    Metric("end_to_end_seconds", Kind.HISTOGRAM, "From a record's Kafka timestamp until its outputs were acknowledged."),
)

#: Which metric a step's fact is counted in: fact name -> metric name; the fact's label becomes the metric's one label.
FACTS: Final[Mapping[str, str]] = {
    "masked_entities": "masked_entities_total",
    "masked_recognisers": "masked_recognisers_total",
    "verdicts": "verdicts_total",
    "actions": "actions_total",
    "rule_hits": "rule_hits_total",
    "late_events": "late_events_total",
    "degraded_events": "degraded_events_total",
}

_WORD: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
_NUMBER: Final = re.compile(r"\d{1,6}")
_CLOSED: Final[Mapping[str, frozenset[str]]] = {
    "topic": frozenset({*INPUTS, *OUTPUTS}),
    "outcome": frozenset({"polled", "passed", "dead", "filtered"}),
    "side": frozenset({"in", "passed", "dead", "filtered"}),
    "result": frozenset({"written", "skipped", "not_selected", "empty", "short", "unmasked", "applied", "refused"}),
    "model": frozenset(spec.name for spec in MODELS),
    "answer": frozenset({"ok", "cached", "away", "slow", "refused", "invalid", "open"}),
    "trial": frozenset({"answered", "compared", "failed", "dropped"}),
    "verdict": frozenset({"allow", "warn", "modify", "deny", "escalate"}),
}
#: Sets that policies, operators and clusters fill: pattern, and how many values at most.
_OPEN: Final[Mapping[str, tuple[re.Pattern[str], int]]] = {
    "stage": (_WORD, 64),
    "sink": (_WORD, 16),
    "code": (_WORD, 48),
    "entity": (_WORD, 96),
    "recogniser": (_WORD, 128),
    "action": (_WORD, 16),
    "rule": (_WORD, 256),
    "kind": (_WORD, 16),
    "fact": (_WORD, 32),
    "partition": (_NUMBER, 1_024),
    "lane": (_NUMBER, 256),
}


@dataclass(frozen=True, slots=True)
class Totals:
    """Every counter and gauge at one moment, by label values; histograms as (count, sum).

    Attributes:
        values: Metric name -> label values in the catalogue's order -> value.
        histograms: Metric name -> label values -> (observations, their sum).
    """

    values: Mapping[str, Mapping[tuple[str, ...], float]] = field(default_factory=dict)
    histograms: Mapping[str, Mapping[tuple[str, ...], tuple[int, float]]] = field(default_factory=dict)

    def by(self, metric: str, **labels: str) -> int:
        """Gives the sum of a metric over the label values that match, e.g. ``by("events_total", outcome="dead")``."""
        names = _BY_NAME[metric].labels
        wanted = [(names.index(name), value) for name, value in labels.items()]
        return round(sum(v for key, v in self.values.get(metric, {}).items() if all(key[at] == value for at, value in wanted)))

    def each(self, metric: str, label: str) -> dict[str, int]:
        """Gives the sums of a metric by one label."""
        at = _BY_NAME[metric].labels.index(label)
        sums: dict[str, int] = {}
        for key, value in self.values.get(metric, {}).items():
            sums[key[at]] = sums.get(key[at], 0) + round(value)
        return sums


_BY_NAME: Final[Mapping[str, Metric]] = {metric.name: metric for metric in CATALOGUE}


class Telemetry:
    """Counts what the engine reports. Every method may be called from any thread.

    Args:
        clock: Seconds that only grow; tells a stall.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.registry = CollectorRegistry(auto_describe=False)
        self._lock = threading.Lock()
        self._seen: dict[str, set[str]] = {label: set() for label in _OPEN}
        self._seen["code"].update(record_error_codes())
        self._made: dict[str, Counter | Gauge | Histogram] = {metric.name: _made(metric, self.registry) for metric in CATALOGUE}
        self._acknowledged_at = self._busy_since = self._clock()
        self._rows_in_flight = 0
        self._sinks_away: set[str] = set()
        self._source_assigned = False

    # -- what the engine calls ----------------------------------------------------------------------------------------------------------

    def batch_polled(self, rows: int) -> None:
        """One batch came from the source."""
        self._observe("batch_rows", rows)

    def outcome(self, topic: str, outcome: str, rows: int) -> None:
        """Records of an input topic were polled, passed, dead or filtered."""
        self._count("events_total", rows, topic=topic, outcome=outcome)

    def balance(self, lane: int, sums: Mapping[tuple[str, str], int], unaccounted: Mapping[str, int]) -> None:
        """What entered and left a lane since the pipeline began, by topic and side, and by topic what is missing."""
        for (topic, side), records in sums.items():
            self._set("balance_records", records, topic=topic, lane=str(lane), side=side)
        for topic, records in unaccounted.items():
            self._set("unaccounted_records", records, topic=topic, lane=str(lane))

    @contextmanager
    def stage(self, name: str, rows: int = 0) -> Iterator[None]:
        """Times the body as one step; a body that raises is not counted."""
        begin = time.perf_counter()
        yield
        self.stage_done(name, time.perf_counter() - begin, rows)

    def stage_done(self, name: str, seconds: float, rows: int) -> None:
        """A step has handled a batch of so many rows."""
        self._observe("stage_seconds", seconds, stage=name)
        self._count("stage_rows_total", rows, stage=name)

    def outcome_facts(self, facts: Mapping[tuple[str, str], int]) -> None:
        """A step reported facts; one whose name has no metric is counted in ``facts_total`` by its name alone."""
        for (fact, label), count in facts.items():
            metric = FACTS.get(fact)
            if metric is None:
                self._count("facts_total", count, fact=fact)
            else:
                self._count(metric, count, **{_BY_NAME[metric].labels[0]: label})

    def dead(self, frame: pl.DataFrame) -> None:
        """Counts rows of ``schemas.events.DEAD``: dead letters and what was filtered, by topic and code."""
        if frame.is_empty():
            return
        for topic, disposition, code, rows in frame.group_by("topic", "disposition", "code").len().iter_rows():
            self._count("events_total", rows, topic=topic, outcome=disposition)
            self._count("filtered_total" if disposition == "filtered" else "dead_letters_total", rows, code=code)

    def sink_acknowledged(self, sink: str, seconds: float) -> None:
        """A write was acknowledged after so long."""
        self._observe("sink_seconds", seconds, sink=sink)
        with self._lock:
            self._acknowledged_at = self._clock()
            self._sinks_away.discard(sink)

    def sink_written(self, sink: str, topic: str, written: int, skipped: int) -> None:
        """Rows of one topic in an acknowledged write."""
        self._count("sink_rows_total", written, sink=sink, topic=topic, result="written")
        self._count("sink_rows_total", skipped, sink=sink, topic=topic, result="skipped")

    def sink_left_out(self, sink: str, topic: str, reason: str, rows: int) -> None:
        """Rows of one topic that a sink does not hold, by reason."""
        self._count("sink_rows_total", rows, sink=sink, topic=topic, result=reason)

    def sink_retried(self, sink: str) -> None:
        """A sink that is away or slow did not take a write; it will be tried again."""
        self._count("sink_retries_total", 1, sink=sink)
        with self._lock:
            self._sinks_away.add(sink)

    def model_answered(self, model: str, answer: str, texts: int) -> None:
        """Texts were answered, from memory or by the model, or were not."""
        self._count("model_texts_total", texts, model=model, answer=answer)

    def model_took(self, model: str, seconds: float) -> None:
        """A batch of texts came back from a model, answered or not, after so long."""
        self._observe("model_seconds", seconds, model=model)

    def model_retried(self, model: str) -> None:
        """A batch of texts is sent again."""
        self._count("model_retries_total", 1, model=model)

    def model_breaker(self, model: str, is_open: bool) -> None:
        """A model is not asked, or is asked again."""
        self._set("model_breaker_open", int(is_open), model=model)

    def candidate_texts(self, model: str, trial: str, texts: int) -> None:
        """Texts of a version that is tried were answered, compared, not answered, or left out."""
        self._count("model_candidate_texts_total", texts, model=model, trial=trial)

    def candidate_differences(self, model: str, differences: Sequence[float]) -> None:
        """Two versions answered the same texts so differently, each 0 to 1."""
        for difference in differences:
            self._observe("model_difference", difference, model=model)

    def policy_reloaded(self, result: str) -> None:
        """A new version of the policy was applied or refused."""
        self._count("policy_reloads_total", 1, result=result)

    def policy_refused(self, is_refused: bool) -> None:
        """The policy file holds, or no longer holds, what was refused."""
        self._set("policy_refused", int(is_refused))

    def lag(self, topic: str, partition: int, records: int) -> None:
        """So many records of a partition were not polled yet."""
        self._set("consumer_lag_records", records, topic=topic, partition=str(partition))
        with self._lock:
            self._source_assigned = True

    def watermark(self, topic: str, partition: int, delay_s: float) -> None:
        """A partition's watermark is so far behind the wall clock."""
        self._set("watermark_delay_seconds", delay_s, topic=topic, partition=str(partition))

    def rows_in_flight(self, rows: int) -> None:
        """So many rows lie between source and sinks."""
        self._set("rows_in_flight", rows)
        with self._lock:
            if not self._rows_in_flight and rows:
                self._busy_since = self._clock()
            self._rows_in_flight = rows

    def snapshot_taken(self, seconds: float) -> None:
        """A lane handed its state to a snapshot."""
        self._observe("snapshot_seconds", seconds)

    def end_to_end(self, seconds: float) -> None:
        """A record's outputs were acknowledged so long after its Kafka timestamp."""
        self._observe("end_to_end_seconds", max(seconds, 0.0))

    # -- what the pages and the live view call ------------------------------------------------------------------------------------------

    def snapshot(self) -> Totals:
        """Gives all counters, gauges and histogram sums as they stand."""
        values: dict[str, dict[tuple[str, ...], float]] = {}
        histograms: dict[str, dict[tuple[str, ...], tuple[int, float]]] = {}
        for metric in CATALOGUE:
            samples = [sample for family in self._made[metric.name].collect() for sample in family.samples]
            key = [(tuple(sample.labels[name] for name in metric.labels), sample) for sample in samples if "le" not in sample.labels]
            if metric.kind is Kind.HISTOGRAM:
                counts = {at: sample.value for at, sample in key if sample.name.endswith("_count")}
                sums = {at: sample.value for at, sample in key if sample.name.endswith("_sum")}
                histograms[metric.name] = {at: (round(counts[at]), sums[at]) for at in counts}
            else:
                values[metric.name] = {at: sample.value for at, sample in key if not sample.name.endswith("_created")}
        return Totals(values, histograms)

    @property
    def source_assigned(self) -> bool:
        """Whether the source reads: it has told its lag."""
        with self._lock:
            return self._source_assigned

    def sinks_away(self) -> frozenset[str]:
        """Gives the sinks whose last write or opening failed and is being tried again."""
        with self._lock:
            return frozenset(self._sinks_away)

    def stalled_s(self) -> float:
        """Gives how long rows have been in flight without a sink acknowledging any; 0 when none are in flight."""
        with self._lock:
            return self._clock() - max(self._acknowledged_at, self._busy_since) if self._rows_in_flight else 0.0

    # -- inside -------------------------------------------------------------------------------------------------------------------------

    def _bounded(self, label: str, value: str) -> str:
        """Gives the label value, or ``other`` where it is unknown or one too many."""
        closed = _CLOSED.get(label)
        if closed is not None:
            return value if value in closed else OTHER
        pattern, count_max = _OPEN[label]
        with self._lock:
            seen = self._seen[label]
            if value in seen:
                return value
            if len(seen) >= count_max or not isinstance(value, str) or pattern.fullmatch(value) is None:
                return OTHER
            seen.add(value)
            return value

    def _child(self, metric: str, labels: Mapping[str, str]) -> Counter | Gauge | Histogram:
        made = self._made[metric]
        return made.labels(**{name: self._bounded(name, value) for name, value in labels.items()}) if labels else made

    def _count(self, metric: str, count: int, **labels: str) -> None:
        child = self._child(metric, labels)
        assert isinstance(child, Counter)
        child.inc(count)

    def _set(self, metric: str, value: float, **labels: str) -> None:
        child = self._child(metric, labels)
        assert isinstance(child, Gauge)
        child.set(value)

    def _observe(self, metric: str, value: float, **labels: str) -> None:
        child = self._child(metric, labels)
        assert isinstance(child, Histogram)
        child.observe(value)


def _made(metric: Metric, registry: Collector | CollectorRegistry) -> Counter | Gauge | Histogram:
    """Makes the metric of a catalogue row in a registry of our own: the process-wide one belongs to whoever embeds headrace."""
    name = f"headrace_{metric.name}"
    assert isinstance(registry, CollectorRegistry)
    if metric.kind is Kind.COUNTER:
        return Counter(name.removesuffix("_total"), metric.doc, metric.labels, registry=registry)
    if metric.kind is Kind.GAUGE:
        return Gauge(name, metric.doc, metric.labels, registry=registry)
    return Histogram(name, metric.doc, metric.labels, registry=registry, buckets=metric.buckets)
