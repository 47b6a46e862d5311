"""Every file of the project keeps the rules of the house, and each rule catches what it forbids."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

import code_rules as rules
from source_tree import PRODUCT_PACKAGES, PURE_LAYERS, Source, sources

Rule = Callable[[Source], Iterator[str]]

#: The one door of the pure layers: a schema registry is asked over the network, or read from a folder.
IMPURE_BY_DESIGN = {"schemas/registry.py"}
ENVIRONMENT_READER = "streams/config.py"
#: Places that may be longer than the rule says, each with its reason.
LENGTH_WAIVERS: dict[str, str] = {}


def found(rule: Rule, *folders: str, but: frozenset[str] | set[str] = frozenset()) -> str:
    """Gives all violations, one a line."""
    return "\n".join(violation for source in sources(*folders) if source.path not in but for violation in rule(source))


def test_the_pure_layers_have_no_clock_randomness_input_output_log_or_environment() -> None:
    assert found(rules.impure, *PURE_LAYERS, but=IMPURE_BY_DESIGN) == ""


def test_only_the_configuration_reads_the_environment() -> None:
    assert found(rules.environment_reads, *PRODUCT_PACKAGES, but={ENVIRONMENT_READER}) == ""
    assert found(rules.environment_reads, ENVIRONMENT_READER.partition("/")[0]) != "", f"{ENVIRONMENT_READER} reads it no more: move this rule"


def test_no_module_has_a_vague_name() -> None:
    assert found(rules.vague_names, *PRODUCT_PACKAGES, "tests", "benchmarks") == ""


def test_every_module_says_what_it_is() -> None:
    assert found(rules.missing_docstring, *PRODUCT_PACKAGES, "tests", "benchmarks") == ""


def test_modules_and_functions_fit() -> None:
    long = {line.partition(": ")[0]: line for line in found(rules.too_long, *PRODUCT_PACKAGES, "tests", "benchmarks").splitlines()}
    assert "\n".join(line for place, line in long.items() if place not in LENGTH_WAIVERS) == ""
    assert sorted(LENGTH_WAIVERS.keys() - long.keys()) == [], "waivers that nothing needs any more"


def test_no_cause_of_an_error_is_hidden() -> None:
    assert found(rules.hidden_causes, *PRODUCT_PACKAGES) == ""


def test_no_kafka_client_waits_without_a_deadline() -> None:
    assert found(rules.endless_waits, *PRODUCT_PACKAGES, "tests", "benchmarks") == ""


def test_nothing_listens_on_every_interface() -> None:
    assert found(rules.open_addresses, *PRODUCT_PACKAGES, "benchmarks") == ""


def test_linters_are_waived_by_name() -> None:
    assert found(rules.silenced_linters, *PRODUCT_PACKAGES, "benchmarks") == ""


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (rules.impure, "import time\n"),
        (rules.impure, "from random import randint\n"),
        (rules.impure, "import urllib.request\n"),
        (rules.impure, "from os import environ\n"),
        (rules.impure, "def f(x): return hash(x)\n"),
        (rules.impure, "from datetime import datetime, UTC\ndef f(): return datetime.now(UTC)\n"),
        (rules.impure, "import datetime\ndef f(): return datetime.datetime.now()\n"),
        (rules.impure, "def f(path): return open(path)\n"),
        (rules.impure, "def f(path): return path.read_text()\n"),
        (rules.impure, "print(1)\n"),
        (rules.environment_reads, "import os\nx = os.environ['A']\n"),
        (rules.environment_reads, "import os\nx = os.getenv('A')\n"),
        (rules.environment_reads, "from os import environ as e\n"),
        (rules.environment_reads, "from pydantic_settings import BaseSettings\n"),
        (rules.missing_docstring, "x = 1\n"),
        (rules.missing_docstring, '"""a name with no sentence"""\n'),
        (rules.too_long, '"""Long."""\n' + "x = 1\n" * 500),
        (rules.too_long, "def f():\n" + "    x = 1\n" * 70),
        (rules.hidden_causes, "def f():\n    raise ValueError from None\n"),
        (rules.endless_waits, "from confluent_kafka import Producer\nProducer({}).flush()\n"),
        (rules.endless_waits, "from confluent_kafka import Producer\nProducer({}).flush(-1)\n"),
        (rules.endless_waits, "from confluent_kafka import Producer\nProducer({}).flush(timeout=None)\n"),
        (rules.endless_waits, "from confluent_kafka import Consumer\nConsumer({}).poll()\n"),
        (rules.endless_waits, "from confluent_kafka import Producer\nProducer({}).commit_transaction()\n"),
        (rules.open_addresses, "host = '0.0.0.0'\n"),
        (rules.open_addresses, "listeners = f'PLAINTEXT://0.0.0.0:{port}'\n"),
        (rules.silenced_linters, "import x  # noqa\n"),
        (rules.silenced_linters, "import x  # noqa: DTZ005\n"),
        (rules.silenced_linters, "x: int = ''  # type: ignore\n"),
    ],
)
def test_each_rule_catches_what_it_forbids(rule: Rule, text: str) -> None:
    assert list(rule(Source("operators/planted.py", text))) != []


@pytest.mark.parametrize("path", ["operators/utils.py", "streams/helpers/start.py", "sinks/base.py"])
def test_the_rule_on_names_catches_them(path: str) -> None:
    assert list(rules.vague_names(Source(path, ""))) != []


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (rules.impure, "import polars as pl\nfrom datetime import datetime\n\ndef f(x: pl.Series) -> int:\n    return x.hash().sum()\n"),
        (rules.impure, "from importlib.resources import files\nTEXT = files('schemas').joinpath('a.avsc').read_text()\n"),
        (rules.impure, "class A:\n    def __hash__(self) -> int:\n        return hash(1)\n"),
        (rules.endless_waits, "import sys\nsys.stdout.flush()\n"),
        (rules.endless_waits, "from confluent_kafka import Producer\nProducer({}).flush(5.0)\n"),
        (rules.too_long, "def f():\n" + "    x = 1\n" * 69),
        (rules.hidden_causes, "def f(e):\n    raise ValueError from e\n"),
        (rules.hidden_causes, "def f(e):\n    raise ConfigError('x') from None\n"),
        (rules.hidden_causes, "def f(e):\n    raise errors.JsonInvalid('x') from None\n"),
        (rules.hidden_causes, "def f(e):\n    raise kafka_failure(e, 'x') from None\n"),
    ],
)
def test_a_rule_lets_what_is_allowed_pass(rule: Rule, text: str) -> None:
    assert list(rule(Source("operators/planted.py", text))) == []
