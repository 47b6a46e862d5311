"""Loads the fixtures that every kind of test may ask for."""

pytest_plugins = ["tests.fixtures.parts", "tests.fixtures.deployment"]
