"""The front in processes of its own answers as the front here does, and a child that dies or fails takes nothing with it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from io import BytesIO
from itertools import islice
from pathlib import Path
from threading import Thread

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from governance.parse import default_policy
from operators.contract import BatchStep, Outcome
from schemas.errors import ConfigError, FatalError, RetryableError
from schemas.events import RAW
from streams.config import Config
from streams.embedded.child import descendants
from streams.engines.files import run_files
from streams.fleet.corpora import corpus
from streams.front import FrontProcesses, front_processes
from streams.front_child import FrontRecipe, Passed, Ready, Refused, answer, read_message, unpacked, write_message
from streams.front_steps import front_steps
from streams.pipeline import build_topology
from streams.telemetry import Telemetry

pytestmark = pytest.mark.integration

KEY = b"a key for tests only, 32 bytes.."
SECRET = "mia.li3668@example.com"


def recipe(**source: object) -> FrontRecipe:
    config = Config.model_validate({"source": source}) if source else Config()
    return FrontRecipe(config, default_policy(), KEY)


def batch(rows: int, first: int = 0) -> pl.DataFrame:
    records = islice(corpus("fleet").records(1_700_000_000_000, 100.0, first), rows)
    return pl.DataFrame(
        [(r.topic, 0, first + n, 1_700_000_000_000 + n * 10, r.key, r.value if n % 50 else b'{"broken', None) for n, r in enumerate(records)],
        schema=RAW,
        orient="row",
    )


def here(raw: pl.DataFrame) -> Outcome:
    rows, dead = raw, []
    for step in front_steps(Config(), default_policy(), KEY, None):
        outcome = step(rows)
        rows = outcome.batch
        dead.append(outcome.dead)
    return Outcome(rows, dead=pl.concat(dead))


@pytest.fixture(scope="module")
def two_children(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrontProcesses]:
    front = FrontProcesses(recipe(), 2, Telemetry(), tmp_path_factory.mktemp("front") / "front.log")
    front.await_ready()
    yield front
    front.close()


@pytest.mark.parametrize("rows", [0, 1, 255, 1_001])
def test_children_answer_as_the_steps_do_here_in_the_order_of_the_batch(two_children: FrontProcesses, rows: int) -> None:
    raw, expected = batch(rows), here(batch(rows))
    found = two_children(raw)
    assert_frame_equal(found.batch, expected.batch)
    assert_frame_equal(found.dead.sort("offset"), expected.dead.sort("offset"))
    assert found.dead.height == (rows + 49) // 50


def test_threads_that_call_at_once_get_their_own_answers(two_children: FrontProcesses) -> None:
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda rows: two_children(batch(rows)), [1, 300, 2, 600, 0, 700, 3, 400] * 2))
    sizes = [outcome.batch.height + outcome.dead.height for outcome in found]
    assert sizes == [1, 300, 2, 600, 0, 700, 3, 400] * 2


def test_a_batch_is_sent_only_when_the_answer_before_it_was_taken(tmp_path: Path) -> None:
    front = FrontProcesses(recipe(), 0, Telemetry(), tmp_path / "front.log")
    sent: list[int] = []

    class Recorder:
        """Stands at a child's place: while the first answer is awaited, another thread calls."""

        def send(self, frame: pl.DataFrame) -> None:
            sent.append(frame.height)

        def receive(self) -> Refused:
            if other.ident is None:
                other.start()
                other.join(0.3)
                in_between.extend(sent)
            return Refused(("no",))

    def call(rows: int) -> None:
        with suppress(FatalError):
            front(batch(rows))

    in_between: list[int] = []
    other = Thread(target=call, args=(2,))
    front._children = [Recorder()]  # type: ignore[list-item]
    call(1)
    other.join(10)
    assert (in_between, sent) == ([1], [1, 2])


def test_steps_are_timed_by_their_own_names(tmp_path: Path) -> None:
    telemetry = Telemetry()
    with front_processes(recipe(front_processes=1), telemetry) as front:
        assert front is not None
        front[0](batch(10))
    timed = telemetry.snapshot().histograms["stage_seconds"]
    assert {stage for (stage,) in timed} == {"decode", "mask", "erase", "inspect"}


def test_zero_processes_leave_the_front_to_this_one() -> None:
    with front_processes(recipe(front_processes=0), Telemetry()) as front:
        assert front is None


def test_a_run_over_a_file_gives_the_same_with_the_front_elsewhere(tmp_path: Path) -> None:
    from sinks.files import FilesSink

    lines = b"\n".join(record.value for record in islice(corpus("fleet").records(1_700_000_000_000, 100.0), 400))
    (tmp_path / "events.jsonl").write_bytes(lines)
    written = []
    for count in (0, 1):
        with front_processes(recipe(front_processes=count), Telemetry()) as front:
            topology = build_topology(Config(), default_policy(), KEY, None, front)
            sink = FilesSink(tmp_path / str(count))
            run_files(topology, tmp_path / "events.jsonl", sink, Telemetry())
            sink.publish()
        written.append({path.name: sorted(path.read_bytes().splitlines()) for path in sorted((tmp_path / str(count)).iterdir())})
    assert written[0] == written[1]
    assert len(written[0]["enriched_events.jsonl"]) == 400


def test_a_child_that_was_killed_is_told_with_what_to_do_and_gives_no_rows(tmp_path: Path) -> None:
    front = FrontProcesses(recipe(), 1, Telemetry(), tmp_path / "front.log")
    front.await_ready()
    os.kill(front.pids[0], signal.SIGKILL)
    with pytest.raises(FatalError, match=r"front process 0 ended with status -9; nothing of its batch went on\. Start again"):
        front(batch(10))
    front.close()


def test_close_leaves_no_child_behind(tmp_path: Path) -> None:
    front = FrontProcesses(recipe(), 2, Telemetry(), tmp_path / "front.log")
    front.await_ready()
    pids = front.pids
    front.close()
    front.close()
    assert not set(pids) & set(descendants(os.getpid()))


def test_steps_that_cannot_be_built_are_a_configuration_error_before_the_first_record(tmp_path: Path) -> None:
    broken = replace(recipe(), hash_key=b"short")
    front = FrontProcesses(broken, 1, Telemetry(), tmp_path / "front.log")
    try:
        with pytest.raises(ConfigError, match="must have at least 16 bytes, has 5"):
            front.await_ready()
    finally:
        front.close()


class Failing:
    """A step that raises what it is told."""

    name = "failing"

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __call__(self, batch: pl.DataFrame) -> Outcome:
        raise self.error


def test_a_foreign_error_is_told_by_its_class_alone_for_its_text_may_quote_a_value() -> None:
    step: BatchStep = Failing(ValueError(f"cannot parse {SECRET}"))
    refused = answer([step], batch(1))
    assert isinstance(refused, Refused)
    assert SECRET not in repr(refused)
    assert isinstance(refused.error(), FatalError)
    assert "ValueError" in str(refused.error())


def test_what_waits_for_the_world_is_to_be_sent_again() -> None:
    refused = answer([Failing(RetryableError("the registry is away", 250))], batch(1))
    assert isinstance(refused, Refused)
    error = refused.error()
    assert isinstance(error, RetryableError)
    assert error.retry_after_ms == 250


def test_messages_come_through_a_pipe_whole_and_a_cut_one_is_an_end() -> None:
    pipe = BytesIO()
    for message in (Ready(), Refused(("no",)), Passed(b"r" * 100_000, b"d", {("a", "b"): 1}, (("mask", 0.5, 3),))):
        write_message(pipe, message)
    data = pipe.getvalue()
    pipe.seek(0)
    assert [type(read_message(pipe)).__name__ for _ in range(3)] == ["Ready", "Refused", "Passed"]
    with pytest.raises(EOFError):
        read_message(BytesIO(data[:4]))
    with pytest.raises(EOFError):
        read_message(BytesIO(data[:20]))


def test_a_recipe_and_an_answer_print_neither_key_nor_rows() -> None:
    made = answer(front_steps(Config(), default_policy(), KEY, None), batch(60))
    assert isinstance(made, Passed)
    assert unpacked(made.rows).height == 58
    assert KEY.decode() not in repr(recipe())
    assert "rows" not in repr(made)
