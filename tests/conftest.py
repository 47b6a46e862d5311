"""Loads the fixtures that every kind of test may ask for, and knows the options of all."""

import pytest

pytest_plugins = ["tests.fixtures.parts", "tests.fixtures.deployment", "tests.fixtures.triton", "tests.fixtures.built_models"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds what a command line may say beside pytest's own options."""
    parser.addoption(
        "--qdrant-grpc", help="host:port of a Qdrant server's gRPC, to run the suite of the sinks against it; its key in HEADRACE_QDRANT_API_KEY"
    )
    parser.addoption("--update-golden", action="store_true", help="write what tests/golden expects anew; read the difference before you commit it")
