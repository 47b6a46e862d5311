"""Records that are made to break a decoder or a masker: malformed, huge, deep, ambiguous, slow. The same call gives the same bytes."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any, Final

from schemas import avro
from schemas.topics import INPUTS
from tests.fixtures.records import EXAMPLES, as_avro, avro_bytes

_CONTENT: Final = ("input_data", "arguments", "content", "data", "message")
#: Numbers as JSON writes them, or does not.
_NUMBERS: Final = (
    "1e999", "-1e999", "NaN", "Infinity", "-Infinity", "9" * 400,
    "0." + "9" * 400, "-0", "1e-999", "00", "0x10", "1.", ".5", "+1", "9007199254740993",
    "18446744073709551616",
    "-9223372036854775809", "1e400000000", "true", "null", '"12"', "[]", "{}",
)  # fmt: skip
#: Strings as JSON writes them: halves of pairs, signs that are none, marks of order, of direction and of nothing.
_STRINGS: Final = (
    r"\ud800", r"\udc00\ud800", r"a\ud83d", r"\u0000", r"\ufeff", r"\uffff", r"\u202eevil", r"\u2028", r"\x41", r"\u12", r"\"", "\x00", "\x1b[2J",
    "__proto__",
    "constructor", "${jndi:ldap://x}", "'; DROP TABLE agents; --", "{{7*7}}", "%s%n%x", "../../../etc/passwd",
    "<script>alert(1)</script>",
    "<EMAIL_ADDRESS>", "<PERSON:aaaaaaaaaaaa>", "\\\\N", "\\\\.",
)  # fmt: skip
#: Repeated, a text on which an expression that can match in many ways does not finish.
_UNITS: Final = (
    "a", "1", "1-", "1 ", "+1 ", "(1", "@", "a@", "a@b.", "a.", "://",
    "http://", "www.", "%", "%41", "&#65;", "\\u0041", "1.1.1.", "a:", "::", "DE1", "0x",
    "-----BEGIN ", "AKIA", "password=", "zip ", "May 1 ", "ending in ", "eyJ", "=", "/", "\\",
    "{", "[", '"', "\n", " ", "é", "🙂", "٣", "\u0301", "\u200b",
)  # fmt: skip
_LENGTHS: Final = (100, 1_000, 4_000)


def hostile_records() -> Iterator[tuple[str, bytes]]:
    """Gives topics and values, over a thousand."""
    for topic in INPUTS:
        yield from ((topic, value) for value in (*_malformed(topic), *_odd_fields(topic), *_odd_contents(topic), *_avro(topic)))
    for unit in _UNITS:
        for length in _LENGTHS:
            for end in ("", "!", "\x00"):
                yield "agent_events", _event("agent_events", (unit * length)[:length] + end)
    for unit in ("a", "1 ", "a@b.", "%41"):
        yield "agent_events", _event("agent_events", (unit * 1_000_000)[:1_000_000])


def _event(topic: str, content: Any) -> bytes:
    name = next(name for name in _CONTENT if name in EXAMPLES[topic])
    return json.dumps({**EXAMPLES[topic], name: content}, ensure_ascii=False).encode("utf-8", "surrogatepass")


def _malformed(topic: str) -> Iterator[bytes]:
    good = _event(topic, "fine")
    yield from (
        b"",
        b" ",
        b"\x00",
        b"\x00\x00",
        b"null",
        b"[]",
        b"{}",
        b'"',
        b"{",
        b"}",
        b"\xff\xfe{",
        b"\xef\xbb\xbf" + good,
        good.decode().encode("utf-16"),
    )
    yield from (good[: len(good) * part // 8] for part in range(1, 8))
    yield from (good + tail for tail in (b"\x00", b"}", b"{}", b" ", good))
    yield from (good.replace(b"fine", bad) for bad in (b"\xc3", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80", b"\xc0\xaf", b"\xff" * 20))
    yield from (opening * 100_000 for opening in (b"[", b'{"a":', b'"\\'))
    yield good[:-1] + b',"event_id":"another"}'
    yield good[:-1] + b"," + b",".join(b'"k%d":1' % number for number in range(20_000)) + b"}"
    yield good[:-1] + b',"' + b"k" * 500_000 + b'":1}'
    yield good[:-1] + b',"pad":"' + b"x" * 2_000_000 + b'"}'


def _odd_fields(topic: str) -> Iterator[bytes]:
    for name in ("latency_ms", "execution_time_ms", "value", "timestamp"):
        for number in _NUMBERS:
            yield _without(topic, name) + f',"{name}":{number}}}'.encode()
    for text in _STRINGS:
        yield _without(topic, "event_id") + f',"event_id":"{text}"}}'.encode()
        yield _without(topic, "") + f',"{text}":{{"{text}":"{text}"}}}}'.encode()


def _without(topic: str, name: str) -> bytes:
    """An event that lacks a field, without its last brace."""
    return json.dumps({key: value for key, value in EXAMPLES[topic].items() if key != name}).encode()[:-1]


def _odd_contents(topic: str) -> Iterator[bytes]:
    for depth in (10, 60, 70, 500):
        nested: Any = "mia@example.com"
        for _ in range(depth):
            nested = [nested]
        yield _event(topic, nested)
    wrapped = "mia@example.com"
    for _ in range(12):
        wrapped = base64.b64encode(wrapped.encode()).decode()
        yield _event(topic, wrapped)
    quoted = "mia@example.com"
    for _ in range(8):
        quoted = json.dumps([quoted])
        yield _event(topic, quoted)
    yield _event(topic, base64.b64encode(b"A" * 500_000).decode())
    yield _event(topic, {f"user{number}@example.com": number for number in range(2_000)})


def _avro(topic: str) -> Iterator[bytes]:
    text = avro.text(INPUTS[topic].schema)
    good = avro_bytes(as_avro(EXAMPLES[topic], topic), text, 1 + list(INPUTS).index(topic))
    yield from (good[: len(good) * part // 12] for part in range(1, 12))
    yield from (good[:1] + schema_id.to_bytes(4, "big") + good[5:] for schema_id in (0, 1, 2, 3, 4, 5, 6, 99, 2**31, 2**32 - 1))
    yield good + b"\x00"
    yield good[:5] + b"\xff" * 12 + good[5:]
    yield good[:5] + b"\xfe\xff\xff\xff\x0f" + good[5:]
