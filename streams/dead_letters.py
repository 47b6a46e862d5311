"""What a person does about dead letters: finds them, looks at one, has the records read again, puts them aside.

Redriving and purging are written down in the audit log before and after they are done, where there is a database; and by themselves as marks.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final

import psycopg

from schemas.coordinates import audit_uid
from schemas.errors import ConfigError
from schemas.registry import SchemaRegistry
from sinks.audit_table import append
from sinks.dead_letter_log import PURGED, DeadLetterLog, Mark
from sinks.dead_letter_log import DeadLetter as Letter
from sinks.errors import postgres_failure
from sinks.redrive import Originals, Redrive
from streams.client_log import with_log
from streams.config import Config

#: Copies of one transaction at most: it must end within the broker's timeout.
_COPIES_MAX: Final = 500
OPEN: Final = "open"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which dead letters are meant; what is empty or None asks for nothing.

    Attributes:
        ids: Their ids.
        codes: Why the record could not go on.
        topics: Input topics of the record.
        agents: Masked agent ids; letters of before masking name none.
        since_ms: Kafka time of the record, the first instant.
        until_ms: The first instant after it.
        state: open, redriven or purged; None for all.
    """

    ids: frozenset[str] = frozenset()
    codes: frozenset[str] = frozenset()
    topics: frozenset[str] = frozenset()
    agents: frozenset[str] = frozenset()
    since_ms: int | None = None
    until_ms: int | None = None
    state: str | None = OPEN

    @property
    def is_all(self) -> bool:
        """Whether nothing but the state is asked for."""
        return not (self.ids or self.codes or self.topics or self.agents) and self.since_ms is None and self.until_ms is None

    def takes(self, letter: Letter, mark: Mark | None) -> bool:
        """Tells whether a dead letter is meant."""
        asked: tuple[tuple[frozenset[str], str | None], ...] = (
            (self.ids, letter.record_uid),
            (self.codes, letter.code),
            (self.topics, letter.topic),
            (self.agents, letter.agent_id),
        )
        if any(values and value not in values for values, value in asked) or self.state not in (None, state_of(mark)):
            return False
        at = letter.kafka_time
        return not (
            (self.since_ms is not None and (at is None or at < self.since_ms)) or (self.until_ms is not None and (at is None or at >= self.until_ms))
        )


@dataclass(frozen=True, slots=True)
class Done:
    """What became of a redrive.

    Attributes:
        marks: The dead letters that were redriven.
        gone: Those whose record is gone, each with why.
    """

    marks: Sequence[Mark]
    gone: Sequence[tuple[Letter, str]]


def state_of(mark: Mark | None) -> str:
    """Gives how a dead letter stands."""
    return OPEN if mark is None else mark.what


def found(log: DeadLetterLog, wanted: Wanted) -> list[tuple[Letter, Mark | None]]:
    """Gives the dead letters that are meant, ordered by topic, partition and offset.

    Raises:
        ConfigError: An id is asked for that no dead letter has, or a topic is not there.
        RetryableError: The cluster does not answer.
    """
    marks = log.marks()
    letters = {letter.record_uid: letter for letter in log.letters()}
    strangers = sorted(wanted.ids - letters.keys())
    if strangers:
        raise ConfigError(*(f"dlq: no dead letter has the id {uid[:64]!r}; `headrace dlq list --state all` shows them" for uid in strangers))
    taken = [(letter, mark) for uid, letter in letters.items() if wanted.takes(letter, mark := marks.get(uid))]
    return sorted(taken, key=lambda one: (one[0].topic, one[0].partition, one[0].offset))


def shown(config: Config, log: DeadLetterLog, uid: str) -> dict[str, Any]:
    """Gives what is known of one dead letter, nothing of what its record holds.

    Raises:
        ConfigError: No dead letter has this id.
        RetryableError: The cluster does not answer.
    """
    [(letter, mark)] = found(log, Wanted(ids=frozenset({uid}), state=None))
    with originals(config) as reader:
        gone = reader.missing(letter)
    first = letter.redriven_from
    return {
        **asdict(letter),
        "kafka_time": None if letter.kafka_time is None else _instant(letter.kafka_time),
        "original": None if first is None else {"topic": letter.topic, "partition": letter.partition, "offset": first},
        "state": state_of(mark),
        "mark": None if mark is None else {**asdict(mark), "marked_at": _instant(mark.marked_at)},
        "record": "still in its topic" if gone is None else f"gone: {gone}",
    }


def redrive(config: Config, registry: SchemaRegistry, wanted: Wanted, by: str, at: datetime, *, dry_run: bool) -> Done:
    """Copies the records of open dead letters to the end of their partitions, each once.

    Args:
        config: Where everything is.
        registry: Of schemas.
        wanted: Which dead letters.
        by: Who asks.
        at: When.
        dry_run: Only looks whether the records are there; the marks then lead nowhere.

    Raises:
        ConfigError: An id is unknown, or a topic is not there.
        RetryableError: The cluster or the database is away. Asking again does what is left to do.
        FatalError: Another redrive has taken over, or a part refuses.
    """
    log, at_ms = log_of(config, registry), _ms(at)
    if dry_run:
        letters = [letter for letter, _ in found(log, wanted)]
        seen = list(_looked_up(config, letters))
        there = [letter for letter, message in seen if not isinstance(message, str)]
        return Done(
            [Mark(letter.record_uid, OPEN, at_ms, by, letter.topic, letter.partition, letter.offset) for letter in there],
            [(letter, message) for letter, message in seen if isinstance(message, str)],
        )
    writer = _writer(config, registry)  # fences other redrives, so that the marks read from here on are all there are
    letters = [letter for letter, _ in found(log, wanted)]
    marks: list[Mark] = []
    gone: list[tuple[Letter, str]] = []
    with _written_down(config, "redrive", letters, by, at_ms) as result:
        for start in range(0, len(letters), _COPIES_MAX):
            seen = list(_looked_up(config, letters[start : start + _COPIES_MAX]))
            gone += [(letter, message) for letter, message in seen if isinstance(message, str)]
            held = [(letter, message) for letter, message in seen if not isinstance(message, str)]
            if held:
                marks += writer.copy([letter for letter, _ in held], [message for _, message in held], by, at_ms)
        result.update(redriven=len(marks), gone=len(gone))
    return Done(marks, gone)


def purge(config: Config, registry: SchemaRegistry, wanted: Wanted, by: str, at: datetime, agreed: Callable[[int], bool]) -> Sequence[Mark]:
    """Marks open dead letters as purged; raises as ``redrive`` does.

    Args:
        config: Where everything is.
        registry: Of schemas.
        wanted: Which dead letters.
        by: Who asks.
        at: When.
        agreed: Asked with their number before anything is done.
    """
    log, at_ms = log_of(config, registry), _ms(at)
    if not agreed(len(found(log, wanted))):
        return ()
    writer = _writer(config, registry)
    letters = [letter for letter, _ in found(log, wanted)]
    with _written_down(config, "purge", letters, by, at_ms) as result:
        marks = writer.mark(letters, PURGED, by, at_ms) if letters else []
        result.update(purged=len(marks))
    return marks


def log_of(config: Config, registry: SchemaRegistry) -> DeadLetterLog:
    """Gives the topics of dead letters that the configuration names."""
    kafka = config.require_kafka()
    return DeadLetterLog(with_log(kafka.client_settings()), registry, kafka.topic_prefix)


def originals(config: Config) -> Originals:
    """Gives the reader of the records that dead letters are about."""
    kafka = config.require_kafka()
    return Originals(with_log(kafka.client_settings()), kafka.topic_prefix, config.pipeline.name)


def _writer(config: Config, registry: SchemaRegistry) -> Redrive:
    kafka = config.require_kafka()
    return Redrive(with_log(kafka.client_settings()), config.pipeline.name, kafka.topic_prefix, registry.id_of("dead_letter_mark"))


def _looked_up(config: Config, letters: Sequence[Letter]) -> Iterator[tuple[Letter, Any]]:
    with originals(config) as reader:
        for letter in letters:
            yield letter, reader.read(letter)


@contextmanager
def _written_down(config: Config, act: str, letters: Sequence[Letter], by: str, at_ms: int) -> Iterator[dict[str, int]]:
    """Within the body: an act that the audit log knows of, begun before it and done after it, with what the body puts into the result.

    Without a database, or with nothing to do, nothing is written.
    """
    dsn = None if config.timescale is None or not letters else config.timescale.dsn.get_secret_value()
    asked = {"letters": len(letters), "codes": dict(sorted(Counter(letter.code for letter in letters).items()))}
    entry: dict[str, Any] = {"what": "dead_letters", "service": f"dlq {act} by {by}", "agent_id": "headrace", "action": act, "event_time": at_ms}
    result: dict[str, int] = {}
    if dsn is not None:
        _tell(dsn, {**entry, "result": "begun"}, asked)
    try:
        yield result
    except BaseException:
        if dsn is not None:
            _tell(dsn, {**entry, "result": "failed"}, asked)
        raise
    if dsn is not None:
        _tell(dsn, {**entry, "result": "done"}, {**asked, **result})


def _tell(dsn: str, entry: Mapping[str, Any], detail: Mapping[str, Any]) -> None:
    text = json.dumps(detail, sort_keys=True)
    uid = audit_uid("dead_letters", entry["service"], str(entry["event_time"]), entry["result"], text)
    failure = None
    try:
        with psycopg.connect(dsn, connect_timeout=10, application_name="headrace dlq") as connection:
            append(connection, {**entry, "audit_uid": uid, "detail": text})
    except psycopg.Error as error:
        failure = postgres_failure(error, "dlq, audit log")
    if failure is not None:
        raise failure


def _ms(at: datetime) -> int:
    return int(at.timestamp() * 1_000)


def _instant(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1_000, UTC).isoformat(timespec="milliseconds")
