"""The error tree of headrace: the class decides the fate of the run or of the record.

    HeadraceError
    ├── ConfigError              before the first record: nothing was read, nothing was written
    ├── RecordError              one record cannot go on: it becomes a dead letter (or is filtered), the run goes on
    │   ├── BytesInvalid             bytes_invalid         the value is not Avro of the named schema
    │   ├── JsonInvalid              json_invalid          the value is not one JSON object
    │   ├── SchemaUnknown            schema_unknown        the schema id is not in the registry
    │   ├── FieldMissing             field_missing         a required field is absent or null
    │   ├── TypeMismatch             type_mismatch         a field has another type than the schema names
    │   ├── NumberNotFinite          number_not_finite     NaN or infinity
    │   ├── NumberOutOfRange         number_out_of_range   a count, cost or duration is negative or too large to sum
    │   ├── TimestampInvalid         timestamp_invalid     neither ISO 8601 nor milliseconds since 1970
    │   ├── EventTimeInFuture        event_time_in_future  later than the record's Kafka timestamp plus the allowed skew
    │   ├── RecordOversized          record_oversized      larger than the limit on a record
    │   ├── NestingTooDeep           nesting_too_deep      JSON nested deeper than the limit
    │   ├── MaskingFailed            masking_failed        personal data could not be masked with certainty
    │   ├── ModelUnavailable         model_unavailable     a model that policy requires was away for longer than policy waits
    │   ├── IdConflict               id_conflict           the id was seen before with other content
    │   └── OutputOversized          output_oversized      an output record exceeds what its topic takes
    ├── RetryableError           the world is away for a while: pause, nothing is committed, try again
    └── FatalError               the run cannot keep its promises: stop
        └── SealBroken               a ciphertext does not open: it was changed, or another key made it

Each leaf of RecordError has a stable ``code``: it is the metric label, the symbol in ``dead_letter.avsc`` and a heading in
``docs/dead-letters.md``; a house test holds the four equal. Vectorised steps do not raise: they put rows with the class's ``code`` into
their rejects frame. A message says where, what was required, what came (a type or a size) and what to do; never a payload value.
"""

from __future__ import annotations

from typing import ClassVar


class HeadraceError(Exception):
    """Root of every error that headrace raises on purpose."""


class ConfigError(HeadraceError):
    """The configuration, policy or environment cannot be run: found before the first record is read.

    Args:
        problems: Every problem found, each a sentence with its place (path, line or option) and its fix.
    """

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class RecordError(HeadraceError):
    """One record cannot go on: it is dead-lettered by its coordinates and the run goes on."""

    code: ClassVar[str] = ""


class BytesInvalid(RecordError):
    """The value is not Avro of the schema its id names."""

    code = "bytes_invalid"


class JsonInvalid(RecordError):
    """The value is not one JSON object in UTF-8."""

    code = "json_invalid"


class SchemaUnknown(RecordError):
    """The schema id in the wire format is not in the registry."""

    code = "schema_unknown"


class FieldMissing(RecordError):
    """A required field is absent or null."""

    code = "field_missing"


class TypeMismatch(RecordError):
    """A field has another type than the schema names."""

    code = "type_mismatch"


class NumberNotFinite(RecordError):
    """A number is NaN or infinite."""

    code = "number_not_finite"


class NumberOutOfRange(RecordError):
    """A count, cost or duration is negative or too large to be summed in 64 bits."""

    code = "number_out_of_range"


class TimestampInvalid(RecordError):
    """The timestamp is neither ISO 8601 with a zone nor milliseconds since 1970."""

    code = "timestamp_invalid"


class EventTimeInFuture(RecordError):
    """The event time is later than the record's Kafka timestamp plus the allowed clock skew."""

    code = "event_time_in_future"


class RecordOversized(RecordError):
    """The value is larger than the limit on one record."""

    code = "record_oversized"


class NestingTooDeep(RecordError):
    """JSON in the record is nested deeper than the limit."""

    code = "nesting_too_deep"


class MaskingFailed(RecordError):
    """Personal data in the record could not be masked with certainty; the record is never passed on raw."""

    code = "masking_failed"


class ModelUnavailable(RecordError):
    """A model that the policy requires for the record was away for longer than the policy waits."""

    code = "model_unavailable"


class IdConflict(RecordError):
    """The same (agent_id, event_id) was seen before with other content."""

    code = "id_conflict"


class OutputOversized(RecordError):
    """An output record made from this input exceeds what its topic takes."""

    code = "output_oversized"


class RetryableError(HeadraceError):
    """Something outside is away for a while: pause, commit nothing, try again.

    Args:
        message: What is away, and what a person can check.
        retry_after_ms: How long to wait before the next try, in milliseconds; the raiser knows best.
    """

    def __init__(self, message: str, retry_after_ms: int) -> None:
        super().__init__(message)
        self.retry_after_ms = retry_after_ms


class FatalError(HeadraceError):
    """The run cannot keep its promises (fenced, lost lease, lost offsets, broken state): it stops at once."""


class SealBroken(FatalError):
    """A ciphertext does not open: it was changed, or another key made it. Nothing of what it holds is known."""


def record_error_codes() -> tuple[str, ...]:
    """Gives the code of every kind of dead letter, in the order of the tree."""
    return tuple(cls.code for cls in RecordError.__subclasses__())
