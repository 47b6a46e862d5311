"""Every query of the Grafana dashboards runs on the tables that the migrations make, and gives the columns its panel needs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import psycopg
import pytest

from sinks.migrate import migrate

_BOARDS = sorted((Path(__file__).parents[3] / "deploy" / "grafana" / "dashboards").glob("*.json"))


def queries() -> list[tuple[str, str, str]]:
    """Gives (panel, format, SQL) of every query, those of variables too."""
    found = []
    for path in _BOARDS:
        board: dict[str, Any] = json.loads(path.read_text())
        for panel in board["panels"]:
            found += [(panel["title"], target["format"], target["rawSql"]) for target in panel.get("targets", []) if "rawSql" in target]
        found += [(variable["name"], "variable", variable["query"]) for variable in board["templating"]["list"] if variable["type"] == "query"]
    return found


def expanded(sql: str) -> str:
    """Gives the SQL as Grafana sends it for the years 2020 to 2030 and two agents."""
    sql = re.sub(r"\$__timeFilter\((\w+)\)", r"\1 BETWEEN '2020-01-01T00:00:00Z' AND '2030-01-01T00:00:00Z'", sql)
    return sql.replace("$agent", "'planner','critic'")


@pytest.mark.integration
def test_every_query_runs_on_the_migrated_tables(database: str) -> None:
    migrate(database)
    assert len(queries()) > 10
    with psycopg.connect(database) as connection:
        for title, form, sql in queries():
            cursor = connection.execute(expanded(sql).encode())
            columns = [column.name for column in cursor.description or ()]
            assert "$" not in expanded(sql), title
            if form == "time_series":
                assert columns == ["time", "metric", "value"], title


@pytest.mark.integration
def test_a_window_shows_in_the_totals_of_its_agent(database: str) -> None:
    migrate(database)
    insert = """
        INSERT INTO metric_windows (window_uid, generation, revision, window_start, window_end, agent_id, event_type, events, errors,
            latency_count, latency_sum_us, latency_p95_us, input_tokens, output_tokens, cost_nano_usd, tool_calls, confidence_count,
            confidence_sum_ppm, first_event_time, last_event_time)
        VALUES ('w', 0, 4, '2026-01-01T00:00:00Z', '2026-01-01T00:00:10Z', 'planner', 'agent.executed', 4, 1,
            4, 4000, 1000, 10, 5, 2000000000, 0, 0,
            0, '2026-01-01T00:00:01Z', '2026-01-01T00:00:02Z')
    """
    shown = {}
    with psycopg.connect(database) as connection:
        connection.execute(insert)
        for title, form, sql in queries():
            rows = connection.execute(expanded(sql).encode()).fetchall()
            if form == "table" and len(rows) == 1 and len(rows[0]) == 1:
                shown[title] = float(rows[0][0])
    assert shown == {"Events": 4, "Errors": 0.25, "p95 latency": 1000, "Cost": 2, "Tokens": 15, "Tool calls": 0}
