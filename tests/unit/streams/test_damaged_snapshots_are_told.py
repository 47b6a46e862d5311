"""Where the engine cannot write or read its own snapshots, the run stops and says which directory it is and what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from governance.parse import default_policy
from schemas.errors import FatalError
from streams.config import Config
from streams.credits import Credits
from streams.engines.bytewax import Pace, Run, run_flow
from streams.failpoints import Failpoints
from streams.patience import Patience
from streams.pipeline import build_topology
from streams.recovery import RecoveryDirectory
from streams.registry import open_registry
from streams.sources import KafkaInput
from streams.stop import Stop
from streams.telemetry import Telemetry


def run_in(recovery: RecoveryDirectory) -> Run:
    """Gives a run that comes no further than its snapshots."""
    config, telemetry = Config(), Telemetry()
    return Run(
        topology=build_topology(config, default_policy(), b"a key for tests, thirty-two bytes", open_registry(config)),
        source=KafkaInput({"bootstrap.servers": "127.0.0.1:1"}, "test", ()),
        sinks=(),
        begin_inputs={},
        begin_sinks={},
        recovery=recovery,
        source_lanes=1,
        workers=1,
        pace=Pace(10, 1.0, 0.01, 1.0, 1.0),
        credits=Credits(10, telemetry.rows_in_flight),
        write_deadline_s=1.0,
        patience=Patience(0.1, 0.1),
        stop=Stop(),
        telemetry=telemetry,
        failpoints=Failpoints(None),
    )


def is_a_file(engine: Path) -> None:
    (engine / "part-0.sqlite3").mkdir(parents=True)


def is_rubbish(engine: Path) -> None:
    engine.mkdir()
    (engine / "part-0.sqlite3").write_bytes(b"rubbish" * 1_000)


def is_empty(engine: Path) -> None:
    engine.mkdir()


@pytest.mark.parametrize("damage", [is_a_file, is_rubbish, is_empty])
def test_damaged_snapshots_stop_the_start_with_their_place(damage: Callable[[Path], None], tmp_path: Path) -> None:
    with RecoveryDirectory(tmp_path / "recovery") as recovery:
        damage(recovery.engine_path)
        with pytest.raises(FatalError, match=r"recovery/engine: the engine cannot read or write its snapshots .* from a backup"):
            run_flow(run_in(recovery))
