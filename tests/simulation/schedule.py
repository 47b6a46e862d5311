"""A schedule is a value: what the producers write, where the process dies, and the seed of every other choice."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from tests.simulation.pipeline import BROKEN, value_of

RECORDS_MAX: Final = 14
KILLS_MAX: Final = 3
PARTITIONS: Final = (("agent_events", 0), ("agent_events", 1))


@dataclass(frozen=True, slots=True)
class Schedule:
    """One schedule.

    Attributes:
        seed: Of the choices between: sizes of polls, who runs next, when an epoch ends, which answers are lost.
        records: Partition number and value, in the order in which they are written.
        kills: For each life but the last, how many places to die at it passes by.
    """

    seed: int
    records: tuple[tuple[int, bytes], ...]
    kills: tuple[int, ...]


def drawn(seed: int) -> Schedule:
    """Gives the schedule of a seed. Ranges are small, so that ids repeat, events come late and windows are revised."""
    draw = random.Random(seed)
    records, time = [], 0
    for number in range(draw.randint(3, RECORDS_MAX)):
        time += draw.choice((0, 1, 7, 25))
        agent = draw.randrange(3)
        again = draw.random() < 0.25
        event = draw.randrange(number) if again and number else number
        value = value_of(agent, max(0, time - draw.choice((0, 0, 5, 45))), event, int(draw.randrange(10) == 0))
        records.append((agent % 2, BROKEN if draw.random() < 0.08 else value))
    return Schedule(seed, tuple(records), tuple(draw.randint(1, 30) for _ in range(draw.randint(0, KILLS_MAX))))


def shrunk(schedule: Schedule, fails: Callable[[Schedule], bool]) -> Schedule:
    """Gives a smaller schedule that fails too, as small as leaving out and shortening one thing after the other makes it."""
    found = True
    while found:
        found = False
        for smaller in _smaller(schedule):
            if fails(smaller):
                schedule, found = smaller, True
                break
    return schedule


def _smaller(schedule: Schedule) -> Iterator[Schedule]:
    kills, records = schedule.kills, schedule.records
    for at in range(len(kills)):
        yield replace(schedule, kills=kills[:at] + kills[at + 1 :])
    half = len(records) // 2
    if half:
        yield replace(schedule, records=records[:half])
        yield replace(schedule, records=records[half:])
    for at in range(len(records)):
        yield replace(schedule, records=records[:at] + records[at + 1 :])
    for at, kill in enumerate(kills):
        if kill > 1:
            yield replace(schedule, kills=(*kills[:at], kill // 2, *kills[at + 1 :]))
            yield replace(schedule, kills=(*kills[:at], kill - 1, *kills[at + 1 :]))
