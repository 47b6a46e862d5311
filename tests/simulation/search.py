"""Looks for a schedule that goes wrong, and makes it small."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace

import structlog

from tests.simulation.engine import Parts, run
from tests.simulation.pipeline import pipeline
from tests.simulation.schedule import Schedule, drawn, shrunk


def problems(schedule: Schedule, parts: Parts, real: Parts) -> list[str]:
    """Gives what is wrong after a schedule, compared with the same records without a crash.

    Args:
        schedule: What happens.
        parts: Who it happens to.
        real: Who says what should come.
    """
    wanted = run(replace(schedule, kills=()), real, is_calm=True)
    try:
        return run(schedule, parts).problems(wanted)
    except Exception as error:  # noqa: BLE001 - whatever a part raises is what went wrong
        return [f"{type(error).__name__}: {error}"]


def first_failure(seeds: Iterable[int], parts: Parts | None = None) -> tuple[Schedule, list[str]] | None:
    """Gives the first schedule that goes wrong, shrunk, with what is wrong after it; None where all go right."""
    real = Parts(pipeline())
    tried = parts or real
    for seed in seeds:
        schedule = drawn(seed)
        if problems(schedule, tried, real):
            small = shrunk(schedule, lambda one: bool(problems(one, tried, real)))
            return small, problems(small, tried, real)
    return None


def quiet() -> None:
    """Lost answers are part of a schedule: no line about each."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
