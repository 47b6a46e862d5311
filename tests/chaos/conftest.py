"""What the command line says to the chaos suite."""

from __future__ import annotations

import pytest


@pytest.fixture
def chaos_seed(pytestconfig: pytest.Config) -> int:
    """Which faults, and what is sent."""
    return int(pytestconfig.getoption("--seed"))


@pytest.fixture
def chaos_kills(pytestconfig: pytest.Config) -> int:
    """How many lives are ended under load."""
    return int(pytestconfig.getoption("--kills"))


@pytest.fixture
def chaos_rate(pytestconfig: pytest.Config) -> float:
    """Records a second of that load."""
    return float(pytestconfig.getoption("--rate"))


@pytest.fixture
def chaos_full_rate(pytestconfig: pytest.Config) -> float:
    """Records a second while it is measured how soon a run has caught up."""
    return float(pytestconfig.getoption("--full-rate"))
