"""Compiled databases: a kept one finds what a new one finds, and one that is damaged or of other expressions is never used."""

from __future__ import annotations

from pathlib import Path

import hyperscan
import pytest

from operators.multipattern import multipattern
from streams.compiled import CompiledDirectory

FLAGS = hyperscan.HS_FLAG_CASELESS | hyperscan.HS_FLAG_SINGLEMATCH
EXPRESSIONS = {3: rb"\d{4}", 7: b"tent"}


class Memory(dict[str, bytes]):
    def put(self, name: str, data: bytes) -> None:
        self[name] = data


def found(database: hyperscan.Database, text: bytes) -> list[int]:
    ids: list[int] = []
    database.scan(text, match_event_handler=lambda index, *_: ids.append(index))
    return sorted(ids)


def test_a_kept_database_finds_what_a_new_one_finds() -> None:
    store = Memory()
    new, kept = multipattern(EXPRESSIONS, FLAGS, store), multipattern(EXPRESSIONS, FLAGS, store)
    assert len(store) == 1
    for text in (b"a TENT for 1234", b"tent", b"", b"123"):
        assert found(kept, text) == found(new, text)
    assert found(kept, b"a TENT for 1234") == [3, 7]


@pytest.mark.parametrize("other", [{3: rb"\d{5}", 7: b"tent"}, {3: rb"\d{4}"}, {7: rb"\d{4}", 3: b"tent"}])
def test_other_expressions_are_compiled_anew(other: dict[int, bytes]) -> None:
    store = Memory()
    multipattern(EXPRESSIONS, FLAGS, store)
    multipattern(other, FLAGS, store)
    assert len(store) == 2


def test_a_damaged_database_is_compiled_anew() -> None:
    store = Memory()
    multipattern(EXPRESSIONS, FLAGS, store)
    (name,) = store
    store[name] = store[name][: len(store[name]) // 2]
    assert found(multipattern(EXPRESSIONS, FLAGS, store), b"tent 1234") == [3, 7]
    assert len(store[name]) > 100


def test_a_directory_that_others_can_write_to_is_not_used(tmp_path: Path) -> None:
    mine = CompiledDirectory(tmp_path / "mine")
    mine.put("a", b"x")
    assert mine.get("a") == b"x"
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    (shared / "a").write_bytes(b"planted")
    assert CompiledDirectory(shared).get("a") is None
