"""The packages that training and evaluation read, and the Python that training runs in; installed where they are missing, never skipped."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
#: These run in the environment of training, started by test_in_its_environment.py.
collect_ignore = [] if find_spec("jax") else ["inside"]


@pytest.fixture(scope="session")
def training_packages() -> Path:
    """Folder of the packages that models learn from."""
    from models.train.environment import DATA, packages

    return packages(ROOT, DATA, print)


@pytest.fixture(scope="session")
def testing_packages() -> Path:
    """Folder of the packages that models are only tested on."""
    from models.train.environment import TEST, packages

    return packages(ROOT, TEST, print)


@pytest.fixture(scope="session")
def training_python() -> Path:
    """The Python of the environment of training, with both folders of packages beside it."""
    from models.train.environment import make

    return make(ROOT, print, with_tests=True)
