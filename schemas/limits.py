"""The limits on one input record: what is beyond them becomes a dead letter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

#: Counts, costs and durations must stay below this after scaling: a double holds every integer below it exactly, and 1,024 of the largest
#: still sum in 64 bits. As nano-dollars it is 9 million dollars, as microseconds 285 years: a larger value is an error of the producer.
NUMBER_MAX: Final = 2**53

#: Last millisecond of the year 9999: the latest time that ISO 8601 with four digits, Python and PostgreSQL all can write.
TIME_MS_MAX: Final = 253_402_300_799_999


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits on one input record.

    Attributes:
        record_bytes_max: Largest value in bytes; beyond it ``record_oversized``. 1 MiB is also Kafka's default ``max.message.bytes``.
        nesting_depth_max: Deepest nesting of JSON arrays and objects, the record itself included; beyond it ``nesting_too_deep``.
        future_skew_ms_max: How far (ms) an event time may lie after the record's Kafka timestamp; beyond it ``event_time_in_future``.
        identifier_bytes_max: Longest id or name in bytes; beyond it ``record_oversized``. Keeps index rows of a database, message keys and state
            small: PostgreSQL refuses index rows beyond 2,704 bytes.
    """

    record_bytes_max: int = 1_048_576
    nesting_depth_max: int = 64
    future_skew_ms_max: int = 300_000
    identifier_bytes_max: int = 512


#: Largest message that output topics take, in bytes. Masking may lengthen a record, so it is more than the limit on an input record.
OUTPUT_BYTES_MAX: Final = 4 * 1024 * 1024
