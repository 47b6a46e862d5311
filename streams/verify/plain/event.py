"""What plain reading makes of one record."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

#: Topic, partition, offset.
Place = tuple[str, int, int]
Partition = tuple[str, int]

#: Whole numbers below this are exact in a double; counts, costs and durations stay below it.
NUMBER_MAX: Final = 2**53

#: Columns of content, each JSON of any shape.
CONTENT: Final = ("input", "output", "error", "attributes")


@dataclass(frozen=True, slots=True)
class Record:
    """A record as it lies in its topic.

    Attributes:
        time_ms: Kafka's time; None where there is none.
        trace: W3C trace context, None where the header is absent or something else stands in it.
    """

    place: Place
    time_ms: int | None
    value: bytes | None
    trace: str | None


@dataclass(slots=True)
class Event:
    """One event, read without any of the pipeline's code.

    Attributes:
        names: Texts by column: ids, names, ``user_id``.
        numbers: Whole numbers by column; None where the record states none.
        depends_on: Numbers of steps.
        content: Parsed JSON by content column; absent where the record has none.
        size: Bytes of the record's value.
        digest: Digest of the value: tells a repetition from a conflict.
    """

    place: Place
    kind: str
    time_ms: int
    names: dict[str, str | None]
    numbers: dict[str, int | None]
    depends_on: list[int] | None
    content: dict[str, Any]
    size: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Reading:
    """What can become of a record before its order matters.

    Attributes:
        event: None where it cannot go on.
        codes: Codes of dead letters, each a fault that the record has. Beside an event: faults that another parser may see and this one does not.
    """

    event: Event | None
    codes: frozenset[str] = field(default_factory=frozenset)
