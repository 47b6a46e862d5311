"""Records that a fleet should not send, and what must become of them."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any, Final

Body = dict[str, Any]
_DAY_MS: Final = 86_400_000
_DEPTH: Final = 250


def _without_id(body: Body) -> bytes:
    return encoded({key: value for key, value in body.items() if key != "event_id"})


def _cut_short(body: Body) -> bytes:
    return encoded(body)[:-7]


def _nested(body: Body) -> bytes:
    return encoded({**body, "metadata": "@"}).replace(b'"@"', b'{"a":' * _DEPTH + b"1" + b"}" * _DEPTH)


#: Ways to spoil an event, by the code of the dead letter that it must become. Each maps an event to the bytes sent.
SPOILERS: Final[dict[str, Callable[[Body], bytes]]] = {
    "json_invalid": _cut_short,
    "field_missing": _without_id,
    "type_mismatch": lambda body: encoded({**body, "event_type": ["agent.executed"]}),
    "timestamp_invalid": lambda body: encoded({**body, "timestamp": "yesterday"}),
    "event_time_in_future": lambda body: encoded({**body, "timestamp": body["timestamp"] + _DAY_MS}),
    "nesting_too_deep": _nested,
}


def spoiled(body: Body, rng: random.Random) -> tuple[bytes, str]:
    """Gives a malformed form of an event, and the code it must be dead-lettered with."""
    code = rng.choice(tuple(SPOILERS))
    return SPOILERS[code](body), code


def encoded(body: Body) -> bytes:
    """Gives compact JSON."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
