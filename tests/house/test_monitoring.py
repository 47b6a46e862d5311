"""Alert rules and dashboards speak of metrics and tables that exist, and the rules fire when they should."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from streams.contracts.report import METERS
from streams.telemetry import CATALOGUE, Kind

from source_tree import ROOT, read

_PROMETHEUS = ROOT / "deploy" / "prometheus"
_DASHBOARDS = sorted((ROOT / "deploy" / "grafana" / "dashboards").glob("*.json"))
_PROMTOOL = shutil.which("promtool") or str(ROOT / ".headrace" / "tools" / "promtool")


def promtool(*arguments: str) -> None:
    told = subprocess.run([_PROMTOOL, *arguments], cwd=_PROMETHEUS, capture_output=True, text=True, timeout=60, check=False)
    assert told.returncode == 0, told.stdout + told.stderr


def exposed() -> dict[str, tuple[str, ...]]:
    """Gives every series that /metrics shows, by name, with its labels."""
    series = {}
    for metric in CATALOGUE:
        suffixes = {"_bucket": ("le",), "_sum": (), "_count": ()} if metric.kind is Kind.HISTOGRAM else {"": ()}
        series |= {f"headrace_{metric.name}{suffix}": (*metric.labels, *extra) for suffix, extra in suffixes.items()}
    return series | METERS


def unknown(expression: str) -> list[str]:
    """Finds names of series and labels in a PromQL expression that /metrics does not have."""
    series = exposed()
    names = set(re.findall(r"headrace_\w+", expression))
    found = sorted(names - series.keys())
    have = {"instance", "job", *(label for name in names & series.keys() for label in series[name])}
    grouped = {label.strip() for group in re.findall(r"\b(?:by|on)\s*\(([^)]*)\)", expression) for label in group.split(",") if label.strip()}
    matched = set(re.findall(r"[{,]\s*(\w+)\s*[=!]", expression))
    return found + sorted((grouped | matched) - have)


def panels(board: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from (panel for panel in board["panels"] if panel["type"] != "row")


def test_the_configuration_and_the_rules_are_valid() -> None:
    promtool("check", "config", "--syntax-only", "prometheus.yml")


def test_every_alert_fires_when_it_should_and_not_before() -> None:
    promtool("test", "rules", "rules_test.yml")
    tested = {case["alertname"] for group in yaml.safe_load(read("deploy/prometheus/rules_test.yml"))["tests"] for case in group["alert_rule_test"]}
    assert tested == set(alerts())


def alerts() -> dict[str, dict[str, Any]]:
    return {rule["alert"]: rule for group in yaml.safe_load(read("deploy/prometheus/rules.yml"))["groups"] for rule in group["rules"]}


def test_rules_name_series_that_exist() -> None:
    assert {name: unknown(rule["expr"]) for name, rule in alerts().items() if unknown(rule["expr"])} == {}


def test_every_alert_has_its_place_in_the_handbook() -> None:
    headings = set(re.findall(r"^### `?(Headrace\w+)`?$", read("docs/handbook.md"), flags=re.MULTILINE))
    assert headings == set(alerts())
    assert [name for name, rule in alerts().items() if rule["annotations"]["handbook"] != f"docs/handbook.md#{name.lower()}"] == []


@pytest.mark.parametrize("path", _DASHBOARDS, ids=lambda path: path.stem)
def test_a_dashboard_names_series_and_sources_that_exist(path: Any) -> None:
    board = json.loads(path.read_text())
    provisioned = yaml.safe_load(read("deploy/grafana/provisioning/datasources/headrace.yml"))
    sources = {source["uid"]: source["type"] for source in provisioned["datasources"]}
    labels = {"instance", *(label for series in exposed().values() for label in series)}
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    for panel in panels(board):
        assert panel["description"], panel["title"]
        for target in panel["targets"]:
            assert sources[target["datasource"]["uid"]] == target["datasource"]["type"]
            if "expr" in target:
                assert unknown(target["expr"]) == [], panel["title"]
                assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= labels


def test_every_metric_is_on_a_dashboard() -> None:
    shown = "".join(path.read_text() for path in _DASHBOARDS)
    assert [metric.name for metric in CATALOGUE if f"headrace_{metric.name}" not in shown] == []


@pytest.mark.parametrize(
    "expression", ["sum(headrace_nothing_total)", "sum by (agent_id) (headrace_rows_in_flight)", 'headrace_dead_letters_total{agent="a"}']
)
def test_an_unknown_name_is_caught(expression: str) -> None:
    assert unknown(expression) != []
