"""``headrace verify`` between and after lives that were killed: nothing is found that is not so, and in the end all is there."""

from __future__ import annotations

import itertools
import json
import signal

import pytest

from streams.fleet.fleet import Fleet
from tests.fixtures.deployment import Deployment

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(400)]

DEATHS = ("after_commit:3", "before_snapshot:4", "after_state_update:5", "after_pack:4")
RECORDS_PER_LIFE = 300
SETTINGS = {"source": {"batch_rows_max": 40, "source_lanes": 2, "linger_ms": 5, "idle_ms": 3_600_000}, "pipeline": {"workers": 2, "lanes": 2}}


def test_lives_that_were_killed_verify_clean(deployment: Deployment) -> None:
    deployment.settings = dict(SETTINGS)
    records = Fleet(seed=5, agents=12, rate=200.0, base_time_ms=1_700_000_000_000).records()
    for death in DEATHS:
        deployment.publish(itertools.islice(records, RECORDS_PER_LIFE))
        assert deployment.headrace("run", failpoint=death).returncode == -signal.SIGKILL
        # What lies behind the last snapshot may be there or not, and an open transaction is young: neither is a finding.
        between = json.loads(deployment.headrace("verify", "--json", "--masks", "0").stdout)
        assert between["findings"] == [], json.dumps(between["places"], indent=1)[:4000]
    done = deployment.headrace("run", "--until-end")
    assert done.returncode == 0, done.stderr[-3000:]
    told = deployment.headrace("verify", "--complete", "--masks", "20")
    assert (told.returncode, told.stdout.splitlines()[-1]) == (0, "clean"), told.stdout[-4000:]
