"""Windows against contracts: what breaks them is found with its place, and no value is kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from governance.contracts import ContractsPolicy, Expectation, OnBreach
from governance.parse import default_policy
from governance.policy import Policy
from schemas.errors import ConfigError
from schemas.registry import FileRegistry
from streams.cli.main import app
from streams.contracts.expect import Contracts
from streams.contracts.judge import Judge
from streams.contracts.window import PRESENT, READABLE, Coordinates, Window, row_of, seen, windows_of_files

SECRET = "hunter2-very-secret"
GOOD = {"event_id": "e", "event_type": "tool.executed", "timestamp": 1, "agent_id": "a", "latency_ms": 5.0, "arguments": SECRET, "status": "ok"}


def policy_of(contracts: ContractsPolicy) -> Policy:
    import dataclasses

    return dataclasses.replace(default_policy(), contracts=contracts)


def window_of(*records: dict[str, Any] | bytes) -> Window:
    window = Window("tool_executions", 0, 60_000)
    for number, record in enumerate(records):
        value = record if isinstance(record, bytes) else json.dumps(record).encode()
        window.rows.append(row_of("tool_executions", value, FileRegistry()))
        window.places.append(Coordinates(2, 100 + number))
    return window


def broken(window: Window, contracts: ContractsPolicy = ContractsPolicy()) -> dict[tuple[str, str], tuple[int, list[int]]]:  # noqa: B008
    findings = Contracts(policy_of(contracts)).check(window)
    return {(f.expectation.name, f.expectation.column): (f.unexpected, [p.offset for p in f.places]) for f in findings if not f.held}


def test_good_records_break_nothing() -> None:
    assert broken(window_of(GOOD, GOOD)) == {}


def test_each_fault_is_found_where_it_is() -> None:
    negative, anonymous = GOOD | {"latency_ms": -1.0}, {name: value for name, value in GOOD.items() if name != "agent_id"}
    assert broken(window_of(GOOD, negative, anonymous, b"\xff{")) == {
        ("expect_column_values_to_be_in_set", READABLE): (1, [103]),
        ("expect_column_values_to_not_be_null", "event_id"): (1, [103]),
        ("expect_column_values_to_not_be_null", "event_type"): (1, [103]),
        ("expect_column_values_to_not_be_null", "timestamp"): (1, [103]),
        ("expect_column_values_to_not_be_null", "agent_id"): (2, [102, 103]),
        ("expect_column_values_to_be_between", "latency_ms"): (1, [101]),
    }


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"null",
        b"[1]",
        b'"x"',
        b"\x00\x00\x00\x00\x63rest",
        b"\x00",
        b"{" * 100_000,
        b'{"a":' * 5_000,
        b"1e999999",
        b"NaN",
        b"\x00\x00\x00\x00\x02\xff",
    ],
)
def test_what_is_no_record_is_not_readable_and_nothing_breaks(value: bytes) -> None:
    assert row_of("tool_executions", value, FileRegistry()) == {READABLE: False}


def test_a_field_of_another_type_breaks_its_expectation() -> None:
    assert ("expect_column_values_to_be_between", "latency_ms") in broken(window_of(GOOD, GOOD | {"latency_ms": "fast"}))


def test_no_value_that_may_be_raw_enters_a_window() -> None:
    row = seen("tool_executions", GOOD | {"unknown key": SECRET})
    assert SECRET not in str(row)
    assert row["arguments"] == PRESENT


def test_a_policy_adds_expectations_and_says_for_how_many_they_hold() -> None:
    statuses = Expectation("tool_executions", "expect_column_values_to_be_in_set", "status", '{"value_set":["ok"]}', 600_000, "as agreed")
    added = ContractsPolicy(expect=(statuses,))
    assert broken(window_of(GOOD, GOOD, GOOD | {"status": "odd"}), added) == {}
    assert list(broken(window_of(GOOD, GOOD | {"status": "odd"}), added)) == [("expect_column_values_to_be_in_set", "status")]


def test_arguments_that_do_not_fit_are_a_mistake_of_the_policy() -> None:
    wrong = Expectation("alerts", "expect_column_values_to_be_between", "x", '{"no_such":1}')
    with pytest.raises(ConfigError, match=r"contracts: expect_column_values_to_be_between on alerts\.x: the arguments do not fit"):
        Contracts(policy_of(ContractsPolicy(expect=(wrong,))))


def test_results_have_the_same_ids_each_time_and_say_what_is_done() -> None:
    policy = policy_of(ContractsPolicy(on_breach=(("tool_executions", OnBreach.QUARANTINE),)))
    window = window_of(GOOD, GOOD | {"latency_ms": -1.0})
    first, second = (Judge(policy, Contracts(policy)).results(window) for _ in range(2))
    assert [result.record for result in first] == [result.record for result in second]
    assert len({result.record["result_uid"] for result in first}) == len(first)
    (breach,) = [result for result in first if result.breach is not None]
    assert breach.record["action"] == "quarantine"
    assert breach.places == (Coordinates(2, 101),)
    assert SECRET not in json.dumps([dict(result.record) for result in first])


def test_files_are_cut_into_windows_by_rows(tmp_path: Path) -> None:
    (tmp_path / "tool_executions.jsonl").write_text("\n".join(json.dumps(GOOD) for _ in range(5)))
    assert [len(window.rows) for window in windows_of_files(tmp_path, 2)] == [2, 2, 1]
    mixed = tmp_path / "in.txt"
    mixed.write_text(json.dumps(GOOD | {"topic": "tool_executions"}) + "\n" + json.dumps({"topic": "alerts"}))
    assert [window.topic for window in windows_of_files(mixed, 10)] == ["tool_executions", "alerts"]


def test_a_file_of_no_topic_is_named(tmp_path: Path) -> None:
    (tmp_path / "tool_execution.jsonl").write_text("{}")
    with pytest.raises(ConfigError, match="no topic of headrace"):
        list(windows_of_files(tmp_path, 2))
    with pytest.raises(ConfigError, match="a JSONL file or a folder"):
        list(windows_of_files(tmp_path / "absent", 2))


def test_the_command_tells_and_ends_with_1_where_a_contract_is_broken(tmp_path: Path) -> None:
    (tmp_path / "tool_executions.jsonl").write_text(json.dumps(GOOD) + "\n" + json.dumps(GOOD | {"latency_ms": -1}))
    ended = CliRunner().invoke(app, ["contracts", "check", str(tmp_path), "--pages", str(tmp_path / "pages")])
    assert ended.exit_code == 1, ended.output
    assert "tool_executions.latency_ms: expect_column_values_to_be_between did not hold: 1 of 2 records; alert" in ended.output
    pages = list((tmp_path / "pages").rglob("*.html"))
    assert len(pages) > 2
    assert not any(SECRET in page.read_text() for page in (tmp_path / "pages").rglob("*") if page.is_file() and page.suffix in (".html", ".json"))
    (tmp_path / "tool_executions.jsonl").write_text(json.dumps(GOOD))
    assert CliRunner().invoke(app, ["contracts", "check", str(tmp_path)]).exit_code == 0
