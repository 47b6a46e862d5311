"""Every step has a section with an example that runs, every sink a section, and the examples in docstrings are right."""

from __future__ import annotations

import doctest
import importlib
import re

import pytest

from governance.parse import default_policy
from operators.registry import OPERATORS
from sinks.files import FilesSink
from sinks.kafka import KafkaSink
from sinks.qdrant import QdrantSink
from sinks.timescale import TimescaleSink
from sinks.vault import VaultSink
from streams.config import Config
from streams.pipeline import build_topology

from docs_text import blocks
from source_tree import PRODUCT_PACKAGES, Source, read, sources

_SINKS = {"kafka": KafkaSink, "timescale": TimescaleSink, "qdrant": QdrantSink, "vault": VaultSink, "files": FilesSink}
_DOCTESTED = [source for source in sources(*PRODUCT_PACKAGES) if ">>> " in source.text]


def sections(page: str) -> dict[str, str]:
    """Gives the text under each heading of the second level that is a name in backticks."""
    parts = re.split(r"^## `(\w+)`$", read(page), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_every_operator_has_a_section_and_runs_in_the_pipeline_in_the_order_of_the_registry() -> None:
    topology = build_topology(Config(), default_policy(), bytes(32), None)
    names = [operator.name for operator in OPERATORS]
    assert list(sections("docs/operators.md")) == names
    behind = [step.name for step in topology.shared_steps if step.name != "deduplicate_shared"]
    assert [*(step.name for step in (*topology.front, *topology.keyed)), *behind] == names


@pytest.mark.parametrize("name", list(sections("docs/operators.md")))
def test_a_step_is_shown_by_an_example(name: str) -> None:
    assert [block for block in blocks("docs/operators.md", sections("docs/operators.md")[name]) if block.language == "python"] != []


def test_every_sink_has_a_section() -> None:
    written = {source.path for source in sources("sinks") if re.search(r"^class \w+Sink\b", source.text, flags=re.MULTILINE)}
    assert {f"sinks/{kind.__module__.rpartition('.')[2]}.py" for kind in _SINKS.values()} == written
    assert list(sections("docs/sinks.md")) == list(_SINKS)


@pytest.mark.parametrize("source", _DOCTESTED, ids=lambda source: source.path)
def test_the_examples_in_docstrings_are_right(source: Source) -> None:
    module = importlib.import_module(source.path.removesuffix(".py").removesuffix("/__init__").replace("/", "."))
    result = doctest.testmod(module, optionflags=doctest.ELLIPSIS)
    assert result.attempted > 0
    assert result.failed == 0
