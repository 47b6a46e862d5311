"""Polls shrink to what the steps beside the source do in the stated time, and grow again."""

from __future__ import annotations

from streams.pacing import Pacing


def test_a_slow_step_makes_small_polls() -> None:
    pacing = Pacing(rows_max=4_096, target_s=1.0)
    assert pacing.rows == 4_096
    pacing.took(4_096, 40.96)  # 10 ms a row
    assert pacing.rows == 100
    pacing.took(100, 10.0)
    assert pacing.rows == 10
    pacing.took(10, 100.0)
    assert pacing.rows == 8


def test_polls_grow_step_by_step_and_not_beyond_the_largest() -> None:
    pacing = Pacing(rows_max=100, target_s=1.0)
    pacing.took(100, 12.5)
    seen = []
    for _ in range(6):
        pacing.took(pacing.rows, 0.001)
        seen.append(pacing.rows)
    assert seen == [16, 32, 64, 100, 100, 100]


def test_a_poll_that_is_not_full_and_not_slow_says_nothing() -> None:
    pacing = Pacing(rows_max=4_096, target_s=1.0)
    pacing.took(1, 0.9)
    assert pacing.rows == 4_096
    pacing.took(100, 10.0)
    pacing.took(9, 0.001)
    assert pacing.rows == 10
    pacing.took(0, 0.001)
    assert pacing.rows == 10
    assert Pacing(rows_max=3, target_s=1.0).rows == 3
