"""Runs a topic's expectations on a window, with Great Expectations: its numbers come out, values do not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pandas as pd

from governance.avro_contracts import generated
from governance.contracts import Expectation
from governance.policy import Policy
from schemas.errors import ConfigError
from streams.contracts.window import READABLE, Coordinates, Window, fields_of, schema_of

#: Records of one broken expectation whose coordinates are kept.
PLACES_MAX: Final = 10_000
#: Counts only: what a record holds goes into no result, page or log.
_COUNTS: Final = {"result_format": "BASIC", "partial_unexpected_count": 0, "include_unexpected_rows": False}
_ROWS: Final = {"result_format": "COMPLETE", "partial_unexpected_count": 0, "include_unexpected_rows": False, "return_unexpected_index_query": False}


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of one expectation.

    Attributes:
        expectation: Which.
        held: Whether it held.
        unexpected: Records for which it did not; 0 where it is not about single records, or could not be computed.
        places: Where they lie, PLACES_MAX at most.
    """

    expectation: Expectation
    held: bool
    unexpected: int
    places: tuple[Coordinates, ...] = ()


class Contracts:
    """The contracts of a policy, ready to be held against windows.

    Args:
        policy: Whose.
        pages: Folder of the data docs; None writes none.

    Raises:
        ConfigError: Great Expectations refuses an expectation of the policy.
    """

    def __init__(self, policy: Policy, pages: Path | None = None) -> None:
        self._policy = policy
        self._context = _context(pages)
        self._pages = pages
        self._suites: dict[str, tuple[tuple[Expectation, ...], Any]] = {}
        for topic in {expectation.topic for expectation in policy.contracts.expect}:
            self._suite(topic)

    def of_topic(self, topic: str) -> tuple[Expectation, ...]:
        """Gives what is expected of a topic: what its schema says, then what policy adds."""
        readable = Expectation(
            topic, "expect_column_values_to_be_in_set", READABLE, '{"value_set":[true]}', why="the record is JSON or Avro of its schema"
        )
        added = tuple(one for one in self._policy.contracts.expect if one.topic == topic)
        return (readable, *generated(topic, schema_of(topic)), *added)

    def check(self, window: Window) -> list[Finding]:
        """Holds the contract of its topic against a window; nothing for an empty one."""
        if not window.rows:
            return []
        expectations, suite = self._suite(window.topic)
        batch = self._batches(window.topic).get_batch({"dataframe": _frame(window)})
        results = batch.validate(suite, result_format=_ROWS)
        if self._pages is not None:
            self._keep(window, suite)
        by_digest = {result.expectation_config.meta["digest"]: result for result in results.results}
        return [_finding(expectation, by_digest[expectation.digest], window) for expectation in expectations]

    def write_pages(self) -> Path | None:
        """Builds the data docs of what was checked and gives their first page; None where none are wanted."""
        if self._pages is None:
            return None
        self._context.build_data_docs()
        return self._pages / "gx" / "uncommitted" / "data_docs" / "local_site" / "index.html"

    def _suite(self, topic: str) -> tuple[tuple[Expectation, ...], Any]:
        if topic not in self._suites:
            import great_expectations as gx

            expectations = self.of_topic(topic)
            suite = gx.ExpectationSuite(name=topic)
            for expectation in expectations:
                suite.add_expectation(_made(expectation))
            self._suites[topic] = expectations, self._context.suites.add_or_update(suite)
        return self._suites[topic]

    def _batches(self, topic: str) -> Any:
        name = f"windows of {topic}"
        try:
            return self._context.data_sources.get(name).get_asset(topic).get_batch_definition("window")
        except (KeyError, LookupError):
            return self._context.data_sources.add_pandas(name).add_dataframe_asset(topic).add_batch_definition_whole_dataframe("window")

    def _keep(self, window: Window, suite: Any) -> None:
        """Stores counts for the data docs."""
        import great_expectations as gx

        held = gx.ValidationDefinition(name=window.topic, data=self._batches(window.topic), suite=suite)
        definition = self._context.validation_definitions.add_or_update(held)
        definition.run(batch_parameters={"dataframe": _frame(window)}, result_format=_COUNTS)


def _context(pages: Path | None) -> Any:
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    if pages is not None:
        pages.mkdir(parents=True, exist_ok=True)
    context = gx.get_context(mode="ephemeral") if pages is None else gx.get_context(mode="file", project_root_dir=str(pages))
    context.variables.progress_bars = ProgressBarsConfig(globally=False, metric_calculations=False)
    return context


def _made(expectation: Expectation) -> Any:
    import great_expectations as gx
    from great_expectations.exceptions.exceptions import GreatExpectationsError

    name = "".join(part.capitalize() for part in expectation.name.split("_"))
    mostly = {} if expectation.mostly_ppm == 1_000_000 else {"mostly": expectation.mostly_ppm / 1_000_000}
    meta = {"digest": expectation.digest, "why": expectation.why}
    problem = ""
    try:
        return getattr(gx.expectations, name)(column=expectation.column, meta=meta, **mostly, **expectation.keywords)
    except (GreatExpectationsError, ValueError, TypeError) as error:
        problem = type(error).__name__
    raise ConfigError(
        f"contracts: {expectation.name} on {expectation.topic}.{expectation.column}: the arguments do not fit ({problem}); "
        "the names and types that it takes are in the documentation of Great Expectations"
    )


def _frame(window: Window) -> pd.DataFrame:
    """Gives the rows with a column for every field; numbers that may be absent keep their exact values."""
    columns: dict[str, Any] = {}
    for name in (*fields_of(window.topic), READABLE):
        values = [row.get(name) for row in window.rows]
        columns[name] = pd.array(values, dtype=_dtype(values))
    return pd.DataFrame(columns)


def _dtype(values: Sequence[Any]) -> Any:
    kinds = {type(value) for value in values if value is not None}
    if kinds == {int}:
        return "Int64" if all(value is None or abs(value) < 2**63 for value in values) else object
    if kinds and kinds <= {int, float}:
        return "Float64"
    return object


def _finding(expectation: Expectation, result: Any, window: Window) -> Finding:
    said = result.result or {}
    places = tuple(window.places[int(row)] for row in (said.get("unexpected_index_list") or [])[:PLACES_MAX])
    return Finding(expectation, bool(result.success), int(said.get("unexpected_count") or 0), places)
