"""The pipeline is killed again and again while a fleet sends: nothing lost, nothing twice, nothing personal out, soon caught up."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from streams.embedded.kafka import KafkaBroker
from streams.embedded.postgres import PostgresServer
from tests.chaos.delivered import Leaks, assert_delivered, written
from tests.chaos.lives import Death, Lives, Progress, deaths, percentile
from tests.chaos.load import Load, known_canaries
from tests.fixtures.deployment import Deployment, make_deployment
from tests.integration.privacy.canaries import bytes_below

pytestmark = [pytest.mark.integration, pytest.mark.timeout(7_200)]

#: No partition goes idle, so that what is late depends on the log alone; two of everything.
SETTINGS = {"source": {"idle_ms": 3_600_000}, "pipeline": {"workers": 2, "lanes": 2}, "recovery": {"epoch_interval_ms": 500}}
#: Records behind the last snapshot, in seconds of the load, at which a pipeline counts as caught up.
CAUGHT_UP_S = 2.0


def killed(deployment: Deployment, load: Load, lives: Lives, leaks: Leaks, seed: int, kills: int, caught_up: list[float]) -> None:
    """Ends lives as the seed says while the load goes on; every tenth is first let to catch up, and the time that takes since the kill is kept."""
    with Progress(deployment) as progress:
        since = time.monotonic()
        for number, death in enumerate(deaths(seed, kills)):
            if number % 10 == 9:
                life = lives.start()
                progress.seconds_until(int(load.rate * CAUGHT_UP_S), 600.0, lambda life=life: life.alive)  # type: ignore[misc]
                caught_up.append(time.monotonic() - since)
                lives.log.append(f"life {life.number}: caught up {caught_up[-1]:.1f} s after the kill before it; SIGKILL")
                life.end(signal.SIGKILL)
                lives.note(life)
            else:
                life = lives.live(death)
            since = time.monotonic()
            leaks.look(lives.said_by(life))
            if number % 25 == 24:  # a search in every writing takes half a minute
                leaks.look(bytes_below(deployment.recovery))


def test_two_kills(deployment: Deployment) -> None:
    """The short form, in ``make test``: at random, then in order."""
    deployment.settings = dict(SETTINGS)
    canaries = known_canaries()[::12]
    leaks = Leaks(one.value for one in canaries)
    with Lives(deployment) as lives:
        with Load(deployment, 11, 300.0, canaries) as load:
            for death in (Death("SIGKILL", 4.0), Death("SIGTERM", 4.5)):
                leaks.look(lives.left(lives.live(death)))
        lives.finish()
    assert_delivered(deployment, load.sent)
    leaks.look(written(deployment))
    leaks.assert_none()


@pytest.mark.slow
def test_many_kills_under_load(
    chaos_seed: int, chaos_kills: int, chaos_rate: float, kafka: KafkaBroker, postgres: PostgresServer, tmp_path: Path
) -> None:
    deployment = make_deployment(kafka, postgres.create_database(f"chaos_{os.getpid()}"), tmp_path)
    deployment.settings = dict(SETTINGS)
    canaries = known_canaries()
    leaks = Leaks(one.value for one in canaries)
    caught_up: list[float] = []
    began = time.monotonic()
    with Lives(deployment) as lives:
        with Load(deployment, chaos_seed, chaos_rate, canaries) as load:
            killed(deployment, load, lives, leaks, chaos_seed, chaos_kills, caught_up)
        lives.finish()
    told = {
        "seed": chaos_seed,
        "kills": chaos_kills,
        "rate": chaos_rate,
        "records": len(load.sent.fates),
        "minutes": round((time.monotonic() - began) / 60, 1),
        "caught_up_s": [round(seconds, 1) for seconds in caught_up],
        "peak_mib": round(lives.peak_mib),
    }
    print(f"\nchaos: {json.dumps(told)}", flush=True)
    assert_delivered(deployment, load.sent)
    leaks.look(written(deployment))
    leaks.assert_none()
    print(f"chaos: delivered; {leaks.searched_bytes >> 20} MiB searched for {len(canaries)} canaries", flush=True)


@pytest.mark.slow
def test_caught_up_in_time_at_full_rate(
    chaos_seed: int, chaos_kills: int, chaos_full_rate: float, kafka: KafkaBroker, postgres: PostgresServer, tmp_path: Path
) -> None:
    """At most ten kills at the stated rate, each after the run has caught up; how long that takes is measured from the kill."""
    deployment = make_deployment(kafka, postgres.create_database(f"chaos_full_{os.getpid()}"), tmp_path)
    deployment.settings = {**SETTINGS, "pipeline": {"workers": 1, "lanes": 2}}
    took: list[float] = []
    with Lives(deployment) as lives, Progress(deployment) as progress:
        with Load(deployment, chaos_seed, chaos_full_rate) as load:
            life, since = lives.start(), time.monotonic()
            for _ in range(1 + min(chaos_kills, 10)):
                progress.seconds_until(int(load.rate * CAUGHT_UP_S), 240.0, lambda life=life: life.alive)  # type: ignore[misc]
                took.append(time.monotonic() - since)
                life.end(signal.SIGKILL)
                lives.note(life)
                since = time.monotonic()
                life = lives.start()
            life.end(signal.SIGTERM)
        lives.finish()
    told = {
        "rate": chaos_full_rate,
        "records": len(load.sent.fates),
        "first_s": round(took[0], 1),
        "caught_up_s": [round(seconds, 1) for seconds in took[1:]],
        "median_s": round(percentile(took[1:], 0.5), 1),
        "peak_mib": round(lives.peak_mib),
    }
    print(f"\nchaos: {json.dumps(told)}", flush=True)
    assert_delivered(deployment, load.sent)
