"""The hash chain: whatever is done to a log is found, and a log that nobody touched is not accused."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.audit_chain import Entry, Flaw, Link, Stated, Walk, follow, genesis

CHAIN = "audit_log/0"


def log(count: int, chain: str = CHAIN) -> list[Entry]:
    head, found = genesis(chain), []
    for number in range(count):
        parts = (b"id-%d" % number, None, b"value %d" % number)
        link = follow(head, parts)
        found.append(Entry(f"offset {number}", Stated(link, head.hash), parts))
        head = link
    return found


def flaws(entries: list[Entry], *anchors: Link) -> list[Flaw]:
    walk = Walk(CHAIN)
    walk.watch(anchor.seq for anchor in anchors)
    found = [finding.flaw for entry in entries for finding in walk.take(entry)]
    return found + [finding.flaw for finding in walk.compare(anchors)]


def link_of(entry: Entry) -> Link:
    assert entry.stated is not None
    return entry.stated.link


@given(st.integers(0, 9), st.data())
def test_a_log_that_nobody_touched_has_no_flaw(count: int, data: st.DataObject) -> None:
    entries = log(count)
    anchored = data.draw(st.lists(st.sampled_from(entries), max_size=3)) if entries else []
    assert flaws(entries, *map(link_of, anchored)) == []


@given(st.integers(1, 9), st.data())
def test_an_edit_of_any_part_is_found(count: int, data: st.DataObject) -> None:
    entries = log(count)
    at, part = data.draw(st.integers(0, count - 1)), data.draw(st.integers(0, 2))
    parts = list(entries[at].parts)
    parts[part] = data.draw(st.one_of(st.none(), st.binary(max_size=3)).filter(lambda new: new != parts[part]))
    entries[at] = replace(entries[at], parts=parts)
    assert flaws(entries) == [Flaw.EDITED]


@given(st.integers(3, 9), st.data())
def test_a_gap_is_found(count: int, data: st.DataObject) -> None:
    entries = log(count)
    begin = data.draw(st.integers(1, count - 2))
    end = data.draw(st.integers(begin + 1, count - 1))
    del entries[begin:end]
    assert flaws(entries) == [Flaw.GAP]


@given(st.integers(3, 9), st.data())
def test_another_order_is_found(count: int, data: st.DataObject) -> None:
    entries = log(count)
    one, other = sorted(data.draw(st.lists(st.integers(0, count - 1), min_size=2, max_size=2, unique=True)))
    entries[one], entries[other] = entries[other], entries[one]
    assert Flaw.REORDERED in flaws(entries)


def test_an_entry_written_twice_is_found() -> None:
    entries = log(4)
    assert flaws([*entries[:3], entries[2], entries[3]]) == [Flaw.REORDERED]


@pytest.mark.parametrize("kept", [0, 1, 4])
def test_an_end_that_was_cut_off_is_found_by_an_anchor_and_by_nothing_else(kept: int) -> None:
    entries = log(5)
    assert flaws(entries[:kept]) == []
    assert flaws(entries[:kept], link_of(entries[4])) == [Flaw.TRUNCATED]


def test_a_beginning_that_was_cut_off_is_found() -> None:
    assert flaws(log(5)[2:]) == [Flaw.CUT_OFF]


def test_a_log_that_was_written_anew_is_found_by_an_anchor() -> None:
    entries = log(5)
    head, forged = genesis(CHAIN), []
    for entry in entries:
        parts = (*entry.parts[:2], b"forged")
        link = follow(head, parts)
        forged.append(Entry(entry.place, Stated(link, head.hash), parts))
        head = link
    assert flaws(forged) == []
    assert flaws(forged, link_of(entries[3])) == [Flaw.REWRITTEN]


def test_a_fork_is_found() -> None:
    """Two writers that follow the same entry."""
    entries = log(3)
    parts = (b"id-x", None, b"other")
    fork = follow(link_of(entries[1]), parts)
    next_parts = (b"id-y", None, b"next")
    after = follow(fork, next_parts)
    forked = [*entries, Entry("offset 3", Stated(after, fork.hash), next_parts)]
    assert flaws(forked) == [Flaw.BROKEN]


def test_an_entry_without_a_link_is_found() -> None:
    entries = log(2)
    assert flaws([entries[0], Entry("offset x", None, (b"a",)), entries[1]]) == [Flaw.UNLINKED]


def test_a_chain_cannot_stand_in_for_another_one() -> None:
    assert flaws(log(2, "audit_log/1")) == [Flaw.BROKEN]


@given(st.integers(0, 2**40), st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
def test_a_header_comes_back(seq: int, own: bytes, before: bytes) -> None:
    stated = Stated(Link(seq, own), before)
    assert Stated.from_header(stated.to_header()) == stated


@given(st.one_of(st.binary(max_size=150), st.text("0123456789abcdef:-", max_size=150).map(str.encode)))
def test_a_header_that_is_something_else_is_no_place(header: bytes) -> None:
    read = Stated.from_header(header)
    assert read is None or len(read.link.hash) == 32
