"""State packs: a save writes the touched buckets alone, a load gives all of them back, and nothing damaged passes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.contract import EMPTY_STATE, Order, Outcome, State, StateSpec
from schemas.errors import ConfigError, FatalError
from streams.packs import LanePacks

SCHEMA = pl.Schema({"n": pl.Int64()})


@dataclass(frozen=True, slots=True)
class Step:
    """A keyed step whose state the tests hand in."""

    name: str = "count"
    version: int = 1
    order: Order = Order.COMMUTATIVE

    @property
    def state_spec(self) -> StateSpec:
        return StateSpec(self.version, SCHEMA, "none")

    def apply(self, state: State, batch: pl.DataFrame, watermark: int | None) -> tuple[State, Outcome]:
        return state, Outcome(batch)


STEPS = {"count": Step()}


def bucket(*values: int) -> pl.DataFrame:
    return pl.DataFrame({"n": values}, schema=SCHEMA)


def packs(path: Path) -> list[str]:
    return sorted(found.name for found in path.iterdir())


def rows(states: dict[str, State]) -> dict[str, dict[str, list[int]]]:
    return {step: {name: frame["n"].to_list() for name, frame in state.items()} for step, state in states.items()}


def test_a_fresh_lane_is_empty(tmp_path: Path) -> None:
    lane = LanePacks(tmp_path / "0", STEPS, None)
    assert lane.states() == {"count": EMPTY_STATE}
    assert rows(LanePacks(tmp_path / "0", STEPS, lane.save({"count": EMPTY_STATE})).states()) == {"count": {}}


def test_only_touched_buckets_are_written(tmp_path: Path) -> None:
    lane, still, moved = LanePacks(tmp_path, STEPS, None), bucket(*range(1000)), bucket(1)
    lane.save({"count": {"still": still, "moved": moved}})
    (first,) = packs(tmp_path)
    manifest = json.loads(lane.save({"count": {"still": still, "moved": bucket(2)}}))
    second = (set(packs(tmp_path)) - {first}).pop()
    assert {name: place[0] for name, place in manifest["steps"]["count"].items()} == {"still": first, "moved": second}
    assert (tmp_path / second).stat().st_size == manifest["steps"]["count"]["moved"][2]  # nothing but the one bucket


def test_a_save_without_a_touch_writes_no_file(tmp_path: Path) -> None:
    lane, state = LanePacks(tmp_path, STEPS, None), {"count": {"a": bucket(1)}}
    lane.save(state)
    before = packs(tmp_path)
    lane.save(state)
    assert packs(tmp_path) == before


def test_untouched_buckets_stay_the_same_objects_and_are_not_written_after_a_load(tmp_path: Path) -> None:
    manifest = LanePacks(tmp_path, STEPS, None).save({"count": {"a": bucket(1), "b": bucket(2)}})
    before = packs(tmp_path)
    lane = LanePacks(tmp_path, STEPS, manifest)
    loaded = lane.states()
    assert lane.states()["count"]["a"] is loaded["count"]["a"]
    lane.save(loaded)
    assert packs(tmp_path) == before
    assert lane.states()["count"]["a"] is loaded["count"]["a"]


def test_packs_within_reach_of_a_crash_are_kept_and_older_ones_go(tmp_path: Path) -> None:
    lane = LanePacks(tmp_path, STEPS, None)
    manifests = [lane.save({"count": {"a": bucket(turn)}}) for turn in range(6)]
    assert len(packs(tmp_path)) == 3  # of the last three snapshots
    assert rows(LanePacks(tmp_path, STEPS, manifests[-2]).states()) == {"count": {"a": [4]}}
    with pytest.raises(FatalError, match="is gone"):
        LanePacks(tmp_path, STEPS, manifests[0])


def test_a_pack_lives_as_long_as_one_bucket_in_it_is_used(tmp_path: Path) -> None:
    lane, old = LanePacks(tmp_path, STEPS, None), bucket(7)
    lane.save({"count": {"old": old, "a": bucket(0)}})
    for turn in range(5):
        manifest = lane.save({"count": {"old": old, "a": bucket(turn)}})
    assert rows(LanePacks(tmp_path, STEPS, manifest).states()) == {"count": {"old": [7], "a": [4]}}


def test_a_life_that_resumed_does_not_overwrite_what_its_snapshot_refers_to(tmp_path: Path) -> None:
    first = LanePacks(tmp_path, STEPS, None).save({"count": {"a": bucket(1)}})
    second = LanePacks(tmp_path, STEPS, first)
    second.save({"count": {"a": bucket(2)}})  # never committed: the process dies
    third = LanePacks(tmp_path, STEPS, first)
    assert rows(third.states()) == {"count": {"a": [1]}}
    manifest = third.save({"count": {"a": bucket(3)}})
    assert rows(LanePacks(tmp_path, STEPS, manifest).states()) == {"count": {"a": [3]}}


def test_what_a_crash_left_half_written_is_removed(tmp_path: Path) -> None:
    manifest = LanePacks(tmp_path, STEPS, None).save({"count": {"a": bucket(1)}})
    before = packs(tmp_path)
    (tmp_path / "000000000002.pack.part").write_bytes(b"half")
    LanePacks(tmp_path, STEPS, manifest)
    assert packs(tmp_path) == before


def test_a_missing_pack_stops_the_run(tmp_path: Path) -> None:
    manifest = LanePacks(tmp_path, STEPS, None).save({"count": {"a": bucket(1)}})
    (pack,) = tmp_path.iterdir()
    pack.unlink()
    with pytest.raises(FatalError, match=rf"{pack.name}.*is gone; restore the recovery directory"):
        LanePacks(tmp_path, STEPS, manifest)


@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_a_damaged_pack_stops_the_run_and_the_bucket_is_named(tmp_path: Path, damage: str) -> None:
    manifest = LanePacks(tmp_path, STEPS, None).save({"count": {"a": bucket(1)}})
    (pack,) = tmp_path.iterdir()
    data = bytearray(pack.read_bytes())
    data[len(data) // 2] ^= 1
    pack.write_bytes(data if damage == "flipped" else data[:-1])
    with pytest.raises(FatalError, match="bucket a of step count is damaged"):
        LanePacks(tmp_path, STEPS, manifest)


def test_state_of_another_version_is_refused(tmp_path: Path) -> None:
    manifest = LanePacks(tmp_path, STEPS, None).save({"count": {"a": bucket(1)}})
    with pytest.raises(ConfigError, match="reads version 2, the snapshot holds version 1"):
        LanePacks(tmp_path, {"count": Step(version=2)}, manifest)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from("abc"), st.integers(0, 3), max_size=3), min_size=2, max_size=6), st.integers(1, 2))
def test_any_run_of_saves_comes_back_from_the_last_snapshot_and_the_one_before(
    tmp_path_factory: pytest.TempPathFactory, turns: list[dict[str, int]], back: int
) -> None:
    path = tmp_path_factory.mktemp("lane")
    lane, frames = LanePacks(path, STEPS, None), {(name, n): bucket(n) for name in "abc" for n in range(4)}
    manifests = [lane.save({"count": {name: frames[name, n] for name, n in turn.items()}}) for turn in turns]
    resumed = LanePacks(path, STEPS, manifests[-back])
    assert rows(resumed.states()) == {"count": {name: [n] for name, n in turns[-back].items()}}
