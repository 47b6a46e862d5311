"""Recorded runs in the OpenAI chat format -> events for ``agent_events``, ``tool_executions`` and ``reasoning_traces``.

Recorded messages carry no times, so this gives them some: run ``n`` begins about ``n`` times five seconds after a base time, and each message
follows the one before by 0.4 to 4 s, both drawn from a digest of the run's and the message's index. No clock, no random number: the same file
gives the same bytes. Runs overlap, as in a fleet, and events come out in order of time.

What becomes of a message:

- system, user: ``agent.message`` with the message as input, so that every text flows through the pipe.
- assistant: ``agent.executed`` (input: the last user or tool message; output: what it said and called); its text a ``thought``, each call an
  ``action`` among the reasoning traces.
- tool: one tool execution, paired with its call by ``tool_call_id`` inside the run (other runs reuse the same ids). A result that begins with
  ``Error`` is a failure.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

from schemas.errors import ConfigError

#: 2024-05-15 20:00 UTC: the day on which the airline runs say that they play.
BASE_TIME_MS: Final = 1_715_803_200_000
_RUN_SPACING_MS: Final = 5_000
_RUN_JITTER_MS: Final = 2_000
_GAP_MS: Final = (400, 4_000)
_ROLES: Final = frozenset({"system", "developer", "user", "assistant", "tool", "function"})

Event = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Run:
    """One recorded conversation.

    Attributes:
        index: Place in the file, from 0.
        session: Id of the session, made of task and trial where they are known, else of the index.
        agent: Id of the agent.
        user: The user's id where the record names one.
        messages: OpenAI chat messages.
        metadata: What else is known of the run: task_id, trial.
        model: Model name where the record names one.
    """

    index: int
    session: str
    agent: str
    user: str | None
    messages: Sequence[Mapping[str, Any]]
    metadata: Mapping[str, Any] = field(default_factory=dict)
    model: str | None = None


def read_runs(path: Path, agent: str | None = None) -> list[Run]:
    """Reads runs from a JSON file (a list of runs, one run, or a list of messages) or from JSON lines of those.

    Args:
        path: The file.
        agent: Agent id for all runs; None makes one of the file's name and the run's trial.

    Raises:
        ConfigError: The file is not there, not JSON, or holds something else; by place, without quoting the file.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({type(error).__name__}); it must be a UTF-8 file of recorded runs") from None
    return [_run(raw, index, agent, path) for index, raw in enumerate(_raw_runs(text, path))]


def events_of(runs: Iterable[Run], base_time_ms: int = BASE_TIME_MS) -> list[Event]:
    """Gives the events of all runs in order of event time; each has its ``topic`` beside the topic's fields."""
    events = [(event["timestamp"], run.index, place, event) for run in runs for place, event in enumerate(_events(run, base_time_ms))]
    events.sort(key=lambda entry: entry[:3])
    return [event for *_order, event in events]


def _raw_runs(text: str, path: Path) -> list[Any]:
    """Splits the file into raw runs."""
    try:
        data = json.loads(text)
    except json.JSONDecodeError as whole:
        lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
        runs = []
        for number, line in lines:
            try:
                runs.append(json.loads(line))
            except json.JSONDecodeError as error:
                at = f"line {number}, column {error.colno}" if number > 1 else f"line {whole.lineno}, column {whole.colno}"
                raise ConfigError(f"{path}, {at}: is neither JSON nor JSON lines; correct it there") from None
        return runs
    if isinstance(data, list) and not all(isinstance(item, dict) and item.get("role") in _ROLES for item in data):
        return data
    return [data]


def _run(raw: Any, index: int, agent: str | None, path: Path) -> Run:
    """Makes a run of what stands in the file."""
    place = f"{path}, run {index}"
    record: Mapping[str, Any] = raw if isinstance(raw, dict) else {}
    messages = raw if isinstance(raw, list) else record.get("traj", record.get("messages"))
    if not isinstance(messages, list) or not messages:
        raise ConfigError(f"{place}: must be a list of chat messages or an object with 'traj' or 'messages'; came a {type(raw).__name__}")
    for at, message in enumerate(messages):
        if not isinstance(message, dict) or message.get("role") not in _ROLES:
            raise ConfigError(f"{place}, message {at}: must be an object whose 'role' is one of {', '.join(sorted(_ROLES))}")
    task, trial = record.get("task_id"), record.get("trial")
    session = f"task-{task}-trial-{trial}" if task is not None and trial is not None else f"run-{index}"
    info = record.get("info")
    known = info.get("task") if isinstance(info, dict) else None
    user = known.get("user_id") if isinstance(known, dict) else None
    model = record.get("model")
    return Run(
        index=index,
        session=session,
        agent=agent or (f"{path.stem}-{trial}" if trial is not None else path.stem),
        user=user if isinstance(user, str) else None,
        messages=messages,
        metadata={key: value for key, value in (("task_id", task), ("trial", trial)) if value is not None},
        model=model if isinstance(model, str) else None,
    )


def _draw(low: int, high: int, *of: object) -> int:
    """Gives a number in [low, high) that depends on the arguments alone."""
    digest = blake2b(":".join(map(str, of)).encode(), digest_size=8).digest()
    return low + int.from_bytes(digest, "big") % (high - low)


def _events(run: Run, base_time_ms: int) -> Iterator[Event]:
    """Gives the events of one run in order of time."""
    now = base_time_ms + run.index * _RUN_SPACING_MS + _draw(0, _RUN_JITTER_MS, "start", run.index)
    calls: dict[str, Mapping[str, Any]] = {}
    heard: Event | None = None
    step = 0
    for index, message in enumerate(run.messages):
        gap = _draw(*_GAP_MS, "gap", run.index, index)
        now += gap
        role = message["role"]
        if role == "assistant":
            made = _calls(message)
            calls.update({call["id"]: call for call in made})
            yield _executed(run, index, now, gap, heard, message, made)
            traces = list(_traces(run, index, now, message, made, step))
            step += len(traces)
            yield from traces
        elif role in ("tool", "function"):
            yield _tool_execution(run, index, now, gap, message, calls)
            heard = {"role": role, "content": message.get("content")}
        else:
            heard = {"role": role, "content": message.get("content")}
            yield _event(run, "agent_events", index, now, "agent.message", input_data=heard)


def _calls(message: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Gives the tool calls of an assistant's message as {id, name, arguments}; arguments parsed where they are JSON."""
    calls: list[Mapping[str, Any]] = []
    for call in message.get("tool_calls") or ():
        function = call.get("function") or {}
        calls.append({"id": str(call.get("id", "")), "name": function.get("name") or "unknown", "arguments": _parsed(function.get("arguments"))})
    return calls


def _parsed(arguments: Any) -> Any:
    """Gives the JSON value in a text, or the text itself where it holds none."""
    if not isinstance(arguments, str):
        return arguments
    try:
        return json.loads(arguments, parse_constant=_refused)
    except (ValueError, RecursionError):
        return arguments


def _refused(constant: str) -> float:
    """Refuses NaN and infinities, which Python reads but JSON does not know."""
    raise ValueError(constant)


def _event(run: Run, topic: str, index: int, now: int, event_type: str, suffix: str = "", **fields: Any) -> Event:
    """Gives an event with the ids of its run and message; fields that are None are left out."""
    turn = f"{run.session}-{index}"
    event = {
        "topic": topic,
        "event_id": f"{turn}{suffix}",
        "event_type": event_type,
        "timestamp": now,
        "agent_id": run.agent,
        "session_id": run.session,
        "execution_id": turn,
        "user_id": run.user,
        **fields,
    }
    if topic == "agent_events":
        event["metadata"] = {**run.metadata, "message_index": index}
    return {key: value for key, value in event.items() if value is not None}


def _executed(run: Run, index: int, now: int, gap: int, heard: Event | None, message: Mapping[str, Any], calls: Sequence[Mapping[str, Any]]) -> Event:
    """Gives the agent event of an assistant's turn."""
    said: Event = {"content": message.get("content")}
    if calls:
        said["tool_calls"] = [{"name": call["name"], "arguments": call["arguments"]} for call in calls]
    return _event(
        run,
        "agent_events",
        index,
        now,
        "agent.executed",
        input_data=heard,
        output_data=said,
        execution_time_ms=gap,
        status="success",
        model=run.model,
    )


def _traces(run: Run, index: int, now: int, message: Mapping[str, Any], calls: Sequence[Mapping[str, Any]], before: int) -> Iterator[Event]:
    """Gives the reasoning steps of an assistant's turn; each depends on the one before it."""
    thought = message.get("content")
    contents: list[tuple[str, Any]] = [("thought", thought)] if thought else []
    contents += [("action", {"tool": call["name"], "arguments": call["arguments"]}) for call in calls]
    for number, (kind, content) in enumerate(contents, before + 1):
        yield _event(
            run,
            "reasoning_traces",
            index,
            now,
            "reasoning.step",
            suffix=f"-step-{number}",
            trace_id=run.session,
            step_number=number,
            step_type=kind,
            content=content,
            depends_on=[number - 1] if number > 1 else [],
            model=run.model,
        )


def _tool_execution(run: Run, index: int, now: int, gap: int, message: Mapping[str, Any], calls: Mapping[str, Mapping[str, Any]]) -> Event:
    """Gives the tool execution of a result; a result whose call is not in the run keeps its own name and has no arguments."""
    call_id = str(message.get("tool_call_id", ""))
    call = calls.get(call_id, {})
    result = message.get("content")
    failed = isinstance(result, str) and result.startswith("Error")
    return _event(
        run,
        "tool_executions",
        index,
        now,
        "tool.failed" if failed else "tool.executed",
        tool_call_id=call_id or None,
        tool_name=call.get("name") or message.get("name") or "unknown",
        arguments=call.get("arguments"),
        result=None if failed else result,
        error=result if failed else None,
        latency_ms=_draw(5, gap, "latency", run.index, index),
        status="error" if failed else "success",
    )
