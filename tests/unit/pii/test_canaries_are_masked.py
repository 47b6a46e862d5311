"""The canary corpus is the frozen one, and masking misses of it exactly what is published."""

from __future__ import annotations

import base64

import pytest

from benchmarks.canaries import PAGE, rows, with_tables
from benchmarks.result import FOLDER, load
from tests.corpora.canary_leaves import corpus, digest
from tests.corpora.canary_writings import Search

DIGEST = "eba1e2bc053903600e90f9f60add906c5dcb33dcca55b4b6f8d21a14eb255821"


def test_the_corpus_is_frozen() -> None:
    assert digest() == DIGEST
    assert load(FOLDER / "canaries.json").notes == [f"corpus {DIGEST}"]


def test_the_search_knows_each_canary_where_it_was_planted() -> None:
    planted = list(corpus())
    data = b"\n".join(one.event + one.key + repr(one.headers).encode() for one in planted)
    assert Search(one.value for one in planted).found_in(data) == {one.value for one in planted}


@pytest.mark.parametrize("coding", ["utf-16-le", "utf-16-be"])
def test_the_search_knows_other_writings(coding: str) -> None:
    search = Search(["mia@mail.example.com", "other@mail.example.com"])
    text = "so MIA@mail.example.com wrote"
    for data in (text.encode(coding), base64.b64encode(b"x" + text.encode()), text.encode().hex().upper().encode()):
        assert search.found_in(b"..." + data + b"...") == {"mia@mail.example.com"}
    assert search.found_in(b"mia@mail.example.org") == set()


def test_what_is_missed_is_what_is_published() -> None:
    found = rows()
    published = {tuple(row.labels.values()): (row.values["planted"], row.values["missed"]) for row in load(FOLDER / "canaries.json").rows}
    assert {tuple(row.labels.values()): (row.values["planted"], row.values["missed"]) for row in found} == published
    assert with_tables(PAGE.read_text(), found) == PAGE.read_text()
