"""The importer of OpenAI chat runs: what becomes of each message, and that nothing depends on a clock."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import ConfigError
from streams.importers.openai_chat import BASE_TIME_MS, Event, events_of, read_runs


def call(call_id: str, name: str, arguments: str) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


MESSAGES = [
    {"role": "system", "content": "policy"},
    {"role": "user", "content": "hello"},
    {"role": "assistant", "content": "let me look", "tool_calls": [call("c1", "get_user", '{"id": 7}'), call("c2", "get_order", "no json")]},
    {"role": "tool", "tool_call_id": "c2", "name": "get_order", "content": "Error: not found"},
    {"role": "tool", "tool_call_id": "c1", "name": "get_user", "content": '{"name": "Mia"}'},
    {"role": "assistant", "content": "here you are"},
]
RUN = {"task_id": 3, "trial": 1, "info": {"task": {"user_id": "mia_1"}}, "traj": MESSAGES}


def imported(folder: Path, content: str, **options: Any) -> list[Event]:
    path = folder / "runs.json"
    path.write_text(content, encoding="utf-8")
    return events_of(read_runs(path, **options))


def of(events: list[Event], topic: str) -> list[Event]:
    return [event for event in events if event["topic"] == topic]


def test_tool_results_are_paired_with_their_calls_whatever_their_order(tmp_path: Path) -> None:
    failed, done = of(imported(tmp_path, json.dumps([RUN])), "tool_executions")
    assert (failed["tool_name"], failed["arguments"], failed["status"], failed["event_type"]) == ("get_order", "no json", "error", "tool.failed")
    assert failed["error"] == "Error: not found"
    assert "result" not in failed
    assert (done["tool_name"], done["arguments"], done["status"], done["result"]) == ("get_user", {"id": 7}, "success", '{"name": "Mia"}')
    assert "error" not in done


def test_calls_of_one_run_are_not_paired_with_results_of_another(tmp_path: Path) -> None:
    lonely = {"task_id": 4, "trial": 1, "traj": [{"role": "tool", "tool_call_id": "c1", "content": "ok"}]}
    (alone,) = [event for event in of(imported(tmp_path, json.dumps([RUN, lonely])), "tool_executions") if event["session_id"] == "task-4-trial-1"]
    assert alone["tool_name"] == "unknown"
    assert "arguments" not in alone


def test_assistant_turns_become_agent_events_and_reasoning(tmp_path: Path) -> None:
    events = imported(tmp_path, json.dumps([RUN]))
    first, second = [event for event in of(events, "agent_events") if event["event_type"] == "agent.executed"]
    assert first["input_data"] == {"role": "user", "content": "hello"}
    assert first["output_data"]["tool_calls"][0] == {"name": "get_user", "arguments": {"id": 7}}
    assert second["input_data"] == {"role": "tool", "content": '{"name": "Mia"}'}
    traces = of(events, "reasoning_traces")
    assert [(t["step_number"], t["step_type"], t["depends_on"]) for t in traces] == [
        (1, "thought", []),
        (2, "action", [1]),
        (3, "action", [2]),
        (4, "thought", [3]),
    ]


def test_every_text_of_every_message_flows(tmp_path: Path) -> None:
    flowing = json.dumps(imported(tmp_path, json.dumps([RUN])))
    for text in ("policy", "hello", "let me look", "no json", "Error: not found", "Mia", "here you are"):
        assert text in flowing, text


def test_ids_are_made_of_task_trial_and_place_and_differ(tmp_path: Path) -> None:
    other = {**RUN, "trial": 2}
    events = imported(tmp_path, json.dumps([RUN, other]))
    ids = [(event["topic"], event["agent_id"], event["event_id"]) for event in events]
    assert len(set(ids)) == len(ids)
    assert ("tool_executions", "runs-1", "task-3-trial-1-3") in ids
    assert {event["user_id"] for event in events} == {"mia_1"}


def test_times_depend_on_the_file_alone_and_never_go_back(tmp_path: Path) -> None:
    events = imported(tmp_path, json.dumps([RUN] * 3))
    assert events == imported(tmp_path, json.dumps([RUN] * 3))
    times = [event["timestamp"] for event in events]
    assert times == sorted(times)
    assert times[0] >= BASE_TIME_MS
    shifted = events_of(read_runs(tmp_path / "runs.json"), base_time_ms=BASE_TIME_MS + 5)
    assert [event["timestamp"] - 5 for event in shifted] == times


@pytest.mark.parametrize(
    "content",
    [
        json.dumps({"messages": MESSAGES}),
        json.dumps(MESSAGES),
        json.dumps([{"messages": MESSAGES}]),
        json.dumps({"messages": MESSAGES}) + "\n" + json.dumps(MESSAGES) + "\n",
    ],
)
def test_other_shapes_of_files_are_read(tmp_path: Path, content: str) -> None:
    events = imported(tmp_path, content, agent="a")
    assert {event["agent_id"] for event in events} == {"a"}
    assert len(events) == 10 * (2 if "\n" in content else 1)
    assert all("user_id" not in event for event in events)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "line 1"),
        ('{"messages": []}', "run 0: must be a list of chat messages"),
        ('[{"traj": [{"role": "robot", "content": "secret"}]}]', "run 0, message 0: must be an object whose 'role'"),
        ('{"a": 1}\n{"secret"', "line 2"),
        ("[3]", "run 0"),
    ],
)
def test_other_files_are_refused_by_place_without_quoting_them(tmp_path: Path, content: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        imported(tmp_path, content)
    assert says in str(caught.value)
    assert "secret" not in str(caught.value)
