"""One session of a simulated agent as a generator of events without ids and times."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from streams.fleet.people import (
    ANSWERS,
    ATTACKS,
    ERRORS,
    MODELS,
    PAGES,
    PERSONAL_REQUESTS,
    REQUESTS,
    SERVICES,
    SYSTEM_PROMPTS,
    THOUGHTS,
    TOOLS,
    Person,
    thing,
    told,
)

_ATTACK_SHARE: Final = 0.06
_PERSONAL_SHARE: Final = 0.35
_ERROR_SHARE: Final = 0.06
_WORKFLOW_SHARE: Final = 0.3
_HEARTBEAT_SHARE: Final = 0.15
_TURNS: Final = (2, 6)


@dataclass(frozen=True, slots=True)
class Draft:
    """An event without id and time.

    Attributes:
        topic: Input topic.
        key: What the topic is keyed by.
        fields: Fields of the topic, except event_id and timestamp.
    """

    topic: str
    key: str
    fields: dict[str, Any]


def sessions(agent: str, crowd: Sequence[Person], rng: random.Random) -> Iterator[Draft]:
    """Gives the events of one agent's sessions, one after the other, without end."""
    model = rng.choice(MODELS)
    prompt = rng.choice(SYSTEM_PROMPTS)
    number = 0
    yield _agent(agent, "agent.created", f"{agent}-boot", None, model=model, status="success", metadata={"version": f"1.{rng.randrange(9)}"})
    while True:
        number += 1
        yield from _session(agent, f"{agent}-s{number}", prompt, model, rng.choice(crowd), rng)


def _session(agent: str, session: str, prompt: str, model: str, person: Person, rng: random.Random) -> Iterator[Draft]:
    """Gives one session: the prompt, then turns of request, thought, tool call and answer."""
    who = person.user_id
    yield _agent(agent, "agent.message", session, who, input_data={"role": "system", "content": prompt})
    step = 0
    for turn in range(rng.randint(*_TURNS)):
        execution = f"{session}-t{turn}"
        request = _request(person, rng)
        yield _agent(agent, "agent.message", session, who, execution_id=execution, input_data={"role": "user", "content": request})
        step += 1
        yield _reasoning(agent, session, execution, who, step, "thought", told(rng.choice(THOUGHTS), person, rng), model, rng)
        tool = rng.choice(TOOLS)
        arguments, result = _tool(tool, person, rng)
        step += 1
        yield _reasoning(agent, session, execution, who, step, "action", {"tool": tool, "arguments": arguments}, model, rng)
        failed = rng.random() < _ERROR_SHARE
        yield _tool_execution(agent, session, execution, who, tool, arguments, rng.choice(ERRORS) if failed else result, failed, rng)
        yield _executed(agent, session, execution, who, model, request, None if failed else told(rng.choice(ANSWERS), person, rng), rng)
        if rng.random() < _WORKFLOW_SHARE:
            yield _workflow(agent, session, turn, rng)
        if rng.random() < _HEARTBEAT_SHARE:
            yield _heartbeat(rng)


def _request(person: Person, rng: random.Random) -> str:
    """Gives what a customer says: mostly harmless, often with personal data, now and then an attack."""
    draw = rng.random()
    if draw < _ATTACK_SHARE:
        return told(rng.choice(ATTACKS), person, rng)
    return told(rng.choice(PERSONAL_REQUESTS if draw < _ATTACK_SHARE + _PERSONAL_SHARE else REQUESTS), person, rng)


def _agent(agent: str, event_type: str, session: str, user: str | None, **fields: Any) -> Draft:
    body = {"event_type": event_type, "agent_id": agent, "session_id": session, **fields}
    if user is not None:
        body["user_id"] = user
    return Draft("agent_events", agent, body)


def _executed(agent: str, session: str, execution: str, user: str, model: str, request: str, answer: str | None, rng: random.Random) -> Draft:
    tokens_in, tokens_out = rng.randrange(200, 4_000), rng.randrange(20, 600)
    return _agent(
        agent,
        "agent.failed" if answer is None else "agent.executed",
        session,
        user,
        execution_id=execution,
        input_data={"role": "user", "content": request},
        output_data={"content": answer or "The request could not be completed."},
        execution_time_ms=round(rng.lognormvariate(6.2, 0.6), 1),
        status="error" if answer is None else "success",
        model=model,
        input_tokens=tokens_in,
        output_tokens=tokens_out,
        cost_usd=round(tokens_in * 2.5e-6 + tokens_out * 1e-5, 7),
        confidence=round(rng.betavariate(8, 2), 4),
    )


def _reasoning(agent: str, session: str, execution: str, user: str, step: int, kind: str, content: Any, model: str, rng: random.Random) -> Draft:
    return Draft(
        "reasoning_traces",
        agent,
        {
            "event_type": "reasoning.step",
            "agent_id": agent,
            "session_id": session,
            "execution_id": execution,
            "user_id": user,
            "trace_id": session,
            "step_number": step,
            "step_type": kind,
            "content": content,
            "confidence": round(rng.betavariate(6, 2), 4),
            "depends_on": [step - 1] if step > 1 else [],
            "model": model,
        },
    )


def _tool_execution(
    agent: str, session: str, execution: str, user: str, tool: str, arguments: Any, result: Any, failed: bool, rng: random.Random
) -> Draft:
    return Draft(
        "tool_executions",
        agent,
        {
            "event_type": "tool.failed" if failed else "tool.executed",
            "agent_id": agent,
            "session_id": session,
            "execution_id": execution,
            "user_id": user,
            "tool_call_id": f"{execution}-call",
            "tool_name": tool,
            "arguments": arguments,
            ("error" if failed else "result"): result,
            "latency_ms": round(rng.lognormvariate(4.5, 0.8), 1),
            "status": "error" if failed else "success",
        },
    )


def _tool(tool: str, person: Person, rng: random.Random) -> tuple[Any, Any]:
    """Gives a tool's arguments and its result; some results are JSON inside a string, as real tools give it."""
    if tool in ("get_customer", "update_address"):
        record = {
            "name": person.name,
            "email": person.email,
            "phone": person.phone,
            "address": {"street": person.street, "city": person.city, "postcode": person.postcode},
            "born": person.birthday,
            "orders": [_order(rng) for _ in range(rng.randrange(1, 5))],
            "membership": rng.choice(("regular", "silver", "gold")),
        }
        return {"user_id": person.user_id}, json.dumps(record, ensure_ascii=False)
    if tool in ("search_orders", "get_order", "refund_payment"):
        order = _order(rng)
        return {"user_id": person.user_id, "query": order["item"]}, order
    if tool == "send_email":
        return {"to": person.email, "subject": "Your order", "body": told(rng.choice(ANSWERS), person, rng)}, "queued"
    if tool == "calculate":
        return {"expression": f"{rng.randrange(100)} * {rng.randrange(100)}"}, str(rng.randrange(10_000))
    return {"query": told(rng.choice(REQUESTS), person, rng)}, rng.choice(PAGES)


def _order(rng: random.Random) -> dict[str, Any]:
    status = rng.choice(("pending", "delivered", "returned"))
    return {"order": f"W{rng.randrange(10**6):06d}", "item": thing(rng), "status": status, "carrier": "parcel service", "pieces": rng.randrange(1, 4)}


def _workflow(agent: str, session: str, turn: int, rng: random.Random) -> Draft:
    return Draft(
        "workflow_events",
        f"{session}-wf",
        {
            "event_type": "workflow.step_completed",
            "workflow_id": f"{session}-wf",
            "step_id": f"step-{turn}",
            "agent_id": agent,
            "session_id": session,
            "status": "success",
            "latency_ms": round(rng.lognormvariate(6, 0.5), 1),
        },
    )


def _heartbeat(rng: random.Random) -> Draft:
    service = rng.choice(SERVICES)
    return Draft(
        "system_events",
        service,
        {"event_type": "system.health", "service": service, "severity": "info", "message": "ok", "value": round(rng.random(), 4)},
    )
