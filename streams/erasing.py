"""The erasure of a person, place by place, with its proof.

The person is written down first, so that no pipeline started from now on lets an event of theirs pass. Then everything stored is looked through,
deleted or shredded, and looked at again.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import psycopg

from governance.data_classes import Handling
from governance.erasure import Place, Proof
from operators.pii.hashes import person_hashes
from schemas.coordinates import audit_uid
from schemas.errors import ConfigError, FatalError
from schemas.topics import INPUTS, OUTPUTS
from sinks.audit_table import append
from sinks.erasure_log import Erasure
from sinks.errors import postgres_failure
from sinks.person_records import erase_records, topic_rules
from sinks.person_rows import erase_rows, save_proof
from sinks.vectors import Where
from streams.client_log import with_log
from streams.config import Config, load_hash_key, load_key_ring
from streams.erased import erasure_log
from streams.policy_file import load_policy
from streams.recovery import ERASURE_MARKS
from streams.registry import open_registry
from streams.vectors import backend_of

_DEADLINE_S: Final = 60.0
_CONNECT_S: Final = 10


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked for.

    Attributes:
        user_id: The raw id; never written anywhere.
        asked_by: Who asks.
        at: When.
        files: Directory of JSONL output (``headrace run --output``) to clean too; None for none.
    """

    user_id: str
    asked_by: str
    at: datetime
    files: Path | None = None

    def __repr__(self) -> str:
        """Shows no id."""
        return f"Request(asked_by={self.asked_by!r}, at={self.at!r})"


def erase_person(config: Config, request: Request, tell: Callable[[str], None]) -> Proof:
    """Erases a person from every place that the configuration names, and gives the proof, kept in the database where there is one.

    May be done again at any time: what a first try left undone is done then.

    Raises:
        RetryableError: A place is away: nothing is proved, do it again.
        FatalError: A place refuses, or still holds rows of the person.
    """
    _check_policy(config)
    key = load_hash_key(config)
    persons = person_hashes(request.user_id, load_key_ring(config), key)
    at_ms = int(request.at.timestamp() * 1_000)
    places: list[Place] = []

    def looked_at(found: Iterator[Place] | list[Place]) -> None:
        for place in found:
            tell(f"{place.name}: {place.before} found, {place.done}, {place.after} left" + (f" ({place.stays})" if place.stays else ""))
            places.append(place)

    if config.kafka is not None:
        schema_id = open_registry(config).id_of("erasure")
        for person in persons:
            erasure_log(config).append(Erasure(person, at_ms, request.asked_by), schema_id)
        tell(f"written down in topic {erasure_log(config).name}: no pipeline started from now on lets an event of this person pass")
    looked_at(_snapshots(config, persons))
    if config.qdrant is not None:
        looked_at(_vectors(config, persons))
    if request.files is not None:
        looked_at(_files(request.files, persons))
    if config.kafka is not None:
        looked_at(_topics(config, persons, request.user_id))

    def proof() -> Proof:
        return Proof(persons, request.at.isoformat(), request.asked_by, tuple(places))

    if config.timescale is not None:
        _in_database(config.timescale.dsn.get_secret_value(), persons, looked_at, proof, key, at_ms)
    kept = [place.name for place in proof().left if place.stays is None]
    if kept:
        raise FatalError(f"erase: {', '.join(kept)} still hold rows of the person; a pipeline that runs writes on: stop it and erase again")
    return proof()


def _check_policy(config: Config) -> None:
    """Refuses where policy keeps user ids as they are: what is written by that id is not found by its hash."""
    if load_policy(config.pipeline.policy).policy.pii.user_id is Handling.KEEP:
        raise ConfigError("erase: the policy says pii.user_id: keep, so outputs name persons by their raw id; say hash, and erase raw ids by hand")


def _in_database(
    dsn: str, persons: tuple[str, ...], looked_at: Callable[[list[Place]], None], proof: Callable[[], Proof], key: bytes, at_ms: int
) -> None:
    """Deletes, keeps the proof and writes the audit entry in one transaction."""
    failure = None
    try:
        with psycopg.connect(dsn, connect_timeout=_CONNECT_S, application_name="headrace erase") as connection:
            looked_at(erase_rows(connection, persons))
            made = proof()
            save_proof(connection, made.uid, persons, made.asked_by, made.text, made.mark(key))
            detail = json.dumps({"proof": made.uid, "found": sum(p.before for p in made.places), "left": sum(p.after for p in made.places)})
            entry: dict[str, Any] = {"what": "erasure", "service": f"erase by {made.asked_by}", "agent_id": "headrace", "result": "done"}
            append(connection, {**entry, "audit_uid": audit_uid("erasure", made.uid), "event_time": at_ms, "detail": detail})
    except psycopg.Error as error:
        failure = postgres_failure(error, "erase")
    if failure is not None:
        raise failure


def _snapshots(config: Config, persons: tuple[str, ...]) -> Iterator[Place]:
    """State frames hold counts and digests of keys, no persons; the files are searched all the same, and a run that goes on is told of."""
    folder = config.recovery.dir
    needles = [person.encode() for person in persons]
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != ERASURE_MARKS]
    holding = [path for path in files if any(needle in path.read_bytes() for needle in needles)]
    running = _is_held(folder / "lease")
    stays = (
        "the next snapshots replace them"
        if holding
        else "a pipeline is running on it: it takes the erasure up within seconds; what it wrote until then is found when you erase again"
        if running
        else None
    )
    yield Place("snapshots in recovery.dir", len(holding), len(holding), "nothing", stays)


def _is_held(lease: Path) -> bool:
    if not lease.exists():
        return False
    with lease.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _vectors(config: Config, persons: tuple[str, ...]) -> Iterator[Place]:
    assert config.qdrant is not None
    store = backend_of(config.qdrant).open(_DEADLINE_S)
    try:
        wanted = [Where(user_id=person) for person in persons]
        before = sum(store.count(_DEADLINE_S, where) for where in wanted)
        for where in wanted:
            store.remove(where, _DEADLINE_S)
        store.flush()
        after = sum(store.count(_DEADLINE_S, where) for where in wanted)
    finally:
        store.close()
    yield Place(f"collection {config.qdrant.collection}", before, after, "deleted")


def _files(folder: Path, persons: tuple[str, ...]) -> Iterator[Place]:
    """Writes output files anew without the lines of the person, and those of events of the person."""
    events: set[str] = set()
    for path in sorted(folder.glob("*.jsonl"), key=lambda path: path.name != "enriched_events.jsonl"):
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = []
        for line in lines:
            row = json.loads(line)
            if row.get("user_id") in persons:
                events.add(str(row.get("event_uid")))
            elif row.get("event_uid") not in events:
                kept.append(line)
        if len(kept) < len(lines):
            new = path.with_suffix(".part")
            new.write_text("".join(kept), encoding="utf-8")
            new.replace(path)
        yield Place(f"file {path.name}", len(lines) - len(kept), 0, "deleted" if len(kept) < len(lines) else "nothing")


def _topics(config: Config, persons: tuple[str, ...], user_id: str) -> Iterator[Place]:
    kafka = config.require_kafka()
    client, prefix = with_log(kafka.client_settings()), kafka.topic_prefix
    rules = topic_rules(client, [prefix + name for name in (*OUTPUTS, *INPUTS)])
    hashes, raw = [person.encode() for person in persons], [json.dumps(user_id)[1:-1].encode(), user_id.encode()]
    for name in (*OUTPUTS, *kafka.inputs):
        rule = rules.get(prefix + name)
        if rule is not None:
            yield erase_records(client, prefix + name, rule, hashes if name in OUTPUTS else raw)
