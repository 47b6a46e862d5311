"""One corpus, every engine: each case gives on Bytewax and on Flink, whole, spread and resumed, what is written down for the file runner."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from streams.embedded.kafka import KafkaBroker
from tests.fixtures.corpus import NAMES, difference, publish, settle
from tests.fixtures.deployment import Deployment, make_deployment
from tests.fixtures.flink import await_true, flink_settings

pytestmark = [pytest.mark.integration, pytest.mark.slow]

ENGINES: Mapping[str, tuple[tuple[str, ...], dict[str, Mapping[str, Any]]]] = {
    "bytewax-1": ((), {"pipeline": {"workers": 1}}),
    "bytewax-2": ((), {"pipeline": {"workers": 2}}),
    "flink-1": (("--engine", "flink"), {"flink": flink_settings(1)}),
    "flink-2": (("--engine", "flink"), {"flink": flink_settings(2)}),
}


def deploy(kafka: KafkaBroker, folder: Path, case: str, settings: Mapping[str, Mapping[str, Any]]) -> Deployment:
    made = make_deployment(kafka, "", folder)
    made.settings |= {name: dict(values) for name, values in settings.items()}
    settle(made, case)
    return made


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("case", NAMES)
def test_a_case_gives_the_same_on_every_engine(kafka: KafkaBroker, tmp_path: Path, case: str, engine: str) -> None:
    arguments, settings = ENGINES[engine]
    deployed = deploy(kafka, tmp_path, case, settings)
    publish(deployed, case)
    ran = deployed.headrace("run", "--until-end", *arguments)
    assert ran.returncode == 0, ran.stderr
    # A run on Bytewax can go on after --until-end: entries of a minute that may not be over are not written.
    unfinished = frozenset() if arguments else frozenset({"masks"})
    assert (told := difference(deployed.topic, case, unfinished)) == "", told


@pytest.mark.parametrize("case", ["windows", "limits", "late_events"])
def test_a_case_that_is_killed_and_resumed_at_another_parallelism_gives_the_same(kafka: KafkaBroker, tmp_path: Path, case: str) -> None:
    deployed = deploy(kafka, tmp_path, case, {"flink": flink_settings(1), "source": {"idle_ms": 3_600_000}})
    unfinished = frozenset({"masks"})
    publish(deployed, case, slice(None, 6))
    first = deployed.start("run", "--engine", "flink")
    await_true("something is committed", lambda: len(deployed.topic("enriched_events")) > 0)
    first.kill()
    first.wait(30)
    publish(deployed, case, slice(6, None))
    # Idle marks are facts of a run: here they come when every record was read, as in a run over a file.
    deployed.settings["source"] = {"idle_ms": 1_000}
    for parallelism in (2, 1):
        deployed.settings["flink"] = flink_settings(parallelism)
        again = deployed.start("run", "--engine", "flink")
        try:
            await_true("all is as written down", lambda: not difference(deployed.topic, case, unfinished))
        finally:
            again.terminate()
            _, told = again.communicate(timeout=150)
        # The second start goes on from the savepoint of the first one, and has nothing to add.
        assert again.returncode == 0, told
        assert (now := difference(deployed.topic, case, unfinished)) == "", now


def test_the_difference_shows_what_differs(kafka: KafkaBroker, tmp_path: Path) -> None:
    deployed = deploy(kafka, tmp_path, "windows", {})
    publish(deployed, "windows", slice(None, -1))
    assert deployed.headrace("run", "--until-end").returncode == 0
    told = difference(deployed.topic, "windows")
    assert "--- windows/enriched_events as written down" in told
    assert any(line.startswith("-") and json.dumps("event_uid") in line for line in told.splitlines())
