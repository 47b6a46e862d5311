"""What must come of the recorded airline runs, told in plain Python: nothing here uses headrace."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

WINDOW_MS = 10_000
RELATIVE_ERROR = 0.01
_MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"]
_CANDIDATES = re.compile(
    r"(?<![0-9])(?:[0-9]{1,4}[-/.][0-9]{1,2}[-/.][0-9]{2,4}|[0-9]{8}"
    r"|[0-9]{1,2}(?:st|nd|rd|th)? (?:of )?[a-z]{3,9}\.?,? [0-9]{4})(?![0-9])|[a-z]{3,9}\.? (?:the )?[0-9]{1,2}(?:st|nd|rd|th)?,? [0-9]{4}(?![0-9])"
)

Json = dict[str, Any]
Key = tuple[int, str, str, str | None]


class Personal:
    """What the users' file knows of people, in the forms in which a pattern can know it.

    Args:
        users: Content of users.json.
    """

    def __init__(self, users: Mapping[str, Json]) -> None:
        everyone = list(users.values())
        self._emails = {user["email"].lower() for user in everyone}
        self._zips = {user["address"]["zip"] for user in everyone}
        self._streets = {user["address"]["address1"].lower() for user in everyone} | {user["address"]["address2"].lower() for user in everyone}
        self._cards = {method["last_four"] for user in everyone for method in user["payment_methods"].values() if "last_four" in method}
        births = {user["dob"] for user in everyone} | {guest["dob"] for user in everyone for guest in user["saved_passengers"]}
        self._births = {form.lower() for birth in births for form in _forms(birth)}

    def found_in(self, text: str) -> Iterator[tuple[str, str]]:
        """Gives (kind, what stands around it) of each value in a text: e-mail, date of birth, street, ZIP in an address, last four of a card."""
        low = text.lower()
        for match in re.finditer(r"[a-z0-9_.+-]+@[a-z0-9-]+(?:\.[a-z0-9-]+)+", low):
            if match.group() in self._emails:
                yield "email", _around(low, match)
        for match in _CANDIDATES.finditer(low):
            if match.group() in self._births:
                yield "birth", _around(low, match)
        for match in re.finditer(r"\b[0-9]{1,4} [a-z]+ [a-z]+\b|\bsuite [0-9]{1,4}\b", low):
            if match.group() in self._streets:
                yield "street", _around(low, match)
        for match in re.finditer(r"(?<![0-9a-z])[0-9]{5}(?![0-9a-z])", low):
            if match.group() in self._zips:
                yield "zip", _around(low, match)
        # Four digits are a card's where the text says so. A price, an id of a user or of a gift card may be the same four digits.
        for match in re.finditer(r"(?<![0-9])[0-9]{4}(?![0-9])", low):
            around = low[max(0, match.start() - 40) : match.end() + 15]
            if match.group() in self._cards and re.search(
                r"last.?(?:four|4)|ending|credit.?card.{0,3}[0-9]{4}(?![0-9])|(?<![0-9])[0-9]{4} (?:credit |debit )?card", around
            ):
                yield "card", _around(low, match)


def _around(text: str, match: re.Match[str]) -> str:
    return text[max(0, match.start() - 30) : match.end() + 10]


def _forms(birth: str) -> Iterator[str]:
    year, month, day = (int(part) for part in birth.split("-"))
    yield f"{year}{month:02}{day:02}"
    for sign, months, days in product("-/.", {str(month), f"{month:02}"}, {str(day), f"{day:02}"}):
        for parts in ((f"{year}", months, days), (months, days, f"{year}"), (days, months, f"{year}")):
            yield sign.join(parts)
        if sign != ".":
            yield sign.join((months, days, f"{year % 100:02}"))
    suffix = "th" if 10 <= day <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")
    name = _MONTHS[month - 1]
    for word, number, comma in product((name, name[:3], f"{name[:3]}."), (str(day), f"{day:02}", f"{day}{suffix}"), (",", "")):
        yield f"{word} {number}{comma} {year}"
        yield f"{word} the {number}{comma} {year}"
        yield f"{number} {word}{comma} {year}"
        yield f"{number} of {word}{comma} {year}"


def read(path: Path) -> list[Json]:
    """Gives the objects of a JSONL file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def recount(events: Iterable[Json]) -> dict[Key, Json]:
    """Counts imported events into windows, one by one."""
    groups: dict[Key, list[Json]] = defaultdict(list)
    for event in events:
        time = event["timestamp"]
        groups[time - time % WINDOW_MS, event["agent_id"], event["event_type"], event.get("tool_name")].append(event)
    return {key: _told(members) for key, members in groups.items()}


def _told(members: list[Json]) -> Json:
    spans = (round(1_000 * event.get("execution_time_ms", event.get("latency_ms", -1))) for event in members)
    latencies = sorted(span for span in spans if span >= 0)
    return {
        "events": len(members),
        "errors": sum(event["event_type"].endswith(".failed") for event in members),
        "tool_calls": sum(event["topic"] == "tool_executions" for event in members),
        "latency_count": len(latencies),
        "latency_sum_us": sum(latencies),
        "latency_min_us": latencies[0] if latencies else None,
        "latency_max_us": latencies[-1] if latencies else None,
        "first_event_time": min(event["timestamp"] for event in members),
        "last_event_time": max(event["timestamp"] for event in members),
        "quantiles": [latencies[permille * (len(latencies) - 1) // 1_000] if latencies else None for permille in (500, 950, 990)],
    }


def final_windows(windows: Iterable[Json]) -> dict[Key, Json]:
    """Gives of each window the row with the highest (generation, revision); times as ms."""
    final: dict[Key, Json] = {}
    for window in windows:
        key = (window["window_start"], window["agent_id"], window["event_type"], window["tool_name"])
        if key not in final or (window["generation"], window["revision"]) > (final[key]["generation"], final[key]["revision"]):
            final[key] = window
    return final


def assert_windows_equal(found: Mapping[Key, Json], expected: Mapping[Key, Json]) -> None:
    """Every window is there and says what the recount says; quantiles within the stated error."""
    assert found.keys() == expected.keys()
    for key, window in found.items():
        told = dict(expected[key])
        for name, exact in zip(("latency_p50_us", "latency_p95_us", "latency_p99_us"), told.pop("quantiles"), strict=True):
            assert (window[name] is None) == (exact is None), (key, name)
            assert exact is None or abs(window[name] - exact) <= RELATIVE_ERROR * exact, (key, name)
        assert {name: window[name] for name in told} == told, key
        assert window["revision"] == window["events"], key
