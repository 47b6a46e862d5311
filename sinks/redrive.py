"""Redriving: the originals of dead letters are copied to the end of their partitions, each once.

The copies and the marks that tell of them are one Kafka transaction, so that they are there together or not at all. All redrives of a pipeline share
one transactional id: opening it ends what an earlier one left open and fences one that still runs, and only then the marks are read. So whatever is
cut off, and however often it is asked for, a dead letter is redriven once. Source: KIP-98.

What is read is raw and goes from an input topic to the same partition of that topic, nowhere else; messages here name nothing of it but its place.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from schemas.errors import FatalError, RetryableError
from schemas.limits import OUTPUT_BYTES_MAX
from schemas.topics import REDRIVEN_HEADER
from sinks.dead_letter_log import MARKS, REDRIVEN, DeadLetter, Mark, encoded
from sinks.errors import kafka_failure

_TIMEOUT_S: Final = 30.0
#: Between two wanted records so many others are read over; beyond, the consumer jumps.
_READ_OVER_MAX: Final = 500

Headers = list[tuple[str, str | bytes | None]]
T = TypeVar("T")


class Redrive:
    """The one writer of copies and marks of a pipeline.

    Args:
        client: librdkafka settings.
        pipeline: Its name.
        prefix: Stands before the names of topics.
        schema_id: Id of the schema of marks.

    Raises:
        RetryableError: The cluster does not answer.
        FatalError: It refuses this client.
    """

    def __init__(self, client: Mapping[str, Any], pipeline: str, prefix: str, schema_id: int) -> None:
        self._client, self._prefix, self._schema_id = client, prefix, schema_id
        self._producer = Producer(
            {
                "compression.type": "lz4",
                "message.max.bytes": OUTPUT_BYTES_MAX,
                "transaction.timeout.ms": 60_000,
                **client,
                "acks": "all",
                "enable.idempotence": True,
                "transactional.id": f"{pipeline}.dlq",
            }
        )
        _asked(lambda: self._producer.init_transactions(_TIMEOUT_S), "redrive, init_transactions")

    def copy(self, letters: Sequence[DeadLetter], originals: Sequence[Message], by: str, at_ms: int) -> list[Mark]:
        """Copies originals and marks their dead letters, in one transaction; gives the marks.

        Raises:
            RetryableError: The cluster is away or slow. Asking again does what is left to do.
            FatalError: Another redrive has taken over, or the cluster refuses.
        """
        places: dict[int, int] = {}
        failed: list[KafkaError] = []

        def delivered(number: int) -> Callable[[KafkaError | None, Message], None]:
            def report(error: KafkaError | None, message: Message) -> None:
                if error is not None:
                    failed.append(error)
                places[number] = message.offset() or 0

            return report

        def act() -> list[Mark]:
            for number, (letter, message) in enumerate(zip(letters, originals, strict=True)):
                self._producer.produce(
                    self._prefix + letter.topic,
                    message.value(),
                    message.key(),
                    letter.partition,
                    delivered(number),
                    headers=_headers(letter, message),
                )
                self._producer.poll(0)
            if self._producer.flush(_TIMEOUT_S) or failed:
                raise kafka_failure(failed[0] if failed else KafkaError(KafkaError._MSG_TIMED_OUT), "redrive, copying records")
            return [
                Mark(one.record_uid, REDRIVEN, at_ms, by, one.topic, one.partition, one.offset, places[number]) for number, one in enumerate(letters)
            ]

        return self._transaction(act)

    def mark(self, letters: Sequence[DeadLetter], what: str, by: str, at_ms: int) -> list[Mark]:
        """Marks dead letters, in one transaction; raises as ``copy`` does."""
        return self._transaction(lambda: [Mark(one.record_uid, what, at_ms, by, one.topic, one.partition, one.offset) for one in letters])

    def _transaction(self, act: Callable[[], list[Mark]]) -> list[Mark]:
        producer = self._producer
        _asked(producer.begin_transaction, "redrive, begin")
        try:
            marks = _asked(act, "redrive")
            for one in marks:
                _asked(partial(producer.produce, self._prefix + MARKS.name, encoded(one, self._schema_id), one.record_uid), "redrive, marks")
            _asked(lambda: producer.commit_transaction(_TIMEOUT_S), "redrive, commit")
        except (RetryableError, FatalError):
            with suppress(KafkaException):
                producer.abort_transaction(_TIMEOUT_S)
            raise
        return marks


class Originals:
    """Reads records at the coordinates of dead letters; a context manager.

    Args:
        client: librdkafka settings.
        prefix: Stands before the names of topics.
        pipeline: Its name: the group under which the pipeline may read.
    """

    def __init__(self, client: Mapping[str, Any], prefix: str, pipeline: str) -> None:
        self._prefix = prefix
        self._consumer = Consumer(
            {
                "fetch.wait.max.ms": 20,
                **client,
                "group.id": pipeline,
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "error",
            }
        )
        self._bounds: dict[tuple[str, int], tuple[int, int]] = {}
        self._at: tuple[str, int, int] | None = None

    def __enter__(self) -> Originals:
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()

    def missing(self, letter: DeadLetter) -> str | None:
        """Gives why the original can no longer be there, None where it may be: what the bounds of its partition tell.

        Raises:
            RetryableError: The cluster does not answer.
        """
        place = (letter.topic, letter.partition)
        if place not in self._bounds:
            asked = TopicPartition(self._prefix + letter.topic, letter.partition)
            self._bounds[place] = _asked(
                lambda: self._consumer.get_watermark_offsets(asked, timeout=_TIMEOUT_S, cached=False),
                f"offsets of {letter.topic}[{letter.partition}]",
            )
        low, high = self._bounds[place]
        if letter.offset < low:
            return f"retention has taken it: the oldest record left in the partition has offset {low}"
        return f"the partition ends at offset {high}: the topic was made anew" if letter.offset >= high else None

    def read(self, letter: DeadLetter) -> Message | str:
        """Gives the original, or why it is gone. Cheap where letters come in the order of their partitions and offsets.

        Raises:
            RetryableError: The cluster does not answer.
        """
        why = self.missing(letter)
        if why is not None:
            return why
        place = (letter.topic, letter.partition)
        if self._at is None or self._at[:2] != place or not self._at[2] <= letter.offset <= self._at[2] + _READ_OVER_MAX:
            self._consumer.assign([TopicPartition(self._prefix + letter.topic, letter.partition, letter.offset)])
        until = time.monotonic() + _TIMEOUT_S
        while time.monotonic() < until:
            for message in self._consumer.consume(1, timeout=0.5):
                problem, offset = message.error(), message.offset() or 0
                if problem is None and offset < letter.offset:
                    continue
                self._at = None
                if problem is not None and problem.code() not in (KafkaError._PARTITION_EOF, KafkaError._AUTO_OFFSET_RESET):
                    raise kafka_failure(problem, f"reading {letter.place}")
                if problem is not None or offset > letter.offset:
                    return "there is no record at this offset any more"
                self._at = (*place, offset + 1)
                kind, sent_at = message.timestamp()
                if kind and letter.kafka_time is not None and sent_at != letter.kafka_time:
                    return "another record lies at this offset: the topic was made anew"
                return message
        raise RetryableError(f"reading {letter.place} took longer than {_TIMEOUT_S:.0f} s; is the broker up?", 1_000)


def _headers(letter: DeadLetter, message: Message) -> Headers:
    """Gives the headers of a copy: those of the original, and the offset of the first original where copies were copied."""
    found = message.headers() or []
    kept = [(name, value) for name, value in (found.items() if isinstance(found, dict) else found) if name != REDRIVEN_HEADER]
    first = letter.offset if letter.redriven_from is None else letter.redriven_from
    return [*kept, (REDRIVEN_HEADER, str(first).encode())]


def _asked(call: Callable[[], T], where: str) -> T:
    try:
        return call()
    except BufferError:
        failure: RetryableError | FatalError = RetryableError(f"{where}: the client's queue is full; is the broker up?", 1_000)
    except KafkaException as error:
        failure = kafka_failure(error, where)
    raise failure  # outside of the handler, so that the foreign error does not travel along
