"""Loads the fixtures that every kind of test may ask for, and knows the options of all."""

import pytest

pytest_plugins = ["tests.fixtures.parts", "tests.fixtures.deployment", "tests.fixtures.triton", "tests.fixtures.built_models"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds what a command line may say beside pytest's own options."""
    parser.addoption(
        "--qdrant-grpc", help="host:port of a Qdrant server's gRPC, to run the suite of the sinks against it; its key in HEADRACE_QDRANT_API_KEY"
    )
    parser.addoption("--update-golden", action="store_true", help="write what tests/golden expects anew; read the difference before you commit it")
    parser.addoption("--seed", type=int, default=1, help="tests/chaos: which faults come, and what the fleet sends; a failure names it")
    parser.addoption("--kills", type=int, default=20, help="tests/chaos: lives that are ended under load")
    parser.addoption("--rate", type=float, default=200.0, help="tests/chaos: records a second while lives are ended")
    parser.addoption("--full-rate", type=float, default=1_000.0, help="tests/chaos: records a second at which catching up is measured")
