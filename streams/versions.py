"""The policies that judge in one run: which one a record gets, and how another one takes over while events flow.

A policy takes over at the border of a batch: for each partition, at the first row that is polled after it was wanted. That offset is a recorded fact
(``streams.policy_marks``) before any row behind it is judged. A record that is read again after a crash is therefore judged by the policy that judged
it before; rows that an earlier life may have judged stay with its policy, up to where the topics ended when this life began. Rows carry the digest
of their policy in a column, and the steps on a lane judge by it.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import polars as pl

from governance.policy import Policy
from operators.audit import TOPIC
from operators.contract import NO_DEAD, BatchStep, KeyedStep, Outcome, Step
from streams.audit_start import policies_took_over
from streams.batch import Partition
from streams.by_policy import STAMP, by_policy, runs
from streams.log import log
from streams.policy_file import PolicyFile
from streams.policy_marks import PolicyMark, PolicyMarks
from streams.telemetry import Telemetry
from streams.topology import Shared, Topology

#: After so many batches without a row for it, what a policy keeps ready beside the source is let go; it is built again where a row needs it.
_IDLE_BATCHES_MAX: Final = 256


@dataclass(slots=True)
class Built:
    """What was made of one policy.

    Attributes:
        topology: The pipeline under it.
        close: Ends the processes of its front.
    """

    topology: Topology
    close: Callable[[], None] = lambda: None


@dataclass(frozen=True, slots=True)
class _Behind:
    """What a policy made behind the exchange: steps by name, and the second exchange."""

    steps: Mapping[str, Step]
    shared: Shared | None


@dataclass(slots=True)
class _History:
    """Which policy judges which offsets.

    Attributes:
        base: Judges what no mark speaks of.
        marks: By partition, offset and digest, in order.
        floors: By partition, the offset before which an earlier life may have judged rows.
    """

    base: str
    marks: dict[Partition, list[tuple[int, str]]] = field(default_factory=dict)
    floors: Mapping[Partition, int] = field(default_factory=dict)

    def newest(self, partition: Partition) -> str:
        marks = self.marks.get(partition)
        return marks[-1][1] if marks else self.base

    def add(self, mark: PolicyMark) -> None:
        self.marks.setdefault((mark.topic, mark.partition), []).append((mark.offset, mark.digest))

    def spans(self, partition: Partition, first: int, last: int) -> Iterator[tuple[int, int, str]]:
        """Gives the spans of offsets in [first, last] and their policies: start, end (behind its last), digest. Spans may be empty of rows."""
        start, digest = first, self.base
        for offset, after in self.marks.get(partition, ()):
            if offset > last:
                break
            if offset > start:
                yield start, offset, digest
                start = offset
            digest = after
        yield start, last + 1, digest


class PolicyVersions:
    """All policies of a run, and the front step that gives each row to its own.

    Args:
        file: The policy that is to judge new records.
        build: Makes the pipeline under a policy; takes seconds, and is called beside the running one.
        policy_steps: Names of the steps on a lane that are made from the policy.
        telemetry: Is told the time of every step.
    """

    name: Final = "front"

    def __init__(self, file: PolicyFile, build: Callable[[Policy], Built], policy_steps: Collection[str], telemetry: Telemetry) -> None:
        self._build = build
        self._policy_steps = frozenset(policy_steps)
        self._telemetry = telemetry
        self._lock = threading.Lock()
        self._files: dict[str, PolicyFile] = {}
        self._fronts: dict[str, Built] = {}
        self._judges: dict[str, _Behind] = {}
        self._idle = Counter[str]()
        #: By partition, the last offset that went through.
        self._reached: dict[Partition, int] = {}
        self._on_built: Callable[[Topology], None] = lambda _topology: None
        self._keep: Callable[[str, str], None] = lambda _digest, _text: None
        self._marks: PolicyMarks | None = None
        self._wanted = self.add(file)
        self._history = _History(self._wanted)
        self._template = self.built(self._wanted).topology

    # -- before the first record --------------------------------------------------------------------------------------------------------

    def add(self, file: PolicyFile, digest: str | None = None) -> str:
        """Takes a policy in, under its digest or under the one that an earlier life knew it by; gives that."""
        known = digest or file.policy.digest
        with self._lock:
            self._files.setdefault(known, file)
        return known

    @property
    def topology(self) -> Topology:
        """The pipeline in which each row is judged by its own policy."""
        keyed = tuple(self._versioned(step) for step in self._template.keyed)
        shared = self._template.shared
        if shared is not None:
            steps = tuple(_keyed(self._versioned(step)) for step in shared.steps)
            shared = replace(shared, spread=self._spread, schema=pl.Schema({**shared.schema, STAMP: pl.String()}), steps=steps)
        return replace(self._template, front=(self,), keyed=keyed, shared=shared)

    def _spread(self, rows: pl.DataFrame) -> pl.DataFrame | None:
        """Gives the rows of the second exchange, each with the stamp of the event that it comes from."""
        found = []
        for digest, run in runs(rows):
            shared = self._behind(digest).shared
            spread = None if shared is None else shared.spread(run)
            if spread is not None:
                found.append(spread.with_columns(pl.lit(self._wanted if digest is None else digest).alias(STAMP)))
        return pl.concat(found) if found else None

    def _versioned(self, step: Step) -> Step:
        return by_policy(step, lambda digest: self._step(step.name, digest)) if step.name in self._policy_steps else step

    def start(
        self,
        marks: PolicyMarks,
        base: str,
        floors: Mapping[Partition, int],
        keep: Callable[[str, str], None],
        on_built: Callable[[Topology], None],
    ) -> None:
        """Says what earlier lives decided; before the first batch.

        Args:
            marks: The recorded marks; new ones are recorded there.
            base: Digest of the policy that judges what no mark speaks of.
            floors: By partition, the offset before which rows may have been judged already; empty after an orderly stop.
            keep: Makes a policy's text durable under its digest.
            on_built: Is told of every pipeline that is built, before its first batch.
        """
        history = _History(base, floors=floors)
        for mark in marks.marks:
            history.add(mark)
        self._keep, self._on_built = keep, on_built
        for built in self._fronts.values():
            on_built(built.topology)
        self._history = history
        self._marks = marks

    @property
    def started(self) -> bool:
        """Whether ``start`` was called: another policy may be wanted from then on."""
        return self._marks is not None

    # -- while it runs ------------------------------------------------------------------------------------------------------------------

    @property
    def wanted(self) -> PolicyFile:
        """The policy that judges new records."""
        return self._files[self._wanted]

    def want(self, file: PolicyFile) -> None:
        """Lets another policy judge new records, once it is built and kept. Raises what its building raises; then nothing has changed."""
        digest = self.add(file)
        self.built(digest)
        self._keep(digest, file.text)
        self._wanted = digest

    def built(self, digest: str) -> Built:
        """Gives what was made of a policy, made now where it is not there."""
        with self._lock:
            there = self._fronts.get(digest)
        if there is not None:
            return there
        made = self._build(self._files[digest].policy)
        self._on_built(made.topology)
        with self._lock:
            kept = self._fronts.setdefault(digest, made)
            self._judges[digest] = _Behind({step.name: step for step in (*kept.topology.keyed, *kept.topology.shared_steps)}, kept.topology.shared)
        if kept is not made:
            made.close()
        return kept

    def _step(self, name: str, digest: str | None) -> Step:
        return self._behind(digest).steps[name]

    def _behind(self, digest: str | None) -> _Behind:
        """Gives what judges behind the exchange: kept, for it is small, and rows may be on their way there."""
        chosen = self._wanted if digest is None else digest
        with self._lock:
            behind = self._judges.get(chosen)
        if behind is None:
            self.built(chosen)
            behind = self._judges[chosen]
        return behind

    def __call__(self, batch: pl.DataFrame) -> Outcome:
        """Maps one batch of RAW through the front steps, each row by its own policy; adds its digest. One thread at a time."""
        wanted = self._wanted
        if not batch.height:
            return self._through(wanted, batch)
        outcomes = [self._through(digest, rows) for digest, rows in self._parts(batch, wanted)]
        outputs = self._took_over(batch)
        if len(outcomes) == 1:
            return replace(outcomes[0], outputs=outputs) if outputs else outcomes[0]
        facts = Counter[tuple[str, str]]()
        for outcome in outcomes:
            facts.update(outcome.facts)
        return Outcome(pl.concat([one.batch for one in outcomes]), outputs, pl.concat([one.dead for one in outcomes]), facts)

    def _took_over(self, batch: pl.DataFrame) -> Mapping[str, pl.DataFrame]:
        """Gives the audit entries of the policies whose first rows are in the batch; by the marks, so a replay gives the same ones."""
        marks = []
        history = self._history
        for topic, partition, last in batch.group_by("topic", "partition").agg(pl.col("offset").max()).iter_rows():
            before, self._reached[topic, partition] = self._reached.get((topic, partition)), last
            if (topic, partition) not in history.marks:
                continue
            rows = batch.filter((pl.col("topic") == topic) & (pl.col("partition") == partition)).select("offset", "kafka_time").sort("offset")
            since = rows["offset"][0] - 1 if before is None else before
            for offset, digest in history.marks[topic, partition]:
                if since < offset <= last:
                    at_ms = rows.filter(pl.col("offset") >= offset)["kafka_time"][0]
                    marks.append((PolicyMark(topic, partition, offset, digest), self._files[digest].policy, at_ms or 0))
        return {TOPIC: policies_took_over(self._template.name, marks)} if marks else {}

    def _parts(self, batch: pl.DataFrame, wanted: str) -> list[tuple[str, pl.DataFrame]]:
        """Gives the rows of each policy; a partition's rows stay in their order over the parts."""
        history = self._history
        bounds = batch.group_by("topic", "partition").agg(pl.col("offset").min().alias("first"), pl.col("offset").max().alias("last"))
        places = [((topic, partition), first, last) for topic, partition, first, last in bounds.sort("topic", "partition").iter_rows()]
        changes = [
            PolicyMark(*partition, max(first, history.floors.get(partition, 0)), wanted)
            for partition, first, _ in places
            if history.newest(partition) != wanted
        ]
        if changes:
            if self._marks is not None:
                self._marks.record(changes)
            for mark in changes:
                history.add(mark)
                judging = self._files[mark.digest].policy
                log().info("policy.judges", topic=mark.topic, partition=mark.partition, offset=mark.offset, policy_version=judging.version)
        spans = [(number, partition, span) for partition, first, last in places for number, span in enumerate(history.spans(partition, first, last))]
        digests = {digest for _, _, (_, _, digest) in spans}
        self._rest(digests | {wanted})
        if len(digests) == 1:
            return [(next(iter(digests)), batch)]
        # Spans by their number within the partition, so that a policy that comes twice does not turn the order of a partition round.
        keys = sorted({(number, digest) for number, _, (_, _, digest) in spans})
        parts = []
        for key in keys:
            of_key = [
                (pl.col("topic") == topic) & (pl.col("partition") == partition) & pl.col("offset").is_between(start, end, closed="left")
                for number, (topic, partition), (start, end, digest) in spans
                if (number, digest) == key
            ]
            rows = batch.filter(pl.any_horizontal(of_key))
            if rows.height:
                parts.append((key[1], rows))
        return parts

    def _through(self, digest: str, raw: pl.DataFrame) -> Outcome:
        rows, dead, facts = raw, [NO_DEAD], Counter[tuple[str, str]]()
        for step in self.built(digest).topology.front:
            outcome = self._timed(step, rows)
            assert rows.height == outcome.batch.height + outcome.dead.height, f"step {step.name} lost or made rows"
            rows = outcome.batch
            dead.append(outcome.dead)
            facts.update(outcome.facts)
        return Outcome(rows.with_columns(pl.lit(digest).alias(STAMP)), dead=pl.concat(dead), facts=facts)

    def _timed(self, step: BatchStep, rows: pl.DataFrame) -> Outcome:
        if step.name == self.name:  # its processes tell their own times, and the intake that of all
            return step(rows)
        with self._telemetry.stage(step.name, rows.height):
            return step(rows)

    def _rest(self, used: Collection[str]) -> None:
        """Lets go what no row has needed for long."""
        for digest in set(self._fronts) - set(used):
            self._idle[digest] += 1
            if self._idle[digest] > _IDLE_BATCHES_MAX:
                with self._lock:
                    gone = self._fronts.pop(digest)
                gone.close()
        for digest in used:
            self._idle[digest] = 0

    def close(self) -> None:
        """Ends what was built; may be called twice."""
        for built in self._fronts.values():
            built.close()


def _keyed(step: Step) -> KeyedStep:
    assert isinstance(step, KeyedStep), f"step {step.name} behind the second exchange has no state"
    return step
