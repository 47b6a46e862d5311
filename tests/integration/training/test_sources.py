"""What models learn from: the same for the same seed, split by source, and nothing of it from the packages that are for tests only."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from models.train import sources
from models.train.attack_tests import ATTACK_TESTS, attack_tests
from models.train.attacks import rows as attack_rows
from models.train.duplicates import SHARE_MOST, runs, without_near_duplicates
from models.train.name_tests import name_tests
from models.train.names import rows as name_rows
from models.train.names.pools import pools

ROOT = Path(__file__).parents[3]
TRAIN_CODE = ROOT / "models" / "train"
RECORDED = ROOT / "tests" / "external" / "tau_bench_airline"
#: The only modules that may read test sets: they measure, or leave out what is in them.
_MAY_READ_TESTS = {"__main__.py", "evaluate.py", "attack_tests.py", "name_tests.py"}


def _pinned(lock: str) -> set[str]:
    text = (ROOT / "requirements" / f"{lock}.in").read_text(encoding="utf-8")
    return {re.split(r"[=\[<>]", line)[0] for line in text.splitlines() if line and line[0] not in "#-"}


def test_no_test_only_package_is_a_source_of_training() -> None:
    learnt = {source.package for source in sources.GUARD_SOURCES}
    assert not learnt & sources.TEST_ONLY
    assert not _pinned("train-data") & sources.TEST_ONLY
    assert _pinned("train-test") >= sources.TEST_ONLY
    assert learnt <= _pinned("train-data")
    assert {source.package for source in ATTACK_TESTS} <= sources.TEST_ONLY


def test_modules_of_training_do_not_read_test_sets() -> None:
    for path in TRAIN_CODE.rglob("*.py"):
        if path.name not in _MAY_READ_TESTS:
            imported = {node.module for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.ImportFrom)}
            assert not imported & {"models.train.attack_tests", "models.train.name_tests"}, path


def test_test_only_packages_are_not_where_training_looks(training_packages: Path) -> None:
    names = {path.name.lower().replace("-", "_") for path in training_packages.iterdir()}
    for package in sources.TEST_ONLY:
        assert not any(name.startswith(f"{package.replace('-', '_')}-") for name in names), package


def test_sources_are_split_by_use() -> None:
    by_name = [source.name for source in (*sources.GUARD_SOURCES, *ATTACK_TESTS)]
    assert len(by_name) == len(set(by_name))
    assert {source.use for source in ATTACK_TESTS} == {sources.TEST}
    assert {source.use for source in sources.GUARD_SOURCES} == {sources.TRAIN, sources.VALIDATION}


def test_every_file_that_a_source_names_is_there(training_packages: Path, testing_packages: Path) -> None:
    for listed, folder in ((sources.GUARD_SOURCES, training_packages), (ATTACK_TESTS, testing_packages)):
        for source in listed:
            for pattern in source.files:
                assert list(folder.glob(pattern)), f"{source.name}: {pattern}"


def test_people_of_training_and_of_validation_are_others(training_packages: Path) -> None:
    learnt, kept = (pools(training_packages / name_rows.PRESIDIO_DATA, part) for part in ("train", "validation"))
    assert not set(learnt.people) & set(kept.people)
    assert not set(learnt.organisations) & set(kept.organisations)
    assert len(learnt.people) > 5_000


@pytest.mark.slow
def test_the_same_seed_makes_the_same_texts(training_packages: Path) -> None:
    for make in (attack_rows.examples, name_rows.examples):
        first = make(training_packages, 300, 7)
        assert first == make(training_packages, 300, 7)
        assert first != make(training_packages, 300, 8)


def test_texts_of_a_source_carry_its_name_and_known_labels(training_packages: Path) -> None:
    for source in sources.GUARD_SOURCES:
        found = list(source.read(training_packages))
        assert found, source.name
        assert {text.source for text in found} == {source.name}
        assert {label for text in found for label in text.labels} <= {-1.0, 0.0, 1.0}


def test_an_attack_lies_where_its_text_says(training_packages: Path) -> None:
    generator = attack_rows.Generator(training_packages, "train", 3)
    for _ in range(100):
        text = generator.text("hidden")
        assert text.attack is not None
        start, end = text.attack
        assert 0 <= start < end <= len(text.text)


@pytest.mark.parametrize("model", ["guard", "pii_tagger"])
def test_what_is_learnt_is_no_near_duplicate_of_a_test_text(model: str, training_packages: Path, testing_packages: Path) -> None:
    if model == "guard":
        learnt = [text.text for text in attack_rows.examples(training_packages, 500, 0)]
        tests = [text.text for text in attack_tests(testing_packages)]
    else:
        learnt = [text.text for text in name_rows.examples(training_packages, 500, 0)]
        tests = [text.text for test in name_tests(testing_packages, RECORDED) for text in test.texts]
    tested = {run for test in tests for run in runs(test)}
    kept = without_near_duplicates(learnt, learnt, tests)
    assert len(kept) > 0.5 * len(learnt)
    assert all(len(runs(text) & tested) < SHARE_MOST * max(1, len(runs(text))) for text in kept if runs(text))
