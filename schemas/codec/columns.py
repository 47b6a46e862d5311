"""Typed columns of one input schema to rows of the event frame: the conversions and checks that JSON and Avro share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final

import polars as pl

from schemas.codec.rejects import REJECTS, ROW
from schemas.codec.shapes import LINKS, Field, Role, Shape
from schemas.errors import EventTimeInFuture, FieldMissing, NumberNotFinite, NumberOutOfRange, RecordError, RecordOversized, TimestampInvalid
from schemas.events import EVENT, IDENTIFIERS, NAMES
from schemas.limits import NUMBER_MAX, TIME_MS_MAX, Limits

TIME_TEXT: Final = "timestamp_text"
TIME_MS: Final = "timestamp_ms"
_TIME: Final = "event_time"
_NO_REJECTS: Final = REJECTS.to_frame()

_DTYPES: Final[dict[Role, pl.DataType]] = {
    Role.TEXT: pl.String(),
    Role.DURATION_MS: pl.Float64(),
    Role.USD: pl.Float64(),
    Role.RATIO: pl.Float64(),
    Role.COUNT: pl.Int64(),
    Role.NUMBERS: pl.List(pl.Int64()),
    Role.CONTENT: pl.String(),
}
#: What a float field is multiplied by before it is rounded (half to even) to an integer, and its largest value before that.
_SCALE: Final[dict[Role, tuple[float, float]]] = {
    Role.DURATION_MS: (1_000.0, NUMBER_MAX / 1_000),
    Role.USD: (1_000_000_000.0, NUMBER_MAX / 1_000_000_000),
    Role.RATIO: (1_000_000.0, 1.0),
}
#: Text that a producer chose and that databases must take: PostgreSQL cannot hold NUL in text, so it becomes the replacement character. In content
#: NUL stays what JSON writes it as, the escape \u0000.
_CLEANED: Final = (*IDENTIFIERS, *NAMES, "user_id")


def wide_schema(shape: Shape) -> pl.Schema:
    """Gives the schema of a wide frame: one column a field that fills a column, plus the link columns and ``attributes``."""
    columns: dict[str, pl.DataType] = {ROW: pl.UInt32(), TIME_TEXT: pl.String(), TIME_MS: pl.Float64()}
    columns.update({field.name: _DTYPES[field.role] for field in shape.fields if field.role in _DTYPES})
    columns.update({link: pl.String() for link in LINKS})
    columns["attributes"] = pl.String()
    return pl.Schema(columns)


def wide_frame(shape: Shape, rows: Sequence[int], columns: Mapping[str, Sequence[Any]]) -> pl.DataFrame:
    """Gives the wide frame of decoded records: fields under their own names, before any conversion.

    ``timestamp`` comes as two columns: ``timestamp_text`` where it was text, ``timestamp_ms`` where it was a number.
    """
    schema = wide_schema(shape)
    return pl.DataFrame([pl.Series(name, rows if name == ROW else columns[name], dtype=dtype) for name, dtype in schema.items()])


def to_events(parts: Mapping[Shape, Sequence[pl.DataFrame]], raw: pl.DataFrame, limits: Limits) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Gives the events (EVENT) and the rejects of wide frames, of all shapes at once: what a call costs does not grow with the number of topics.

    Args:
        parts: Frames of ``wide_schema(shape)``, by shape.
        raw: Rows of RAW in the order of ``row``, plus ``row``, ``content_digest`` and ``value_bytes``; all rows of the parts and maybe more.

    Rejected here: ``field_missing``, ``timestamp_invalid``, ``number_not_finite``, ``number_out_of_range``, ``record_oversized`` (an id beyond
    its limit), ``event_time_in_future``. Both results keep the order of ``raw``.
    """
    shapes = tuple(shape for shape, frames in parts.items() if any(frame.height for frame in frames))
    if not shapes:
        return EVENT.to_frame(), _NO_REJECTS
    plan = _plan(shapes, limits)
    kinded = [frame.with_columns(plan.kinds[shape]) for shape in shapes for frame in parts[shape] if frame.height]
    wide = kinded[0] if len(kinded) == 1 else pl.concat(kinded, how="diagonal").sort(ROW)
    # Mostly every record of the batch was read, and then the rows stand side by side.
    placed = wide.hstack(raw.drop(ROW)) if wide.height == raw.height else wide.join(raw, on=ROW, how="left", maintain_order="left")
    timed = placed.with_columns(plan.event_time)
    if timed[_TIME].null_count():
        timed = _parse_leftover_times(timed)
    failing = timed.select(plan.fails).to_series()
    if not failing.any():
        return timed.select(plan.columns), _NO_REJECTS
    judged = [_judged(timed.filter(failing & (timed["kind"] == shape.kind)), shape, limits) for shape in shapes]
    return timed.filter(~failing).select(plan.columns), pl.concat(judged).sort(ROW)


def _judged(failed: pl.DataFrame, shape: Shape, limits: Limits) -> pl.DataFrame:
    """Gives the rejects of rows of one shape that are known to fail."""
    failures = _plan((shape,), limits).failures
    return failed.select(
        ROW,
        code=pl.coalesce(pl.when(bad).then(pl.lit(error.code)) for bad, error in failures),
        reason=pl.coalesce(pl.when(bad).then(pl.lit(str(error))) for bad, error in failures),
    ).cast(REJECTS)


@dataclass(frozen=True, slots=True)
class _Plan:
    """The expressions of some shapes, built once: building them costs more than running them on a small batch."""

    kinds: Mapping[Shape, pl.Expr]
    event_time: pl.Expr
    failures: Sequence[tuple[pl.Expr, RecordError]]
    fails: pl.Expr
    columns: Sequence[pl.Expr]


@cache
def _plan(shapes: tuple[Shape, ...], limits: Limits) -> _Plan:
    failures = _failures(shapes, limits)
    return _Plan(
        kinds={shape: pl.lit(shape.kind, dtype=pl.String()).alias("kind") for shape in shapes},
        event_time=_event_time(),
        failures=failures,
        fails=pl.any_horizontal(bad for bad, _ in failures).fill_null(False).alias("fails"),
        columns=_event_columns(shapes),
    )


def _of_kinds(shapes: Sequence[Shape], some: Sequence[Shape], condition: pl.Expr) -> pl.Expr:
    """Gives a condition that holds for rows of some of the shapes only."""
    return condition if len(some) == len(shapes) else pl.col("kind").is_in([shape.kind for shape in some]) & condition


def _event_time() -> pl.Expr:
    """Gives the event time in ms, null where there is none that the fast parsers know; text without a zone is taken as UTC."""
    text = pl.col(TIME_TEXT)
    zoned = text.str.to_datetime("%+", time_unit="ms", strict=False).dt.epoch("ms")
    naive = text.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit="ms", strict=False).dt.epoch("ms")
    number = pl.when(pl.col(TIME_MS).is_between(-1.0, float(TIME_MS_MAX) + 1.0)).then(
        pl.col(TIME_MS).round(0, mode="half_to_even").cast(pl.Int64, strict=False)
    )
    return pl.coalesce(number, zoned, naive).alias(_TIME)


def _parse_leftover_times(wide: pl.DataFrame) -> pl.DataFrame:
    """Fills event times from the rarer forms of ISO 8601 (a space for the T, a date alone, hours without minutes in the zone)."""
    leftover = wide.filter(pl.col(_TIME).is_null() & pl.col(TIME_TEXT).is_not_null()).select(ROW, TIME_TEXT)
    if leftover.is_empty():
        return wide
    parsed = pl.Series("parsed", [_iso_ms(text) for text in leftover[TIME_TEXT]], dtype=pl.Int64)
    found = leftover.select(ROW).with_columns(parsed)
    joined = wide.join(found, on=ROW, how="left", maintain_order="left")
    return joined.with_columns(pl.coalesce(_TIME, "parsed").alias(_TIME)).drop("parsed")


def _iso_ms(text: str) -> int | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000 + since.microseconds // 1_000


def _failures(shapes: Sequence[Shape], limits: Limits) -> list[tuple[pl.Expr, RecordError]]:
    """Gives what makes a row fail, the first match deciding."""
    failures: list[tuple[pl.Expr, RecordError]] = []
    for name in dict.fromkeys(field.name for shape in shapes for field in shape.of_role(Role.TEXT) if field.required):
        requiring = [shape for shape in shapes if any(field.name == name and field.required for field in shape.fields)]
        empty = _of_kinds(shapes, requiring, pl.col(name).is_null() | (pl.col(name) == ""))
        failures.append((empty, FieldMissing(f"{name}: required, got nothing or an empty string; send it")))
    failures += _time_failures()
    for field in {field.name: field for shape in shapes for field in shape.fields}.values():
        failures += _number_failures(field)
    size_max = limits.identifier_bytes_max
    for name in dict.fromkeys([*(field.name for shape in shapes for field in shape.of_role(Role.TEXT)), *LINKS]):
        too_long = pl.col(name).str.len_bytes() > size_max
        failures.append((too_long, RecordOversized(f"{name}: want at most {size_max} bytes, got more; send a shorter one")))
    skew = limits.future_skew_ms_max
    ahead = pl.col(_TIME) > pl.col("kafka_time") + skew
    failures.append(
        (ahead, EventTimeInFuture(f"timestamp: want at most {skew} ms after the record's Kafka timestamp, got later; set the producer's clock"))
    )
    return failures


def _time_failures() -> list[tuple[pl.Expr, RecordError]]:
    absent = pl.col(TIME_TEXT).is_null() & pl.col(TIME_MS).is_null()
    unreadable = pl.col(_TIME).is_null() | ~pl.col(_TIME).is_between(0, TIME_MS_MAX)
    return [
        (absent, FieldMissing("timestamp: required, got nothing; send it")),
        (~pl.col(TIME_MS).is_finite(), NumberNotFinite("timestamp: want a finite number, got NaN or infinity; send milliseconds since 1970")),
        (
            unreadable,
            TimestampInvalid("timestamp: want ISO 8601 or milliseconds since 1970, in the years 1970 to 9999, got neither; send one of them"),
        ),
    ]


def _number_failures(field: Field) -> list[tuple[pl.Expr, RecordError]]:
    value = pl.col(field.name)
    integer_range = NumberOutOfRange(
        f"{field.name}: want 0 or more and less than {NUMBER_MAX}, got a number outside; send one inside or leave it out"
    )
    if field.role in _SCALE:
        scale, value_max = _SCALE[field.role]
        scaled_max = NUMBER_MAX - 1 if field.role is not Role.RATIO else scale
        scaled = (value * scale).round(0, mode="half_to_even")
        want = f"want 0 to {value_max:g}"
        return [
            (~value.is_finite(), NumberNotFinite(f"{field.name}: want a finite number, got NaN or infinity; leave the field out")),
            (
                (value < 0) | (value > value_max) | (scaled > scaled_max),
                NumberOutOfRange(f"{field.name}: {want}, got a number outside; send one inside or leave it out"),
            ),
        ]
    if field.role is Role.COUNT:
        return [(~value.is_between(0, NUMBER_MAX - 1), integer_range)]
    if field.role is Role.NUMBERS:
        return [((value.list.min() < 0) | (value.list.max() >= NUMBER_MAX), integer_range)]
    return []


def _event_columns(shapes: Sequence[Shape]) -> list[pl.Expr]:
    """Gives the columns of EVENT, in its order, from judged wide frames: a row has values only in the fields of its own shape."""
    sources: dict[str, dict[str, pl.Expr]] = {link: {link: pl.col(link)} for link in LINKS}
    for field in dict.fromkeys(field for shape in shapes for field in shape.fields):
        if field.column is None or field.role is Role.TIME:
            continue
        filling = [shape for shape in shapes if field in shape.fields]
        value = _converted(field)
        if field.name in LINKS and field.column != field.name and len(filling) < len(shapes):
            # What fills another column in one shape (a workflow's id is its agent_id) is only a link in the others.
            value = pl.when(pl.col("kind").is_in([shape.kind for shape in filling])).then(value)
        sources.setdefault(field.column, {})[field.name] = value
    given = (
        "topic",
        "partition",
        "offset",
        "kafka_time",
        "traceparent",
        "content_digest",
        "value_bytes",
        _TIME,
        "attributes",
        "kind",
        "redriven_from",
    )
    sources.update({name: {name: pl.col(name)} for name in given})
    columns = []
    for name, dtype in EVENT.items():
        values = list(sources.get(name, {}).values()) or [pl.lit(None, dtype=dtype)]
        column = values[0] if len(values) == 1 else pl.coalesce(values)
        if name in _CLEANED and name in sources:
            column = column.str.replace_all("\0", "\ufffd", literal=True)
        columns.append(column.cast(dtype).alias(name))
    return columns


def _converted(field: Field) -> pl.Expr:
    if field.role in _SCALE:
        scale, _ = _SCALE[field.role]
        return (pl.col(field.name) * scale).round(0, mode="half_to_even").cast(pl.Int64)
    return pl.col(field.name)
