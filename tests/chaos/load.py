"""A fleet that goes on sending while everything else fails: records at a steady rate, canaries among them, and a book of where each one went."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self

from confluent_kafka import KafkaError, Message, Producer

from streams.fleet.fleet import Faults, Fleet
from streams.fleet.record import Fate, FleetRecord
from tests.corpora.canary_leaves import TIME_MS, Canary, corpus
from tests.corpora.canary_recall import missed
from tests.fixtures.deployment import Deployment

#: Where a record lies: topic, partition, offset.
Place = tuple[str, int, int]
#: What must become of a canary: it has one fate, whichever.
ANY: Final = Fate("any")
WINDOW_MS: Final = 10_000
#: Every so many records of the fleet a canary is sent.
_CANARY_EVERY: Final = 40
_TICK_S: Final = 0.02
#: How long the producer waits for a broker that is away.
_PATIENCE_MS: Final = 300_000


@dataclass
class Sent:
    """The book of a load.

    Attributes:
        fates: What must become of each record, by where it lies.
        windows: Records that must be counted in each window, by its start.
        canaries: Values that masking knows and that stand in what was sent.
        failed: Records that the broker did not take, by the name of its error.
    """

    fates: dict[Place, Fate] = field(default_factory=dict)
    windows: Counter[int] = field(default_factory=Counter)
    canaries: frozenset[str] = frozenset()
    failed: Counter[str] = field(default_factory=Counter)

    def add(self, place: Place, record: FleetRecord) -> None:
        """Enters a record that the broker has taken."""
        fate = record.fate
        assert place not in self.fates
        self.fates[place] = fate
        if fate.disposition == "passed" and not fate.late and record.event_time_ms is not None:
            self.windows[record.event_time_ms - record.event_time_ms % WINDOW_MS] += 1


def known_canaries(topics: Sequence[str] = ("agent_events",)) -> list[Canary]:
    """Gives the canaries of the corpus that masking without models finds where nothing fails."""
    canaries = list(corpus(topics))
    unknown = missed(canaries)
    return [one for one in canaries if one.value not in unknown]


class Load:
    """Sends from a thread of its own within the ``with``; what it sends depends on the seed alone.

    Args:
        deployment: Where to.
        seed: Of the fleet.
        rate: Records a second.
        canaries: Sent among the records, one in ``_CANARY_EVERY``; again from the first with other ids never: each is sent once.
        faults: Shares of faulty records.
        count: Records after which it ends by itself; None goes on until told.
    """

    def __init__(
        self, deployment: Deployment, seed: int, rate: float, canaries: Sequence[Canary] = (), faults: Faults | None = None, count: int | None = None
    ) -> None:
        self.sent = Sent(canaries=frozenset(one.value for one in canaries))
        self.rate = rate
        self._prefix = deployment.prefix
        self._epoch_ms = deployment.epoch_ms
        self._count = count
        self._fleet = Fleet(seed=seed, agents=24, rate=rate, base_time_ms=TIME_MS, faults=faults)
        self._canaries = iter(canaries)
        self._produced = 0
        self._ended = threading.Event()
        self._failure: BaseException | None = None
        self._producer = Producer(
            {
                "bootstrap.servers": deployment.bootstrap,
                "linger.ms": 10,
                "enable.idempotence": True,
                "partitioner": "murmur2_random",
                "message.timeout.ms": _PATIENCE_MS,
                "queue.buffering.max.messages": 1_000_000,
                "error_cb": lambda _error: None,
            }
        )
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    @property
    def produced(self) -> int:
        """Records handed to the client so far."""
        return self._produced

    @property
    def ended(self) -> bool:
        """Whether all that was to be sent was."""
        return not self._thread.is_alive()

    def stop(self) -> None:
        """Sends no more, and returns when the broker has taken all."""
        self._ended.set()
        self._thread.join()
        left = self._producer.flush(_PATIENCE_MS / 1_000)
        if self._failure is not None:
            raise self._failure
        assert (left, dict(self.sent.failed)) == (0, {}), "the broker takes all that is sent"

    def _run(self) -> None:
        try:
            began = time.monotonic()
            records = self._records()
            while not self._ended.is_set():
                due = int((time.monotonic() - began) * self.rate) - self._produced
                if self._count is not None:
                    due = min(due, self._count - self._produced)
                for record in itertools.islice(records, max(0, due)):
                    self._send(record)
                self._producer.poll(0)
                if self._count is not None and self._produced >= self._count:
                    break
                self._ended.wait(_TICK_S)
        except BaseException as error:  # noqa: BLE001 - raised by stop
            self._failure = error

    def _records(self) -> Iterator[FleetRecord | Canary]:
        for number, record in enumerate(self._fleet.records()):
            yield record
            if number % _CANARY_EVERY == 0 and (canary := next(self._canaries, None)) is not None:
                yield canary

    def _send(self, record: FleetRecord | Canary) -> None:
        self._produced += 1

        def taken(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                self.sent.failed[error.name()] += 1
                return
            place = (str(message.topic()).removeprefix(self._prefix), message.partition() or 0, message.offset() or 0)
            if isinstance(record, Canary):
                self.sent.fates[place] = ANY
            else:
                self.sent.add(place, record)

        given: dict[str, Any] = (
            {"value": record.event, "key": record.key, "headers": list(record.headers), "timestamp": TIME_MS}
            if isinstance(record, Canary)
            else {"value": record.value, "key": record.key, "timestamp": self._epoch_ms + record.due_ms}
        )
        self._producer.produce(self._prefix + record.topic, on_delivery=taken, **given)
        self._producer.poll(0)
