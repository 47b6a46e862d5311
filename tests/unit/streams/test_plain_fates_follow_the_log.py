"""The second implementation of ``headrace verify``: what becomes of a record follows from the log of its partition and from recorded facts."""

from __future__ import annotations

from streams.verify.plain.event import Event, Place, Reading
from streams.verify.plain.fates import Facts, Fate, Judged, Times, Walk

TIMES = Times(window=10, lateness=20, ttl=100)
P: tuple[str, int] = ("agent_events", 0)


def event(offset: int, time_ms: int, name: str = "", digest: bytes = b"", partition: int = 0, user: str | None = None) -> tuple[Place, Reading]:
    place = ("agent_events", partition, offset)
    names: dict[str, str | None] = {"agent_id": "a", "event_id": name or f"e{partition}-{offset}", "user_id": user}
    return place, Reading(Event(place, "agent", time_ms, names, {}, None, {}, 1, digest))


def walked(*readings: tuple[Place, Reading], facts: Facts | None = None) -> list[Judged]:
    return Walk(TIMES, facts or Facts()).partition(P, readings)


def test_a_watermark_is_the_highest_time_before_and_decides_lateness() -> None:
    judged = walked(event(0, 5), event(1, 40), event(2, 9), event(3, 11), event(4, 60))
    assert [one.watermark for one in judged] == [None, 5, 40, 40, 40]
    assert [one.late for one in judged] == [False, False, True, True, False]
    assert [one.counted for one in judged] == [True, True, False, False, True]


def test_an_idle_mark_raises_the_watermark_from_its_offset_on() -> None:
    judged = walked(event(0, 5), event(1, 6), event(2, 7), facts=Facts(floors={P: [(2, 50)]}))
    assert [(one.watermark, one.late) for one in judged] == [(None, False), (5, False), (50, True)]


def test_a_mark_that_is_forgotten_is_adopted_and_counted_and_a_lower_one_is_not() -> None:
    walk = Walk(TIMES, Facts(published={("agent_events", 0, 1): 30, ("agent_events", 0, 2): 3}))
    judged = walk.partition(P, [event(0, 5), event(1, 6), event(2, 7)])
    assert [one.watermark for one in judged] == [None, 30, 30]
    assert walk.raised == 1


def test_repetitions_and_conflicts_within_the_time_to_live() -> None:
    judged = walked(event(0, 0, "x", b"1"), event(1, 5, "x", b"1"), event(2, 6, "x", b"2"), event(3, 150, "y"), event(4, 150, "x", b"2"))
    assert [(set(one.fates), set(one.codes)) for one in judged] == [
        ({Fate.PASSED}, set()),
        ({Fate.DUPLICATE}, set()),
        ({Fate.DEAD}, {"id_conflict"}),
        ({Fate.PASSED}, set()),
        ({Fate.PASSED}, set()),
    ]


def test_of_two_partitions_either_may_be_first() -> None:
    walk = Walk(TIMES, Facts(published={("agent_events", 1, 0): None}))
    first = walk.partition(P, [event(0, 0, "x")])
    second = walk.partition(("agent_events", 1), [event(0, 0, "x", partition=1)])
    assert set(first[0].fates) == set(second[0].fates) == {Fate.PASSED}


def test_an_erased_person_is_left_out_moves_nothing_and_what_was_published_before_stays() -> None:
    facts = Facts(published={("agent_events", 0, 0): None}, is_erased=lambda user: user == "gone")
    judged = walked(event(0, 1, user="gone"), event(1, 90, user="gone"), event(2, 3, user="here"), facts=facts)
    assert [set(one.fates) for one in judged] == [{Fate.PASSED}, {Fate.ERASED}, {Fate.PASSED}]
    assert judged[2].watermark == 1


def test_dead_letters_that_only_the_run_can_know_are_adopted() -> None:
    dead = {("agent_events", 0, 0): "model_unavailable", ("agent_events", 0, 1): "output_oversized"}
    judged = walked(event(0, 90), event(1, 5), event(2, 6), facts=Facts(dead=dead))
    assert [set(one.codes) for one in judged] == [{"model_unavailable"}, {"output_oversized"}, set()]
    assert [one.watermark for one in judged] == [None, None, 5]
    assert [one.counted for one in judged] == [False, True, True]
