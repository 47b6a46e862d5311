"""Texts of many callers become batches: bounded, in turns, of like length, none lost and none twice."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from models.batching import Admission, Call, Item, Queue, by_call


def call_of(sizes: list[int]) -> tuple[Call, list[Item]]:
    call = Call(60.0, [None] * len(sizes), len(sizes))
    return call, [Item(call, place, b"x" * size, size) for place, size in enumerate(sizes)]


def offered(admission: Admission, sizes: list[int]) -> tuple[Call, list[Item]]:
    call, items = call_of(sizes)
    admission.offer(call, items)
    return call, items


def test_a_large_call_leaves_a_turn_to_a_small_one_behind_it() -> None:
    admission = Admission(texts_max=6, bytes_max=1_000, turn_texts=4)
    large, _ = offered(admission, [1] * 100)
    small, _ = offered(admission, [1] * 2)
    assert Counter(id(item.call) for item in admission.admit()) == {id(large): 4, id(small): 2}


def test_nothing_is_admitted_beyond_the_bound_and_released_room_is_used_again() -> None:
    admission = Admission(texts_max=3, bytes_max=1_000, turn_texts=2)
    offered(admission, [1] * 5)
    first = admission.admit()
    assert len(first) == 3
    assert admission.admit() == []
    admission.release(first[:1])
    assert len(admission.admit()) == 1
    assert admission.texts == 3


def test_bytes_bound_admission_too_and_a_text_over_the_bound_goes_alone() -> None:
    admission = Admission(texts_max=100, bytes_max=10, turn_texts=64)
    _, items = offered(admission, [6, 4, 1, 50, 1])
    assert admission.admit() == items[:2]
    admission.release(items[:2])
    assert admission.admit() == items[2:3], "the large one waits until it is alone"
    admission.release(items[2:3])
    assert admission.admit() == items[3:4]
    admission.release(items[3:4])
    assert admission.admit() == items[4:]


def test_a_call_that_is_over_leaves_the_line() -> None:
    admission = Admission(texts_max=2, bytes_max=100, turn_texts=2)
    given_up, _ = offered(admission, [1] * 4)
    _, waiting = offered(admission, [1])
    first = admission.admit()
    given_up.over = True
    admission.release(first)
    assert admission.admit() == waiting


def test_a_round_is_cut_by_length_and_what_comes_later_waits_for_the_next() -> None:
    queue = Queue(batch_texts_max=2, batch_bytes_max=1_000)
    _, items = call_of([9, 1, 8, 2])
    queue.put(items)
    assert [len(item.data) for item in queue.take()[0]] == [1, 2]
    _, later = call_of([1])
    queue.put(later)
    assert [len(item.data) for item in queue.take()[0]] == [8, 9], "a short newcomer does not overtake"
    assert queue.take()[0] == later
    assert queue.take() == ([], [])


def test_a_batch_is_bounded_in_bytes() -> None:
    queue = Queue(batch_texts_max=64, batch_bytes_max=10)
    queue.put(call_of([4, 4, 4, 30])[1])
    assert [[len(item.data) for item in queue.take()[0]] for _ in range(3)] == [[4, 4], [4], [30]]


def test_texts_of_calls_that_are_over_are_dropped_and_told() -> None:
    queue = Queue(batch_texts_max=64, batch_bytes_max=1_000)
    gone, its = call_of([1, 1])
    _, live = call_of([1])
    queue.put([*its, *live])
    gone.over = True
    batch, dropped = queue.take()
    assert batch == live
    assert dropped == its


def test_a_batch_is_cut_up_by_caller_and_goes_first() -> None:
    queue = Queue(batch_texts_max=64, batch_bytes_max=1_000)
    _, one = call_of([1, 3])
    _, two = call_of([2])
    queue.put([*one, *two])
    batch, _ = queue.take()
    queue.put(call_of([1])[1])
    queue.put_first(by_call(batch))
    assert sorted(len(queue.take()[0]) for _ in range(2)) == [1, 2]
    assert len(queue.take()[0]) == 1


calls = st.lists(st.lists(st.integers(0, 12), max_size=9), max_size=6)


@given(calls, st.integers(1, 5), st.integers(1, 20), st.integers(1, 4))
def test_every_text_is_sent_once_within_all_bounds(sizes: list[list[int]], texts_max: int, bytes_max: int, batch_max: int) -> None:
    admission = Admission(texts_max, bytes_max, batch_max)
    queue = Queue(batch_max, bytes_max)
    expected = [item for each in sizes for item in offered(admission, each)[1]]
    sent: list[Item] = []
    while True:
        queue.put(admission.admit())
        assert admission.texts <= texts_max
        assert admission.size_bytes <= bytes_max or admission.texts == 1
        batch, _ = queue.take()
        if not batch:
            break
        assert len(batch) <= batch_max
        sent += batch
        admission.release(batch)
    assert sorted(map(id, sent)) == sorted(map(id, expected))
    assert (admission.texts, admission.size_bytes) == (0, 0)
