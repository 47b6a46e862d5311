"""Test sets of the tagger, out of data that it does not learn from: records of agents' tools, recorded runs, and prose whose names are known.

The truth is found by looking up names that a database lists, so it holds for PERSON everywhere, and for LOCATION in records only.
"""

from __future__ import annotations

import gzip
import json
import lzma
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from models.train.attack_tests import read_yaml
from models.train.names.marked import UNSURE, NamedText

_TAU: Final = "inspect_evals/tau2/data/domains"
#: Texts of one set at most: the sets repeat the same records.
_TEXTS_MAX: Final = 500
_KEY: Final = re.compile(r"['\"](first_name|last_name|city|country|address1|address2|state|province|email)['\"]: ?['\"]([^'\"]+)['\"]")
_ENTITY_OF: Final = {"first_name": "PERSON", "last_name": "PERSON", "city": "LOCATION", "country": "LOCATION", "address1": "LOCATION"}
#: A place by its code: whether it counts as one is a matter of taste.
_AIRPORT: Final = re.compile(r'"(?:origin|destination)": ?"([A-Z]{3})"')
#: People of agentdojo's mails, read by hand.
_DOJO_PEOPLE: Final = (
    "Olivia Smith",
    "Mia Anderson",
    "Mason Thompson",
    "Emma Johnson",
    "John",
    "Lily",
    "Emma",
    "David",
    "Julie",
    "Katie",
    "Sarah",
    "James",
    "Mark",
)


@dataclass(frozen=True, slots=True)
class NameTest:
    """A test set.

    Attributes:
        name: As reports name it.
        kind: ``records`` or ``prose``.
        entities: Entities whose truth is known.
        texts: The texts.
    """

    name: str
    kind: str
    entities: tuple[str, ...]
    texts: list[NamedText]


def _matches(text: str, names: Iterable[str]) -> Iterator[tuple[int, int]]:
    """Gives where one of the names stands as a word of its own, the longest first where several begin."""
    listed = sorted(set(names), key=lambda name: (-len(name), name))
    if listed:
        pattern = re.compile(r"(?<![A-Za-z0-9_])(?:" + "|".join(map(re.escape, listed)) + r")(?![A-Za-z0-9])")
        yield from (found.span() for found in pattern.finditer(text))


def found_in(text: str, people: Iterable[tuple[str, str]], ids: Iterable[str]) -> NamedText:
    """Gives a text with the names in it.

    Args:
        text: The text.
        people: Given and family names of those who can occur in it: whole names and given names are looked for, family names after a title too.
        ids: Ids made of names, such as ``mia_li_3668``; the name is the part before the number.
    """
    spans: list[tuple[int, int, str]] = []
    for found in _KEY.finditer(text):
        spans.append((found.start(2), found.end(2), _ENTITY_OF.get(found[1], UNSURE)))
    wanted = [*(f"{first} {last}" for first, last in people), *(first for first, _ in people)]
    spans += [(start, end, "PERSON") for start, end in _matches(text, wanted)]
    for start, end in _matches(text, ids):
        spans.append((start, start + len(re.sub(r"_\d+$", "", text[start:end])), "PERSON"))
    spans += [(found.start(), found.end(), UNSURE) for found in re.finditer(r"[\w.]+@[\w.]+", text)]
    spans += [(found.start(1), found.end(1), UNSURE) for found in _AIRPORT.finditer(text)]
    kept: list[tuple[int, int, str]] = []
    for span in sorted(spans, key=lambda span: (span[0], -span[1])):
        if not kept or span[0] >= kept[-1][1]:
            kept.append(span)
    return NamedText(text, tuple(kept))


def _people(record: dict[str, Any]) -> list[tuple[str, str]]:
    """Gives the people of a user's record: the user and saved passengers."""
    named = [record["name"], *record.get("saved_passengers", [])]
    return [(str(one["first_name"]), str(one["last_name"])) for one in named]


def airline(folder: Path) -> list[NameTest]:
    """Gives the recorded airline runs: tools' results and arguments, and what users and the agent say."""
    runs, users = (json.loads(lzma.decompress((folder / f"{name}.xz").read_bytes())) for name in ("gpt-4o-airline.json", "users.json"))
    records: dict[str, NamedText] = {}
    prose: dict[str, NamedText] = {}
    for run in runs:
        whole = json.dumps(run["traj"])
        mine = [user for user in users if user in whole]
        people = [person for user in mine for person in _people(users[user])]
        people += re.findall(r'\\"first_name\\": \\"([^"\\]+)\\", \\"last_name\\": \\"([^"\\]+)\\"', whole)
        for message in run["traj"][1:]:
            content = message.get("content")
            for text in [content, *(call["function"]["arguments"] for call in message.get("tool_calls") or ())]:
                if text:
                    into = records if message["role"] == "tool" or text is not content else prose
                    into.setdefault(text, found_in(text, people, users))
    return [
        NameTest("airline runs: tool results", "records", ("PERSON", "LOCATION"), list(records.values())[:_TEXTS_MAX]),
        NameTest("airline runs: conversation", "prose", ("PERSON",), list(prose.values())[:_TEXTS_MAX]),
    ]


def retail(packages: Path) -> list[NameTest]:
    """Gives tau2's retail database (users and orders), and the prose that tells a simulated customer who it is."""
    folder = packages / _TAU / "retail"
    database = json.loads(gzip.decompress((folder / "db.json.gz").read_bytes()))
    users = database["users"]
    texts = [found_in(json.dumps(user), _people(user), users) for user in list(users.values())[:250]]
    for order in list(database["orders"].values())[:250]:
        texts.append(found_in(json.dumps(order), _people(users[order["user_id"]]), users))
    everyone = [person for user in users.values() for person in _people(user)]
    prose: dict[str, NamedText] = {}
    for task in json.loads((folder / "tasks.json").read_text(encoding="utf-8")):
        for text in task["user_scenario"]["instructions"].values():
            if isinstance(text, str) and text:
                mine = [(first, last) for first, last in everyone if f"{first} {last}" in text]
                prose.setdefault(text, found_in(text, mine, users))
    return [
        NameTest("tau2 retail: records", "records", ("PERSON", "LOCATION"), texts),
        NameTest("tau2 retail: prose", "prose", ("PERSON",), list(prose.values())[:_TEXTS_MAX]),
    ]


def mails(packages: Path) -> list[NameTest]:
    """Gives agentdojo's mails, whose people were listed by hand."""
    inbox = read_yaml(packages / "agentdojo/data/suites/workspace/environment.yaml")["inbox"]["initial_emails"]
    bodies = [mail["body"] for mail in inbox if "{" not in mail["body"]]
    texts = []
    for body in bodies:
        spans = tuple((start, end, "PERSON") for start, end in _matches(body, _DOJO_PEOPLE))
        texts.append(NamedText(body, spans))
    return [NameTest("agentdojo: mails", "prose", ("PERSON",), texts)]


def name_tests(packages: Path, recorded: Path) -> list[NameTest]:
    """Gives every test set.

    Args:
        packages: Where the packages for tests are installed.
        recorded: The recorded airline runs.
    """
    return [*airline(recorded), *retail(packages), *mails(packages)]
