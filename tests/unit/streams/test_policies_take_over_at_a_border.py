"""A policy takes over between two batches: which one judges a record follows from its coordinates and recorded marks, in every life of the run."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import replace
from io import StringIO
from pathlib import Path

import polars as pl
import pytest

from governance.parse import default_policy
from governance.policy import Policy
from operators.contract import EMPTY_STATE, KeyedStep, Order, Outcome, State, StateSpec
from schemas.errors import FatalError
from schemas.events import RAW
from streams.by_policy import STAMP, KeyedByPolicy, by_policy, runs
from streams.config import Config
from streams.log import configure_logging
from streams.pipeline import POLICY_STEPS, build_topology
from streams.policy_file import PolicyFile, load_policy
from streams.policy_marks import PolicyMark, PolicyMarks
from streams.policy_watch import PolicyWatch
from streams.telemetry import Telemetry
from streams.topology import Shared, Topology
from streams.versions import Built, PolicyVersions

TEXT = "id: {}"


class Telling:
    """A front step that says in a column under which policy it was made."""

    name = "telling"

    def __init__(self, version: str) -> None:
        self.version = version

    def __call__(self, batch: pl.DataFrame) -> Outcome:
        return Outcome(batch.with_columns(pl.lit(self.version).alias("judged_by")))


class Counting:
    """A keyed step whose state counts rows, and which says under which policy each was counted."""

    name = "counting"
    order = Order.LOG_ORDERED
    state_spec = StateSpec(1, pl.Schema({"rows": pl.Int64}), "one row")

    def __init__(self, version: str) -> None:
        self.version = version

    def apply(self, state: State, batch: pl.DataFrame, watermark: int | None) -> tuple[State, Outcome]:
        before = state["all"]["rows"][0] if "all" in state else 0
        counted = batch.with_columns((pl.int_range(pl.len(), dtype=pl.Int64) + before + 1).alias("count"), pl.lit(self.version).alias("counted_by"))
        return {"all": pl.DataFrame({"rows": [before + batch.height]})}, Outcome(counted)


def policy(version: str) -> PolicyFile:
    return PolicyFile(replace(default_policy(), version=version), TEXT.format(version))


def digest(version: str) -> str:
    return policy(version).policy.digest


class Builds:
    """Builds pipelines of one step, and counts."""

    def __init__(self, refused: str = "") -> None:
        self.built: list[str] = []
        self.closed: list[str] = []
        self.refused = refused

    def __call__(self, under: Policy) -> Built:
        if under.version == self.refused:
            raise FatalError("cannot be built")
        self.built.append(under.version)
        topology = Topology("p", ("agent_events",), (Telling(under.version),), "agent_id", 1, 4, 10, (Counting(under.version),), ())
        return Built(topology, lambda: self.closed.append(under.version))


class Life:
    """One life of a run over a recovery directory."""

    def __init__(self, folder: Path, file: str, base: str | None = None, floors: dict[tuple[str, int], int] | None = None) -> None:
        self.builds = Builds()
        self.kept: list[str] = []
        self.versions = PolicyVersions(policy(file), self.builds, ("counting",), Telemetry())
        marks = PolicyMarks(folder / "marks.jsonl")
        for mark in marks.marks:
            self.versions.add(next(policy(v) for v in "123" if digest(v) == mark.digest))
        if base:
            self.versions.add(policy(base))
        self.versions.start(marks, digest(base or file), floors or {}, lambda name, _text: self.kept.append(name), lambda _topology: None)

    def judged(self, *rows: tuple[int, int]) -> list[tuple[int, int, str]]:
        """Gives by which version each row (partition, offset) was judged, in the order that came out."""
        raw = pl.DataFrame([("agent_events", p, o, None, None, b"{}", None) for p, o in rows], schema=RAW, orient="row")
        outcome = self.versions(raw)
        assert outcome.batch[STAMP].to_list() == [digest(version) for version in outcome.batch["judged_by"]]
        return list(outcome.batch.select("partition", "offset", "judged_by").iter_rows())


def test_a_new_policy_judges_from_the_first_row_of_the_next_batch_of_each_partition(tmp_path: Path) -> None:
    life = Life(tmp_path, "1")
    assert life.judged((0, 0), (0, 1), (1, 7)) == [(0, 0, "1"), (0, 1, "1"), (1, 7, "1")]
    life.versions.want(policy("2"))
    assert life.judged((0, 2), (0, 3)) == [(0, 2, "2"), (0, 3, "2")]
    assert PolicyMarks(tmp_path / "marks.jsonl").marks == [PolicyMark("agent_events", 0, 2, digest("2"))]
    assert life.judged((1, 8), (0, 4)) == [(1, 8, "2"), (0, 4, "2")]
    assert life.kept == [digest("2")]


def test_a_replay_judges_as_the_life_before_and_what_may_have_been_judged_stays_with_its_policy(tmp_path: Path) -> None:
    first = Life(tmp_path, "1")
    first.judged((0, 0), (0, 1))
    first.versions.want(policy("2"))
    first.judged((0, 2), (0, 3))
    # Killed; the topic ends at 6, and the file holds a third version by now.
    second = Life(tmp_path, "3", base="1", floors={("agent_events", 0): 6})
    assert second.judged(*((0, offset) for offset in range(9))) == [
        *((0, offset, "1") for offset in (0, 1)),
        *((0, offset, "2") for offset in (2, 3, 4, 5)),
        *((0, offset, "3") for offset in (6, 7, 8)),
    ]
    third = Life(tmp_path, "3", base="1", floors={("agent_events", 0): 9})
    assert [version for *_, version in third.judged(*((0, offset) for offset in range(1, 9)))] == list("12222333")


def test_the_mark_is_durable_before_a_row_is_judged(tmp_path: Path) -> None:
    """A kill between the two must leave the rows to the policy of the mark."""

    class Killed(Exception):
        pass

    def kill() -> None:
        raise Killed

    life = Life(tmp_path, "1")
    life.judged((0, 0))
    life.versions._marks = PolicyMarks(tmp_path / "marks.jsonl", kill)
    life.versions.want(policy("2"))
    with pytest.raises(Killed):
        life.judged((0, 1))
    assert [version for *_, version in Life(tmp_path, "2", base="1", floors={("agent_events", 0): 2}).judged((0, 0), (0, 1))] == ["1", "2"]


def test_a_policy_that_comes_back_leaves_each_partition_in_its_order(tmp_path: Path) -> None:
    marks = PolicyMarks(tmp_path / "marks.jsonl")
    marks.record(
        [PolicyMark("agent_events", 0, 2, digest("2")), PolicyMark("agent_events", 0, 4, digest("1")), PolicyMark("agent_events", 1, 0, digest("2"))]
    )
    found = Life(tmp_path, "1", base="1").judged((0, 1), (1, 0), (0, 2), (0, 3), (1, 1), (0, 4), (0, 5))
    assert [(offset, version) for partition, offset, version in found if partition == 0] == [(1, "1"), (2, "2"), (3, "2"), (4, "1"), (5, "1")]
    assert [offset for partition, offset, _ in found if partition == 1] == [0, 1]
    assert len(found) == 7


def test_a_policy_that_cannot_be_built_changes_nothing(tmp_path: Path) -> None:
    life = Life(tmp_path, "1")
    life.builds.refused = "2"
    with pytest.raises(FatalError):
        life.versions.want(policy("2"))
    assert life.judged((0, 0)) == [(0, 0, "1")]
    assert (life.kept, PolicyMarks(tmp_path / "marks.jsonl").marks) == ([], [])


def test_what_an_old_policy_keeps_ready_is_let_go_and_built_again_for_a_row_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.versions._IDLE_BATCHES_MAX", 2)
    marks = PolicyMarks(tmp_path / "marks.jsonl")
    marks.record([PolicyMark("agent_events", 1, 5, digest("2")), PolicyMark("agent_events", 0, 0, digest("2"))])
    life = Life(tmp_path, "2", base="1")
    assert life.judged((1, 0)) == [(1, 0, "1")]
    for offset in range(3):
        assert life.builds.closed == []
        life.judged((0, offset))
    assert life.builds.closed == ["1"]
    assert life.judged((1, 1)) == [(1, 1, "1")]
    assert life.builds.built == ["2", "1", "1"]


def test_a_keyed_step_judges_each_row_by_its_stamp_over_one_state() -> None:
    steps = {"a": Counting("a"), "b": Counting("b"), None: Counting("b")}
    step = by_policy(Counting("b"), lambda stamp: steps[stamp])
    assert isinstance(step, KeyedByPolicy)
    assert isinstance(step, KeyedStep)
    state, outcome = step.apply(EMPTY_STATE, pl.DataFrame({STAMP: ["a", "a", "b", "a"]}), None)
    assert list(outcome.batch.select("counted_by", "count").iter_rows()) == [("a", 1), ("a", 2), ("b", 3), ("a", 4)]
    state, outcome = step.apply(state, pl.DataFrame({STAMP: ["b"]}), None)
    assert outcome.batch["count"].to_list() == [5]
    assert (step.name, step.order, step.state_spec) == ("counting", Order.LOG_ORDERED, Counting.state_spec)


def test_every_step_that_a_policy_makes_is_among_those_that_judge_by_the_stamp() -> None:
    """A step that holds something of the policy, and is shared by all versions, would judge by the first of them."""

    def holding(step: object) -> bool:
        return "Policy" in str(inspect.signature(type(step).__init__))

    topology = build_topology(Config(), default_policy(), bytes(32), None)
    steps = [*topology.keyed, *topology.shared_steps]
    assert {step.name for step in steps if holding(step)} == set(POLICY_STEPS)


def test_the_second_exchange_carries_the_stamp() -> None:
    def build(under: Policy) -> Built:
        plain = Builds()(under).topology
        spread = Shared(
            lambda rows: rows.select("offset").with_columns(by=pl.lit(under.version)), "by", pl.Schema({"offset": pl.Int64()}), (Counting("s"),)
        )
        return Built(replace(plain, keyed=(), shared=spread))

    versions = PolicyVersions(policy("1"), build, ("counting",), Telemetry())
    versions.want(policy("2"))
    shared = versions.topology.shared
    assert shared is not None
    rows = pl.DataFrame({"offset": [1, 2, 3], STAMP: [digest("1"), digest("2"), digest("2")]})
    found = shared.spread(rows)
    assert found is not None
    assert list(found.select("by", STAMP).iter_rows()) == [("1", digest("1")), ("2", digest("2")), ("2", digest("2"))]
    assert shared.schema.names() == ["offset", STAMP]
    assert isinstance(shared.steps[0], KeyedByPolicy)


@pytest.mark.parametrize("stamps", [[], ["a"], ["a", "a"], ["a", "b"], ["a", "b", "b", "a"], ["a", "b", "a", "b"]])
def test_runs_are_whole_and_in_order(stamps: list[str]) -> None:
    batch = pl.DataFrame({STAMP: pl.Series(stamps, dtype=pl.String)})
    found = list(runs(batch))
    assert pl.concat([rows for _, rows in found])[STAMP].to_list() == stamps
    assert all(set(rows[STAMP]) <= {stamp} for stamp, rows in found)


def test_the_real_pipeline_decides_by_the_stamp() -> None:
    def build(under: Policy) -> Built:
        return Built(build_topology(Config(), under, bytes(32), None))

    versions = PolicyVersions(policy("1"), build, POLICY_STEPS, Telemetry())
    topology = versions.topology
    assert [step.name for step in topology.keyed] == [step.name for step in build(default_policy()).topology.keyed]
    value = b'{"event_id":"e","event_type":"t","timestamp":1767225600000,"agent_id":"a"}'
    rows = versions(pl.DataFrame([("agent_events", 0, 0, None, None, value, None)], schema=RAW, orient="row")).batch
    decide = next(step for step in topology.keyed if step.name == "decide")
    versions.want(policy("2"))
    both = pl.concat([rows, rows.with_columns(pl.lit(digest("2")).alias(STAMP)), rows])
    assert decide(both).batch["policy_version"].to_list() == ["1", "2", "1"]  # type: ignore[operator]


def test_a_torn_mark_never_took_effect_and_a_strange_line_stops_the_run(tmp_path: Path) -> None:
    path = tmp_path / "marks.jsonl"
    PolicyMarks(path).record([PolicyMark("t", 0, 1, "a")])
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"topic":"t","parti')
    assert PolicyMarks(path).marks == [PolicyMark("t", 0, 1, "a")]
    assert path.read_bytes() == whole
    path.write_bytes(b"{}\n")
    with pytest.raises(FatalError, match=r"marks.jsonl: a line is no mark of a policy; restore the file"):
        PolicyMarks(path)


# -- the file ---------------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "p.yaml"
    path.write_text(PACKAGED.replace('version: "', 'version: "1', 1), encoding="utf-8")
    return path


PACKAGED = (Path(__file__).parents[3] / "governance" / "policies" / "default.yaml").read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def told() -> Iterator[StringIO]:
    """What the log says."""
    lines = StringIO()
    configure_logging(lines)
    yield lines
    configure_logging()


class Watched:
    """A watch over a file, looked through by hand."""

    def __init__(self, path: Path, folder: Path, problems: Callable[[Policy], list[str]] = lambda _policy: []) -> None:
        self.telemetry = Telemetry()
        self.versions = PolicyVersions(load_policy(path), Builds(), (), self.telemetry)
        self.watch = PolicyWatch(path, self.versions, problems, self.telemetry)
        self.marks = PolicyMarks(folder / "m.jsonl")

    def start(self) -> None:
        self.versions.start(self.marks, self.versions.wanted.policy.digest, {}, lambda _d, _t: None, lambda _t: None)

    def refused(self) -> tuple[int, int]:
        totals = self.telemetry.snapshot()
        return totals.by("policy_reloads_total", result="refused"), totals.by("policy_refused")


def version(number: int) -> str:
    return PACKAGED.replace('version: "', f'version: "{number}', 1)


def test_a_changed_file_takes_effect_once_it_is_the_same_at_two_looks(file: Path, tmp_path: Path) -> None:
    watched = Watched(file, tmp_path)
    watched.start()
    assert watched.watch.look() is None
    file.write_text(version(22), encoding="utf-8")
    assert [watched.watch.look() for _ in range(3)] == [None, True, None]
    assert watched.versions.wanted.policy.version.startswith("22")
    assert watched.telemetry.snapshot().by("policy_reloads_total", result="applied") == 1


def test_a_schema_beside_the_policy_is_looked_at_too(file: Path, tmp_path: Path) -> None:
    rule = "rules:\n  - {id: a, type: schema, description: a, verdict: warn, action: pass, severity: info, schema: a.json}\n"
    text = version(22).replace("rules:\n", rule, 1)
    (file.parent / "a.json").write_text("{}", encoding="utf-8")
    file.write_text(text, encoding="utf-8")
    watched = Watched(file, tmp_path)
    watched.start()
    (file.parent / "a.json").write_text('{"type": "object"}', encoding="utf-8")
    assert [watched.watch.look() for _ in range(3)] == [None, False, None], "another content asks for another version"
    assert watched.refused() == (1, 1)
    file.write_text(text.replace('version: "22', 'version: "23', 1), encoding="utf-8")
    assert [watched.watch.look() for _ in range(3)] == [None, True, None]


def test_a_signal_reads_at_once_and_an_equal_file_changes_nothing(file: Path, tmp_path: Path) -> None:
    watched = Watched(file, tmp_path)
    watched.start()
    assert watched.watch.look(asked=True) is None
    file.write_text(version(22) + "\n# a remark\n", encoding="utf-8")
    assert watched.watch.look(asked=True) is True


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("id: [", "not YAML"),
        (version(22).replace("verdict: deny", "verdict: denny", 1), "did you mean 'deny'?"),
        (version(1).replace("purpose: ", "purpose: another ", 1), "is in force with other content; raise it"),
    ],
)
def test_a_wrong_file_is_refused_counted_and_told_and_the_old_policy_goes_on(file: Path, tmp_path: Path, text: str, why: str, told: StringIO) -> None:
    watched = Watched(file, tmp_path)
    watched.start()
    judging = watched.versions.wanted
    file.write_text(text, encoding="utf-8")
    assert watched.watch.look(asked=True) is False
    assert watched.versions.wanted is judging
    assert watched.refused() == (1, 1)
    assert "policy.refused" in told.getvalue()
    assert why in told.getvalue()
    file.write_text(version(1), encoding="utf-8")
    assert watched.watch.look(asked=True) is None
    assert watched.refused() == (1, 0)


def test_a_policy_that_does_not_fit_the_configuration_is_refused(file: Path, tmp_path: Path) -> None:
    watched = Watched(file, tmp_path, lambda _policy: ["models: asks no model"])
    watched.start()
    file.write_text(version(22), encoding="utf-8")
    assert watched.watch.look(asked=True) is False


def test_a_wish_from_before_the_run_is_kept_until_it_runs(file: Path, tmp_path: Path) -> None:
    watched = Watched(file, tmp_path)
    file.write_text(version(22), encoding="utf-8")
    assert watched.watch.look(asked=True) is None
    watched.start()
    assert [watched.watch.look(), watched.watch.look()] in ([None, True], [True, None])
