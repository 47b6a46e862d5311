"""A verification from beginning to end: what is read, in which order, and what is held against what.

Outputs are read first and inputs after them, so everything on the outputs comes from input that is read. What must have an end is bounded by the
offsets that the pipeline committed behind its snapshots: then every sink has taken it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

import fastavro

from governance.key_ring import KeyUse
from governance.policy import Policy
from schemas import avro
from schemas.errors import RetryableError, SchemaUnknown
from schemas.registry import SchemaRegistry
from schemas.topics import INPUTS, OUTPUTS
from streams.config import Config, load_hash_key, load_key_ring
from streams.vectors import backend_of
from streams.verify.decisions_check import check_decisions
from streams.verify.events_check import EventsCheck, Span
from streams.verify.findings import Kind, Report
from streams.verify.masks_check import check_masks, presidio
from streams.verify.plain.event import Partition, Place, Record
from streams.verify.plain.fates import Facts, Judged, Times, Walk
from streams.verify.plain.ids import user_hash
from streams.verify.plain.points import Choice
from streams.verify.plain.read import Bounds, read
from streams.verify.plain.shapes import shape_of
from streams.verify.plain.windows import Counted
from streams.verify.points_check import check_points
from streams.verify.published import Decoder, Published, Sample, collect
from streams.verify.recorded import Recorded
from streams.verify.tables import Reach, check_tables, named_place
from streams.verify.topics import Topics
from streams.verify.windows_check import Extent, check_windows, counted, newest_windows

#: Where nothing says how far back a window or an id reaches, reading begins at the oldest record.
_OLDEST: Final = 0


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked for.

    Attributes:
        from_ms: Records written at or after it, by Kafka's times; None: all that the pipeline has read.
        to_ms: Records written before it; None: all.
        is_complete: Whether the pipeline has read all that is there: then all of it must have an end.
        masks: Events whose texts are masked again.
        seed: Chooses them.
        open_ms: A transaction that is open for longer hangs.
        now_ms: The time.
    """

    from_ms: int | None = None
    to_ms: int | None = None
    is_complete: bool = False
    masks: int = 200
    seed: int = 1
    open_ms: int = 75_000
    now_ms: int = 0


@dataclass(slots=True)
class Deployment:
    """What is verified.

    Attributes:
        erased: Hashes of erased persons.
        tell: Told of progress.
    """

    config: Config
    policy: Policy
    registry: SchemaRegistry
    recorded: Recorded
    erased: frozenset[str] = frozenset()
    tell: Callable[[str], None] = lambda _line: None
    hashes: Callable[[str], frozenset[str]] = field(init=False)

    def __post_init__(self) -> None:
        ring, key = load_key_ring(self.config), load_hash_key(self.config)
        keys = {key: "u_"} | {one.secret: f"u_{one.kid}_" for one in ring.of(KeyUse.HASH)}
        handling = self.policy.pii.user_id.value

        @cache
        def hashes(user: str) -> frozenset[str]:
            return frozenset({user_hash(user, secret, prefix) for secret, prefix in keys.items()} | ({user} if handling == "keep" else set()))

        self.hashes = hashes

    @property
    def topics(self) -> Topics:
        """The cluster."""
        kafka = self.config.require_kafka()
        return Topics(kafka.client_settings(), kafka.topic_prefix, self.config.pipeline.name)

    @property
    def times(self) -> Times:
        """Window, lateness and time to live."""
        pipeline = self.config.pipeline
        return Times(pipeline.window_s * 1000, pipeline.lateness_s * 1000, pipeline.dedup_ttl_s * 1000)


@dataclass(frozen=True, slots=True)
class _Extents:
    """Offsets by input partition.

    Attributes:
        begin: From where is read.
        spans: What is compared.
        end: Up to where is read.
        outputs: From where output topics are read, and to where.
    """

    begin: Mapping[Partition, int]
    spans: Mapping[Partition, Span]
    end: Mapping[Partition, int]

    def is_settled(self, place: Place) -> bool:
        """Tells whether a record lies before what must have an end."""
        span = self.spans.get(place[:2])
        return span is not None and place[2] < span.end


def verify(deployment: Deployment, wish: Wish) -> Report:
    """Gives what a verification found."""
    report, topics = Report(), deployment.topics
    inputs = topics.partitions(deployment.config.require_kafka().inputs)
    outputs = topics.partitions(tuple(OUTPUTS))
    _transactions(topics, [*inputs, *outputs], wish, report)
    committed = topics.committed(inputs)
    run_up_ms = _run_up_ms(deployment)
    deployment.tell("reading the output topics")
    published = _published(deployment, topics, outputs, wish, run_up_ms, report)
    extents = _extents(topics, inputs, committed, deployment, published, wish, run_up_ms, report)
    deployment.tell("reading the input topics")
    records = {stored.record.place: stored.record for stored in topics.records(extents.begin, extents.end)}
    judged, walk = _judged(deployment, records, published, extents, report)
    _events(deployment, records, judged, published, extents, report)
    settled_windows = _windows(deployment, judged, walk, published, extents, wish, report)
    report.counts |= check_decisions(published, deployment.recorded.policies, extents.is_settled, report.findings)
    _masks(deployment, judged, published, wish, report)
    _tables(deployment, published, extents, settled_windows, wish, report)
    _points(deployment, published, extents, wish, report)
    return report


def _run_up_ms(deployment: Deployment) -> int:
    times = deployment.times
    return times.ttl + times.window + times.lateness + deployment.config.limits.future_skew_ms_max


def _transactions(topics: Topics, partitions: list[Partition], wish: Wish, report: Report) -> None:
    """Finds transactions that hold readers up for longer than any of ours may be open."""
    for (topic, partition), one in topics.open_transactions(partitions, wish.now_ms).items():
        if one.age_ms is not None and one.age_ms <= wish.open_ms:
            report.notes.append(f"{topic}[{partition}]: a transaction is open at offset {one.offset}; what lies behind it was not read")
            continue
        words = f"an open transaction keeps committed readers from {one.until - one.offset} offsets behind it"
        report.findings.add(Kind.HANGING, topic, words, (topic, partition, one.offset))


def _published(deployment: Deployment, topics: Topics, outputs: list[Partition], wish: Wish, run_up_ms: int, report: Report) -> Published:
    bounds = topics.bounds(outputs)
    begin = {place: low for place, (low, _) in bounds.items()}
    if wish.from_ms is not None:
        begin = topics.at(outputs, wish.from_ms - run_up_ms)
    end = {place: high for place, (_, high) in bounds.items()}
    qdrant = deployment.config.qdrant
    choice = None if qdrant is None else Choice(qdrant.texts, qdrant.text_chars_min, qdrant.text_chars_max)
    found = Published(Sample(wish.masks, wish.seed), choice)
    collect(topics.records(begin, end), Decoder(deployment.registry), found, report.findings)
    report.counts |= {f"records of {topic}": len(rows) for topic, rows in found.rows.items()}
    return found


def _extents(
    topics: Topics,
    inputs: list[Partition],
    committed: Mapping[Partition, int],
    deployment: Deployment,
    published: Published,
    wish: Wish,
    run_up_ms: int,
    report: Report,
) -> _Extents:
    bounds = topics.bounds(inputs)
    recorded = deployment.recorded
    first = recorded.begin or {}
    if recorded.begin is None:
        report.notes.append("recovery.dir holds no begin record: it is taken that the pipeline began at the oldest record of each partition")
    begin = {}
    for place, (low, _) in bounds.items():
        begin[place] = max(low, first.get(place, _OLDEST))
        if low > first.get(place, low):
            report.notes.append(f"{place[0]}[{place[1]}]: retention has taken offsets {first[place]} to {low - 1}; they are not verified")
    end = {place: high for place, (_, high) in bounds.items()}
    must = dict(end) if wish.is_complete else _reached(committed, published, recorded, begin)
    if not wish.is_complete and not must:
        report.unverified.append("the pipeline has committed no offsets and has not stopped in order: nothing says how far it must have come")
    compared = dict(begin)
    to = dict(end)
    if wish.from_ms is not None:
        compared = {place: max(begin[place], offset) for place, offset in topics.at(inputs, wish.from_ms).items()}
        begin = {place: max(begin[place], offset) for place, offset in topics.at(inputs, wish.from_ms - run_up_ms).items()}
    if wish.to_ms is not None:
        to = topics.at(inputs, wish.to_ms)
    spans = {place: Span(compared[place], min(must.get(place, compared[place]), end[place]), to[place]) for place in inputs}
    return _Extents(begin, spans, end)


def _reached(committed: Mapping[Partition, int], published: Published, recorded: Recorded, begin: Mapping[Partition, int]) -> dict[Partition, int]:
    """Gives how far the pipeline must have come: what it committed, and after an orderly stop what it published."""
    reached = dict(committed)
    if recorded.is_clean:
        for topic, partition, offset in (*published.events, *published.letters):
            reached[topic, partition] = max(offset + 1, reached.get((topic, partition), begin.get((topic, partition), 0)))
    return reached


def _judged(
    deployment: Deployment, records: Mapping[Place, Record], published: Published, extents: _Extents, report: Report
) -> tuple[dict[Place, Judged], Walk]:
    limits = deployment.config.limits
    bounds = Bounds(limits.record_bytes_max, limits.nesting_depth_max, limits.future_skew_ms_max)
    shapes = {topic: shape_of(topic, json.loads(avro.text(INPUTS[topic].schema))["fields"]) for topic in {place[0] for place in extents.begin}}
    writer = _writers(deployment.registry)
    facts = Facts(
        deployment.recorded.floors,
        {place: rows[0].values["row_watermark"] for place, rows in published.events.items()},
        {place: rows[0].values["code"] for place, rows in published.letters.items()},
        lambda user: bool(deployment.erased) and not deployment.erased.isdisjoint(deployment.hashes(user)),
    )
    walk, judged = Walk(deployment.times, facts), dict[Place, Judged]()
    by_partition: dict[Partition, list[Record]] = {place: [] for place in extents.begin}
    for place in sorted(records):
        by_partition[place[:2]].append(records[place])
    for partition, its in by_partition.items():

        def readings(its: list[Record] = its, topic: str = partition[0]) -> Iterator[tuple[Place, Any]]:
            for record in its:
                yield record.place, read(record, shapes[topic], bounds, writer)

        for one in walk.partition(partition, readings()):
            judged[one.place] = one
    report.counts["records of the input"] = len(records)
    report.counts["watermarks adopted as published"] = walk.raised
    return judged, walk


def _writers(registry: SchemaRegistry) -> Callable[[int], Any]:
    @cache
    def writer(schema_id: int) -> Any:
        try:
            return fastavro.parse_schema(json.loads(registry.schema(schema_id)))
        except (SchemaUnknown, ValueError, fastavro.schema.SchemaParseException, fastavro.schema.UnknownType):
            return None

    return writer


def _events(
    deployment: Deployment,
    records: Mapping[Place, Record],
    judged: Mapping[Place, Judged],
    published: Published,
    extents: _Extents,
    report: Report,
) -> None:
    check = EventsCheck(published, extents.spans, report.findings, deployment.hashes)
    for place, one in judged.items():
        check.take(records[place], one)
    check.strangers(set(records))
    report.accounts = check.accounts
    report.counts |= {"events and dead letters compared": check.compared, "late events": check.late, "released events": published.released}


def _windows(
    deployment: Deployment,
    judged: Mapping[Place, Judged],
    walk: Walk,
    published: Published,
    extents: _Extents,
    wish: Wish,
    report: Report,
) -> frozenset[str]:
    """Compares windows; gives the ids of those that can change no more as long as nothing is written."""
    passed = [(one, event) for one in judged.values() if (event := counted(one, published)) is not None]
    ends = {place: span.end for place, span in extents.spans.items()}
    # A window that begins before this may hold events that were not read.
    from_ms = None
    if wish.from_ms is not None:
        from_ms = wish.from_ms
    extent = Extent(deployment.times.window, from_ms, wish.to_ms, _closed_ms(walk, published, extents, wish, deployment.recorded), ends)
    report.counts |= check_windows(passed, published, extent, report.findings)
    if extent.closed_ms is None:
        report.notes.append("no watermark says which windows must have been closed; windows that are there were compared")
    moving = _moving(passed, ends, deployment.times.window)
    return frozenset(uid for uid, row in newest_windows(published).items() if row.values["window_start"] not in moving)


def _moving(passed: list[tuple[Judged, Counted]], ends: Mapping[Partition, int], window_ms: int) -> set[int]:
    return {one.time_ms // window_ms * window_ms for judged, one in passed if judged.place[2] >= ends[judged.place[:2]]}


def _closed_ms(walk: Walk, published: Published, extents: _Extents, wish: Wish, recorded: Recorded) -> int | None:
    """Gives the time up to which windows must have been closed.

    While the pipeline runs, the merged watermark that the log gives for what was committed. When it is done, also the latest window that it closed:
    one merged watermark closes the windows of all agents.
    """
    is_still = wish.is_complete or (recorded.is_clean and all(span.end >= extents.end[place] for place, span in extents.spans.items()))
    times = [row.values["window_end"] for row in published.rows["agent_metrics"].values()] if is_still else []
    if is_still and all(place in walk.marks for place in extents.begin):
        times.append(min(walk.marks[place] for place in extents.begin))
    return max(times, default=None)


def _masks(deployment: Deployment, judged: Mapping[Place, Judged], published: Published, wish: Wish, report: Report) -> None:
    if not wish.masks:
        report.notes.append("--masks 0: no text was searched a second time")
        return
    deployment.tell(f"searching the texts of {len(published.sample.texts)} events by plain Presidio")
    events = {place: one.event for place in published.sample.texts if (one := judged.get(place)) is not None and one.event is not None}
    pii = deployment.policy.pii
    report.counts |= check_masks(events, published, pii, presidio(pii), report.findings)
    report.notes.append(f"masks were searched in a sample of {len(events)} events, chosen by seed {wish.seed}")


def _of_erased(deployment: Deployment, published: Published) -> frozenset[str]:
    """Gives the ids of events of erased persons."""
    every = (row.values for rows in published.events.values() for row in rows)
    return frozenset(values["event_uid"] for values in every if values["user_id"] in deployment.erased)


def _points(deployment: Deployment, published: Published, extents: _Extents, wish: Wish, report: Report) -> None:
    qdrant = deployment.config.qdrant
    if qdrant is None:
        report.notes.append("no vector store is configured; points were not looked for")
        return
    is_whole = wish.is_complete and wish.from_ms is None
    try:
        erased = _of_erased(deployment, published)
        told = check_points(backend_of(qdrant), qdrant.collection, published, extents.is_settled, erased, is_whole, report.findings)
    except RetryableError as error:
        report.unverified.append(f"collection {qdrant.collection}: {error}")
    else:
        report.counts |= told


def _tables(deployment: Deployment, published: Published, extents: _Extents, settled_windows: frozenset[str], wish: Wish, report: Report) -> None:
    timescale = deployment.config.timescale
    if timescale is None:
        report.notes.append("no database is configured; tables were not compared")
        return
    by_uid = {row.values["event_uid"]: place for place, rows in published.events.items() for row in rows[:1]}

    def is_settled(topic: str, values: Mapping[str, Any]) -> bool:
        if wish.is_complete:
            return True
        if topic == "agent_metrics":
            return values["window_uid"] in settled_windows
        if named := named_place(values):
            return extents.is_settled(named[0])
        about = by_uid.get(values.get("event_uid") or "")
        return about is not None and extents.is_settled(about)

    deployment.tell("reading the tables")
    reach = Reach(wish.from_ms, wish.to_ms, deployment.erased, _of_erased(deployment, published), is_settled)
    report.counts |= check_tables(timescale.dsn.get_secret_value(), published, reach, report.findings)
