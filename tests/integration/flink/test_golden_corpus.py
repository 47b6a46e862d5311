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
from tests.fixtures.flink import flink_settings

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


def test_the_difference_shows_what_differs(kafka: KafkaBroker, tmp_path: Path) -> None:
    deployed = deploy(kafka, tmp_path, "windows", {})
    publish(deployed, "windows", slice(None, -1))
    assert deployed.headrace("run", "--until-end").returncode == 0
    told = difference(deployed.topic, "windows")
    assert "--- windows/enriched_events as written down" in told
    assert any(line.startswith("-") and json.dumps("event_uid") in line for line in told.splitlines())
