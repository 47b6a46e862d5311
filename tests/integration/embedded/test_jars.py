"""Jars are fetched once, by one process, and never taken for complete when Maven failed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from schemas.errors import ConfigError
from streams.embedded.jars import jars_present, missing_java, resolve_jars

FETCHING_MVN = """#!/bin/sh
echo fetched >> {calls}
for argument; do case $argument in -DoutputDirectory=*) touch "${{argument#-DoutputDirectory=}}/broker.jar" ;; esac; done
"""
FAILING_MVN = """#!/bin/sh
for argument; do case $argument in -DoutputDirectory=*) touch "${argument#-DoutputDirectory=}/half.jar" ;; esac; done
echo "[ERROR] could not find the artifact"
exit 1
"""


def put_program(directory: Path, name: str, script: str) -> None:
    program = directory / name
    program.write_text(script)
    program.chmod(0o755)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory before all others on the PATH."""
    path = tmp_path / "bin"
    path.mkdir()
    monkeypatch.setenv("PATH", f"{path}:/usr/bin:/bin")
    return path


@pytest.fixture
def pom(tmp_path: Path) -> Path:
    path = tmp_path / "pom.xml"
    path.write_text("<project/>")
    return path


def test_many_who_ask_at_once_share_one_download(programs: Path, pom: Path, tmp_path: Path) -> None:
    put_program(programs, "mvn", FETCHING_MVN.format(calls=tmp_path / "calls"))
    told: list[str] = []
    with ThreadPoolExecutor(max_workers=4) as pool:
        found = list(pool.map(lambda _: resolve_jars(pom, tmp_path / "jars", told.append), range(4)))
    assert {(path / "broker.jar").exists() for path in found} == {True}
    assert (tmp_path / "calls").read_text().split() == ["fetched"]
    assert len(told) == 1


def test_another_pom_is_resolved_anew(programs: Path, pom: Path, tmp_path: Path) -> None:
    put_program(programs, "mvn", FETCHING_MVN.format(calls=tmp_path / "calls"))
    resolve_jars(pom, tmp_path / "jars", lambda line: None)
    assert jars_present(pom, tmp_path / "jars")
    pom.write_text("<project><!-- another version --></project>")
    assert not jars_present(pom, tmp_path / "jars")


def test_a_failed_download_is_explained_by_mavens_own_words_and_leaves_no_jars(programs: Path, pom: Path, tmp_path: Path) -> None:
    put_program(programs, "mvn", FAILING_MVN)
    with pytest.raises(ConfigError, match=r"(?s)Maven ended with status 1; its log .*could not find the artifact"):
        resolve_jars(pom, tmp_path / "jars", lambda line: None)
    assert not jars_present(pom, tmp_path / "jars")
    assert not (tmp_path / "jars").exists()


@pytest.mark.parametrize(
    ("version", "problem"),
    [("1.8.0_402", "is version 8"), ("11.0.22", "is version 11"), ("16", "is version 16"), ("17", None), ("17.0.15", None), ("21.0.1", None)],
)
def test_a_java_that_is_too_old_is_named_with_its_version(programs: Path, version: str, problem: str | None) -> None:
    put_program(programs, "java", f"#!/bin/sh\necho 'openjdk version \"{version}\" 2024-01-16' >&2\n")
    missing = missing_java()
    assert len(missing) == (0 if problem is None else 1)
    if problem is not None:
        assert problem in missing[0]
