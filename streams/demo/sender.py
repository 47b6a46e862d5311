"""The fleet's side of the demo: a thread that produces records when they are due, and keeps the books."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from schemas.errors import HeadraceError
from streams.fleet import Book, FleetRecord
from streams.publish import Publisher, paced


class Sender:
    """Produces in a thread of its own until told to stop."""

    def __init__(self, publisher: Publisher, records: Iterable[FleetRecord], window_ms: int) -> None:
        self.book = Book(window_ms)
        self._publisher = publisher
        self._records = records
        self._halt = threading.Event()
        self._failure: HeadraceError | None = None
        self._thread = threading.Thread(target=self._run, name="fleet", daemon=True)

    def start(self) -> None:
        """Begins to produce; the first record is due now."""
        self._thread.start()

    def _run(self) -> None:
        try:
            for record in paced(self._records, self._halt.is_set, self._wait):
                self._publisher.send(record, record.partition)
                self.book.add(record)
            self._publisher.flush()
        except HeadraceError as error:
            self._failure = error

    def _wait(self, seconds: float) -> None:
        self._publisher.serve()
        self._halt.wait(seconds)

    def stop(self) -> None:
        """Stops producing and waits until all that was sent is acknowledged.

        Raises:
            HeadraceError: Kafka did not take the records.
        """
        self._halt.set()
        self._thread.join()
        self.check()

    def check(self) -> None:
        """Raises what stopped the producing, if anything did."""
        if self._failure is not None:
            raise self._failure
