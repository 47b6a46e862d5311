"""How texts of many callers become batches: admitted within a bound, in turns; then cut by length.

    calls ──> Admission (each caller waits here, one batch's worth a turn) ──> Queue (rounds, sorted by length) ──> batches

A batch goes as soon as the server has room for it. So a lone text never waits, and under load texts gather while earlier batches run: batches grow by
themselves, without a delay to tune.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from models.results import Served


@dataclass(eq=False, slots=True)
class Call:
    """One caller's texts and what is known of them.

    Attributes:
        deadline_s: When the caller gives up, on the clock of the event loop.
        results: One a text, in order; filled as batches come back.
        missing: Results not there yet.
        served: What answered.
        over: Answered, failed or given up: its texts are not sent any more.
    """

    deadline_s: float
    results: list[Any]
    missing: int
    served: set[Served] = field(default_factory=set)
    over: bool = False


@dataclass(eq=False, slots=True)
class Item:
    """One text on its way.

    Attributes:
        call: Whose it is.
        place: Where in the call's results its answer goes.
        data: UTF-8.
        chars: Length in characters, which offsets in answers may not exceed.
    """

    call: Call
    place: int
    data: bytes
    chars: int


@dataclass(eq=False, slots=True)
class _Turn:
    call: Call
    head: Item | None
    rest: Iterator[Item]


@dataclass(slots=True)
class Admission:
    """Bounds the texts in flight; calls wait their turn.

    A text larger than ``bytes_max`` is let in when it is alone.

    Attributes:
        texts_max: Texts let in and not yet released.
        bytes_max: Their UTF-8 bytes.
        turn_texts: Texts of one call that are let in before the next call has its turn.
    """

    texts_max: int
    bytes_max: int
    turn_texts: int
    texts: int = field(default=0, init=False)
    size_bytes: int = field(default=0, init=False)
    _waiting: deque[_Turn] = field(default_factory=deque, init=False)

    def offer(self, call: Call, items: Iterable[Item]) -> None:
        """Puts a call at the end of those that wait; its items are made when their turn comes."""
        rest = iter(items)
        self._waiting.append(_Turn(call, next(rest, None), rest))

    def admit(self) -> list[Item]:
        """Lets in what there is room for; calls that are over leave."""
        admitted: list[Item] = []
        while self._waiting:
            turn = self._waiting[0]
            taken = 0
            while turn.head is not None and not turn.call.over and taken < self.turn_texts:
                if not self._has_room(len(turn.head.data)):
                    return admitted  # it keeps its place
                self.texts += 1
                self.size_bytes += len(turn.head.data)
                admitted.append(turn.head)
                turn.head = next(turn.rest, None)
                taken += 1
            self._waiting.popleft()
            if turn.head is not None and not turn.call.over:
                self._waiting.append(turn)
        return admitted

    def release(self, items: Iterable[Item]) -> None:
        """Gives back the room of texts that were let in; once for each."""
        for item in items:
            self.texts -= 1
            self.size_bytes -= len(item.data)

    def _has_room(self, size_bytes: int) -> bool:
        return self.texts == 0 or (self.texts < self.texts_max and self.size_bytes + size_bytes <= self.bytes_max)


@dataclass(slots=True)
class Queue:
    """Cuts what waits into batches of like length.

    All that waits makes a round: sorted by length, cut into batches. What comes meanwhile makes the next round, so that no text is overtaken for
    ever.

    Attributes:
        batch_texts_max: Texts of a batch.
        batch_bytes_max: Bytes of a batch; a larger text goes alone.
    """

    batch_texts_max: int
    batch_bytes_max: int
    _waiting: list[Item] = field(default_factory=list, init=False)
    _round: deque[list[Item]] = field(default_factory=deque, init=False)

    def put(self, items: Iterable[Item]) -> None:
        """Adds texts for the next round."""
        self._waiting.extend(items)

    def put_first(self, batches: Iterable[list[Item]]) -> None:
        """Puts whole batches in front of all others."""
        self._round.extendleft(batches)

    def take(self) -> tuple[list[Item], list[Item]]:
        """Gives the next batch, empty where nothing waits, and the texts beside it whose calls are over."""
        dropped: list[Item] = []
        while True:
            if not self._round:
                self._round.extend(self._cut(sorted(self._waiting, key=lambda item: len(item.data))))
                self._waiting.clear()
            if not self._round:
                return [], dropped
            batch = self._round.popleft()
            dropped.extend(item for item in batch if item.call.over)
            if live := [item for item in batch if not item.call.over]:
                return live, dropped

    def _cut(self, items: Sequence[Item]) -> Iterable[list[Item]]:
        batch: list[Item] = []
        size_bytes = 0
        for item in items:
            if batch and (len(batch) == self.batch_texts_max or size_bytes + len(item.data) > self.batch_bytes_max):
                yield batch
                batch, size_bytes = [], 0
            batch.append(item)
            size_bytes += len(item.data)
        if batch:
            yield batch


def by_call(batch: Sequence[Item]) -> list[list[Item]]:
    """Gives the texts of each call in a batch apart."""
    parts: dict[int, list[Item]] = {}
    for item in batch:
        parts.setdefault(id(item.call), []).append(item)
    return list(parts.values())
