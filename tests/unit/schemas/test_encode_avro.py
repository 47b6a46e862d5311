"""Output frames become Avro that another library reads back unchanged."""

from __future__ import annotations

import io
import json
from typing import Any

import fastavro
import polars as pl
import pytest

from schemas import avro
from schemas.codec.avro import encode_avro
from schemas.errors import FatalError
from schemas.frames import enum_symbols, frame_schema, output_schema, required_columns
from schemas.topics import OUTPUTS

TEXTS = ["", "a", "zwölf \U0001d11e \0 \u2028", "x" * 5_000]


def rows(schema: str) -> list[dict[str, Any]]:
    """Gives rows that use every column: full, with every null that is allowed, with odd text, with extreme numbers."""
    types, required = frame_schema(schema), required_columns(schema)
    made = []
    for index in range(8):
        row: dict[str, Any] = {}
        for place, (name, dtype) in enumerate(types.items()):
            symbols = enum_symbols(schema, name)
            if name not in required and index % 2:
                row[name] = None
            elif symbols:
                row[name] = symbols[index % len(symbols)]
            else:
                row[name] = value(dtype, index + place)
        made.append(row)
    return made


def value(dtype: Any, index: int) -> Any:
    if isinstance(dtype, pl.List):
        return [value(dtype.inner, index + more) for more in range(index % 3)]
    if isinstance(dtype, pl.Struct):
        return {field.name: value(field.dtype, index + place) for place, field in enumerate(dtype.fields)}
    choices: dict[type, list[Any]] = {
        pl.String: TEXTS,
        pl.Int32: [0, -1, 2**31 - 1],
        pl.Int64: [0, 1, 253_402_300_799_999],
        pl.Float64: [0.0, 0.1, 1e300],
        pl.Boolean: [True, False],
    }
    of_type = choices[type(dtype)]
    return of_type[index % len(of_type)]


@pytest.mark.parametrize("schema", [topic.schema for topic in OUTPUTS.values()])
def test_every_output_schema_comes_back_as_it_was(schema: str) -> None:
    made = rows(schema)
    encoded = encode_avro(pl.DataFrame(made, schema=frame_schema(schema)), schema, 258)
    # Times are read as numbers, as the frame holds them.
    parsed = fastavro.parse_schema(json.loads(avro.text(schema).replace(', "logicalType": "timestamp-millis"', "")))
    back = []
    for datum in encoded:
        assert datum[:5] == b"\x00\x00\x00\x01\x02"
        source = io.BytesIO(datum[5:])
        back.append(fastavro.schemaless_reader(source, parsed, None))
        assert source.read() == b""
    assert back == made


@pytest.mark.parametrize("topic", OUTPUTS)
def test_an_empty_frame_and_a_slice_of_a_larger_one_encode(topic: str) -> None:
    schema = OUTPUTS[topic].schema
    frame = pl.DataFrame(rows(schema), schema=output_schema(topic))
    assert encode_avro(frame.clear(), schema, 1) == []
    assert encode_avro(pl.concat([frame, frame], rechunk=False)[6:10], schema, 1) == [
        *encode_avro(frame[6:], schema, 1),
        *encode_avro(frame[:2], schema, 1),
    ]


def test_a_frame_that_does_not_fit_is_our_own_bug() -> None:
    frame = pl.DataFrame(rows("dead_letter"), schema=frame_schema("dead_letter"))
    bad = {
        "nulls in reason": frame.with_columns(reason=pl.lit(None, pl.String)),
        "in colour": frame.with_columns(colour=pl.lit(1)),
        "in offset": frame.with_columns(pl.col("offset").cast(pl.Float64)),
        "order of columns": frame.select(sorted(frame.columns)),
        "code holds": frame.with_columns(code=pl.lit("duplicate")),
    }
    for told, unfit in bad.items():
        with pytest.raises(FatalError, match=told):
            encode_avro(unfit, "dead_letter", 1)
