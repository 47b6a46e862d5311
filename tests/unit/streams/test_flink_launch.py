"""Before a job on Flink starts: what it does not do is refused, and it goes on from the newest state."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import ConfigError
from streams.config import Config, FlinkConfig
from streams.engines.flink.launch import FlinkRun, end_orphan, newest_state, problems_on_flink, run_on_flink
from streams.engines.flink.parts import missing_for_flink
from streams.policy_file import load_policy
from streams.stop import Stop

KAFKA: dict[str, Any] = {"bootstrap": "127.0.0.1:1"}


@pytest.mark.parametrize(
    ("section", "values"),
    [
        ("timescale", {"dsn": "postgresql://nobody@127.0.0.1/none"}),
        ("qdrant", {"type": "local", "path": "q"}),
        ("http", {}),
        ("kafka", {**KAFKA, "security": {"sasl.username": "u"}}),
    ],
)
def test_what_a_run_on_flink_does_not_do_is_refused(section: str, values: dict[str, Any]) -> None:
    config = Config.model_validate({"kafka": KAFKA, section: values})
    (problem,) = problems_on_flink(config, load_policy(None))
    assert problem.startswith(section)


def test_tls_to_the_brokers_is_not_refused() -> None:
    security = {"security.protocol": "SSL", "ssl.ca.location": "ca.pem"}
    assert problems_on_flink(Config.model_validate({"kafka": {**KAFKA, "security": security}}), load_policy(None)) == []


def test_missing_parts_are_told_at_once_with_their_fix(tmp_path: Path) -> None:
    config = Config.model_validate({"kafka": KAFKA, "flink": {"environment": tmp_path / "env", "jars": tmp_path / "jars"}})
    assert [problem.partition(":")[0] for problem in missing_for_flink(config) if "make flink" in problem] == ["flink.environment", "flink.jars"]
    run = FlinkRun(config, None, load_policy(None), frozenset(), until_end=False, cluster=None, resume=None, tell=lambda _line: None)
    with pytest.raises(ConfigError, match="make flink"):
        run_on_flink(run, Stop(0.0))


def test_a_run_goes_on_from_the_newest_complete_state(tmp_path: Path) -> None:
    assert newest_state(tmp_path) is None
    for number, name in enumerate(("checkpoints/a/chk-3", "checkpoints/b/chk-1", "savepoints/savepoint-a")):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "_metadata").touch()
        os.utime(tmp_path / name / "_metadata", (number, number))
    (tmp_path / "checkpoints/b/chk-2").mkdir()  # torn: no metadata
    assert newest_state(tmp_path) == (tmp_path / "savepoints/savepoint-a").as_uri()


def test_only_the_java_process_of_a_killed_run_is_ended(tmp_path: Path) -> None:
    waits = "import sys; sys.stdin.read()"
    orphan, other = (subprocess.Popen([sys.executable, "-c", waits, name], stdin=subprocess.PIPE) for name in ("PythonGatewayServer", "other"))
    # A child that has ended still has its number until it is waited for, with no command line.
    for process in (orphan, other):
        (tmp_path / "jvm.pid").write_text(str(process.pid))
        end_orphan(tmp_path)
        assert not (tmp_path / "jvm.pid").exists()
    assert orphan.wait(30) == -9
    assert other.poll() is None
    other.kill()
    other.communicate()
    assert orphan.stdin is not None
    orphan.stdin.close()


def test_the_defaults_lie_where_make_flink_puts_them() -> None:
    makefile = Path(__file__).parents[3] / "scripts" / "flink.sh"
    assert f"PLACE={FlinkConfig().jars.parent}" in makefile.read_text()
    assert FlinkConfig().environment == Path(".headrace/flink/env")
