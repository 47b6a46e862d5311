"""The frozen corpus of canaries: each personal value stands once, in one kind of leaf of one record.

No draw is made: the same call gives the same bytes.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import quote

from schemas import avro
from schemas.topics import INPUTS
from tests.corpora.canary_values import ENTITIES
from tests.fixtures.records import EXAMPLES, as_avro, avro_bytes

TIME_MS: Final = 1_700_000_000_000
_CONTENT: Final = ("input_data", "arguments", "content", "data", "message")
#: A key name of the default policy for each entity that one gives away.
_KEYS: Final = {
    "CARD_LAST_FOUR": "last_four", "CREDIT_CARD": "card_number", "DATE_TIME": "date_of_birth", "EMAIL_ADDRESS": "email", "IBAN_CODE": "iban",
    "LOCATION": "street", "PERSON": "full_name", "PHONE_NUMBER": "phone", "SECRET": "password", "US_BANK_NUMBER": "account_number",
    "US_DRIVER_LICENSE": "driver_license", "US_PASSPORT": "passport_number", "US_SSN": "ssn", "US_ZIP": "zip_code",
}  # fmt: skip


def _in_text(make: Callable[[str], Any]) -> Callable[[str, str], Any]:
    """A leaf of the sentence in which people write the value."""
    return lambda value, sentence: make(sentence.replace("@", value, 1))


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _html(text: str) -> str:
    return "".join(sign if sign.isalnum() or sign == " " else f"&#{ord(sign)};" for sign in text)


#: By kind of leaf: the content of an event, from the value and the sentence around it.
LEAVES: Final[Mapping[str, Callable[[str, str], Any]]] = MappingProxyType(
    {
        "sentence": _in_text(lambda text: f"hello, {text}. Thanks"),
        "value alone": lambda value, _: value,
        "nested": _in_text(lambda text: {"a": [{"b": [[text]]}]}),
        "JSON in a string": _in_text(lambda text: json.dumps({"note": text})),
        "JSON in JSON in a string": _in_text(lambda text: json.dumps({"inner": json.dumps([text])})),
        "late line": _in_text(lambda text: "\n".join(["nothing"] * 40 + [text] + ["nothing"] * 40)),
        "after escapes": _in_text(lambda text: f'"\t{text}"\u2028 ok'),
        "map key": lambda value, _: {value: 1},
        "URL query": lambda value, _: f"GET https://api.example.com/find?who={quote(value)}&page=2",
        "percent": _in_text(lambda text: quote(text, safe="")),
        "HTML": _in_text(_html),
        "HTML, every sign": _in_text(lambda text: "".join(f"&#x{ord(sign):x};" for sign in text)),
        "unicode escapes": _in_text(lambda text: "".join(f"\\u{ord(sign):04x}" for sign in text)),
        "base64": _in_text(_base64),
        "base64 for URLs": _in_text(lambda text: base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")),
        "base64 of JSON": _in_text(lambda text: _base64(json.dumps({"note": text}))),
        "base64 twice": _in_text(lambda text: _base64(_base64(text))),
        "hexadecimal": _in_text(lambda text: text.encode().hex()),
        "upper case": _in_text(str.upper),
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Canary:
    """One planted value and its record.

    Attributes:
        value: What is looked for.
        entity: What it is.
        leaf: The kind of leaf in which it stands.
        topic: The input topic of the record.
        event: The record's value.
        key: Its message key.
        headers: Its headers.
    """

    value: str
    entity: str
    leaf: str
    topic: str
    event: bytes
    key: bytes = b"k"
    headers: tuple[tuple[str, bytes], ...] = ()


def corpus(topics: Sequence[str] = tuple(INPUTS)) -> Iterator[Canary]:
    """Gives each entity in each kind of leaf, on each of the topics."""
    number = 0
    for topic in topics:
        for entity, (make, sentence) in ENTITIES.items():
            for leaf in (*LEAVES, "key name", "split over leaves", "number", *_AROUND, "Avro"):
                number += 1
                value = make(number)
                if (canary := _planted(topic, entity, leaf, value, sentence, f"c-{number}")) is not None:
                    yield canary


#: Where beside content a value can stand.
_AROUND: Final = ("agent id", "session id", "user id", "metadata", "key of no schema", "name of a key of no schema", "message key", "header")


def _planted(topic: str, entity: str, leaf: str, value: str, sentence: str, event_id: str) -> Canary | None:
    """A record with the value in it; None where the entity cannot stand so."""
    content = next(name for name in _CONTENT if name in EXAMPLES[topic])
    fields: dict[str, Any] = {**EXAMPLES[topic], "event_id": event_id, "timestamp": TIME_MS}
    key, headers = b"k", ()
    if leaf in LEAVES:
        fields[content] = LEAVES[leaf](value, sentence)
    elif leaf == "number":
        if not value.isdecimal():
            return None
        fields[content] = {"value": int(value)}
    elif leaf == "key name":
        if entity not in _KEYS:
            return None
        fields[content] = {_KEYS[entity]: value}
    elif leaf == "split over leaves":
        if entity != "PERSON":
            return None
        fields[content] = {"first_name": "Mira", "last_name": value.split()[1]}
        value = value.split()[1]
    elif leaf == "Avro":
        fields[content] = sentence.replace("@", value, 1)
        return Canary(
            value,
            entity,
            leaf,
            topic,
            avro_bytes(as_avro(_known(topic, fields), topic), avro.text(INPUTS[topic].schema), 1 + list(INPUTS).index(topic)),
        )
    else:
        key, headers = _around(leaf, value, sentence, fields)
    return Canary(value, entity, leaf, topic, json.dumps(fields, ensure_ascii=False).encode(), key, headers)


def _known(topic: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    names = {field["name"] for field in json.loads(avro.text(INPUTS[topic].schema))["fields"]}
    return {name: value for name, value in fields.items() if name in names}


def _around(leaf: str, value: str, sentence: str, fields: dict[str, Any]) -> tuple[bytes, tuple[tuple[str, bytes], ...]]:
    """Lays the value into the fields, or gives it as key or header."""
    said = sentence.replace("@", value, 1)
    column = {"agent id": "agent_id", "session id": "session_id", "user id": "user_id"}.get(leaf)
    if column is not None:
        fields[column] = value
    elif leaf == "metadata":
        fields["metadata"] = {"note": said}
    elif leaf == "key of no schema":
        fields["unknown"] = {"who": [said]}
    elif leaf == "name of a key of no schema":
        fields[value] = 1
    elif leaf == "message key":
        return value.encode(), ()
    elif leaf == "header":
        return b"k", (("traceparent", value.encode()), ("x-user", value.encode()))
    return b"k", ()


def digest() -> str:
    """Gives what the whole corpus hashes to; a changed corpus is another corpus."""
    made = hashlib.sha256()
    for canary in corpus():
        made.update(b"\0".join((canary.value.encode(), canary.leaf.encode(), canary.topic.encode(), canary.event, canary.key)))
    return made.hexdigest()
