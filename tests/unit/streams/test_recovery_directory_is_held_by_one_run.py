"""The recovery directory: leased by one run, guarded by a fingerprint, and holder of facts that outlive a torn write."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import ConfigError, FatalError
from streams.recovery import Begin, Fingerprint, IdleMark, RecoveryDirectory, write_durably

MADE_OF = Fingerprint("headrace", 2, 1, {"agent_metrics": 4}, {"deduplicate": 1, "measure": 2}, "aaaa")
BEGIN = Begin(MADE_OF, {("agent_events", 1): 70, ("agent_events", 0): 0, ("tool_executions", 0): 5}, {"kafka": b"\x00\xff{}", "files": b""})
HOLDER = (
    "import sys; from pathlib import Path; from streams.recovery import RecoveryDirectory as R; r = R(Path(sys.argv[1])); print(); sys.stdin.read()"
)


def test_a_directory_held_by_another_process_is_refused_and_the_holder_is_named(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=pytestconfig.rootpath) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"\n"  # it holds the lease now
        with pytest.raises(ConfigError, match=rf"held by another run \(process {holder.pid}\).*a directory of its own"):
            RecoveryDirectory(tmp_path)
        holder.stdin.close()  # it ends, and its lease with it, without a word to the directory
        holder.wait(30)
    RecoveryDirectory(tmp_path).close()


def test_the_lease_is_given_back_on_close(tmp_path: Path) -> None:
    with RecoveryDirectory(tmp_path), pytest.raises(ConfigError):
        RecoveryDirectory(tmp_path)
    RecoveryDirectory(tmp_path).close()


def test_the_begin_record_comes_back_as_it_was(tmp_path: Path) -> None:
    with RecoveryDirectory(tmp_path / "deep" / "er") as first:
        assert first.begin() is None
        first.record_begin(BEGIN)
    with RecoveryDirectory(tmp_path / "deep" / "er") as second:
        assert second.begin() == BEGIN


@pytest.mark.parametrize("content", [b"", b"{", b"{}", b'{"fingerprint": {"pipeline": "x"}, "inputs": [], "sinks": {}}'])
def test_a_begin_record_that_cannot_be_read_stops_the_run(tmp_path: Path, content: bytes) -> None:
    with RecoveryDirectory(tmp_path) as directory:
        (tmp_path / "begin.json").write_bytes(content)
        with pytest.raises(FatalError, match=r"begin\.json.*restore it from a backup"):
            directory.begin()


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("pipeline", "tailrace"),
        ("lanes", 3),
        ("source_lanes", 2),
        ("output_partitions", {"agent_metrics": 8}),
        ("keyed_steps", {"deduplicate": 1, "measure": 3}),
    ],
)
@pytest.mark.parametrize("clean", [False, True])
def test_each_difference_is_a_problem_with_a_way_out(tmp_path: Path, name: str, other: object, clean: bool) -> None:
    with RecoveryDirectory(tmp_path) as directory:
        directory.record_begin(BEGIN)
        if clean:
            directory.mark_clean()
        changes: dict[str, object] = {name: other}
        with pytest.raises(ConfigError) as caught:
            directory.check(replace(MADE_OF, **changes))  # type: ignore[arg-type]  # one field of any type
    (problem,) = caught.value.problems
    assert f"{name} was {getattr(MADE_OF, name)}, is {other}" in problem
    assert "set it back, or start the pipeline under a new name" in problem


def test_all_differences_are_told_at_once(tmp_path: Path) -> None:
    with RecoveryDirectory(tmp_path) as directory:
        directory.record_begin(BEGIN)
        with pytest.raises(ConfigError) as caught:
            directory.check(Fingerprint("b", 7, 7, {}, {}, "bbbb"))
    assert len(caught.value.problems) == 6


def test_the_same_pipeline_and_a_first_run_pass(tmp_path: Path) -> None:
    with RecoveryDirectory(tmp_path) as directory:
        directory.check(MADE_OF)
        directory.record_begin(BEGIN)
        directory.check(MADE_OF)


def test_another_policy_is_taken_only_after_an_orderly_stop(tmp_path: Path) -> None:
    other = replace(MADE_OF, policy="bbbb")
    with RecoveryDirectory(tmp_path) as directory:
        directory.record_begin(BEGIN)
        with pytest.raises(ConfigError, match=r"policy changed from aaaa to bbbb.*policies/aaaa\.yaml.*SIGTERM"):
            directory.check(other)
        directory.mark_clean()
        directory.check(other)
        directory.mark_running()
        assert not directory.stopped_cleanly
        with pytest.raises(ConfigError):
            directory.check(other)
        directory.mark_running()  # a second time changes nothing


def test_the_first_text_of_a_policy_is_kept(tmp_path: Path) -> None:
    with RecoveryDirectory(tmp_path) as directory:
        directory.keep_policy("aaaa", "rules: []")
        directory.keep_policy("aaaa", "other")
    assert (tmp_path / "policies" / "aaaa.yaml").read_text() == "rules: []"


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(-5, 5)), max_size=12))
def test_idle_marks_come_back_with_the_highest_watermark_of_each_offset(
    tmp_path_factory: pytest.TempPathFactory, told: list[tuple[int, int, int]]
) -> None:
    path = tmp_path_factory.mktemp("recovery")
    expected: dict[tuple[str, int], dict[int, int]] = {}
    with RecoveryDirectory(path) as directory:
        for partition, offset, watermark in told:
            directory.record_idle([IdleMark("agent_events", partition, offset, watermark)])
            at = expected.setdefault(("agent_events", partition), {})
            at[offset] = max(watermark, at.get(offset, watermark))
    with RecoveryDirectory(path) as directory:
        assert directory.idle_marks() == {partition: sorted(at.items()) for partition, at in expected.items()}


def test_a_torn_last_line_never_took_effect(tmp_path: Path) -> None:
    with RecoveryDirectory(tmp_path) as directory:
        directory.record_idle([IdleMark("a", 0, 3, 30)])
        with (tmp_path / "facts.jsonl").open("ab") as facts:
            facts.write(b'{"topic":"a","partition":0,"off')
        assert directory.idle_marks() == {("a", 0): [(3, 30)]}


def test_marks_recorded_after_a_torn_line_are_not_joined_to_it(tmp_path: Path) -> None:
    with RecoveryDirectory(tmp_path) as directory:
        directory.record_idle([IdleMark("a", 0, 3, 30)])
    with (tmp_path / "facts.jsonl").open("ab") as facts:
        facts.write(b'{"topic":"a","partition":0,"off')
    with RecoveryDirectory(tmp_path) as directory:
        directory.record_idle([IdleMark("a", 0, 9, 90)])
    with RecoveryDirectory(tmp_path) as directory:
        assert directory.idle_marks() == {("a", 0): [(3, 30), (9, 90)]}


@pytest.mark.parametrize("line", [b"no json\n", b'{"topic":"a"}\n', b"3\n"])
def test_a_whole_line_that_is_no_mark_stops_the_run(tmp_path: Path, line: bytes) -> None:
    with RecoveryDirectory(tmp_path) as directory:
        with (tmp_path / "facts.jsonl").open("ab") as facts:
            facts.write(line)
        with pytest.raises(FatalError, match="not an idle mark"):
            directory.idle_marks()


def test_a_durable_write_replaces_the_file_in_one_step(tmp_path: Path) -> None:
    path = tmp_path / "x"
    write_durably(path, b"long before")
    with path.open("rb") as reader_of_the_old:
        write_durably(path, b"after")
        assert reader_of_the_old.read() == b"long before"
    assert path.read_bytes() == b"after"
    assert list(tmp_path.iterdir()) == [path]


def test_other_models_wait_for_a_clean_stop(tmp_path: Path) -> None:
    """What was said of records in flight would be asked for anew, or not at all."""
    asking = replace(MADE_OF, models=("tag", "score"))
    with RecoveryDirectory(tmp_path) as directory:
        directory.record_begin(replace(BEGIN, fingerprint=asking))
        directory.mark_running()
        directory.check(asking)
        with pytest.raises(ConfigError, match="steps that ask models were tag, score, are none, while events were in flight"):
            directory.check(MADE_OF)
        directory.mark_clean()
        directory.check(MADE_OF)


def test_a_begin_record_from_before_there_were_models_reads_as_without(tmp_path: Path) -> None:
    with RecoveryDirectory(tmp_path) as directory:
        directory.record_begin(BEGIN)
        path = tmp_path / "begin.json"
        content = json.loads(path.read_text())
        del content["fingerprint"]["models"]
        path.write_text(json.dumps(content))
        begin = directory.begin()
    assert begin is not None
    assert begin.fingerprint.models == ()


def test_a_start_that_is_tried_again_began_when_it_was_first_tried(tmp_path: Path) -> None:
    with RecoveryDirectory(tmp_path / "r") as recovery:
        first = recovery.began_at("a start")
        assert recovery.began_at("a start") == first
    with RecoveryDirectory(tmp_path / "r") as recovery:
        assert recovery.began_at("a start") == first
        assert recovery.began_at("another") >= first
        recovery.began_at("a start")  # long ago: no life will try it again
    (tmp_path / "r/started.json").write_bytes(b"[")
    with RecoveryDirectory(tmp_path / "r") as recovery, pytest.raises(FatalError, match="delete it"):
        recovery.began_at("a start")
