"""What only the files sink promises: its lines, its order, and that a failed run changes nothing."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from schemas.errors import ConfigError, FatalError
from schemas.frames import output_schema
from schemas.topics import OUTPUTS
from sinks.files import FilesSink
from tests.fixtures.outputs import records

EVENTS = "enriched_events"


def test_a_line_has_the_fields_in_schema_order_and_json_text_embedded_as_it_is(tmp_path: Path) -> None:
    sink = FilesSink(tmp_path)
    lane = sink.open_lane(0, 1, sink.begin())
    frame = records(EVENTS, 1).with_columns(
        input=pl.lit('{"price":1.10,"big":123456789012345678901234567890,"twice":1,"twice":2}'),
        output=pl.lit('[\n 1,\r\n"Zoë\\u0000"]'),
        attributes=pl.lit(None, dtype=pl.String),
        event_type=pl.lit('say "hi"\n'),
        hits=pl.lit(["a", "b"], dtype=pl.List(pl.String)),
    )
    lane.write({EVENTS: frame.select(sorted(frame.columns))}, 1.0)
    lane.close()
    sink.publish()
    (line,) = (tmp_path / f"{EVENTS}.jsonl").read_bytes().decode().split("\n")[:-1]
    assert list(json.loads(line)) == output_schema(EVENTS).names()
    assert '"input":{"price":1.10,"big":123456789012345678901234567890,"twice":1,"twice":2}' in line
    assert '"output":[  1,  "Zoë\\u0000"]' in line
    assert '"attributes":null' in line
    assert '"event_type":"say \\"hi\\"\\n"' in line
    assert '"hits":["a","b"]' in line


def test_an_id_that_the_lane_wrote_before_is_skipped(tmp_path: Path) -> None:
    sink = FilesSink(tmp_path)
    lane = sink.open_lane(0, 1, sink.begin())
    lane.write({EVENTS: records(EVENTS, 5)}, 1.0)
    overlapping = pl.concat([records(EVENTS, 8), records(EVENTS, 8)])
    receipt = lane.write({EVENTS: overlapping}, 1.0)
    lane.close()
    sink.publish()
    assert (receipt.written, receipt.skipped) == ({EVENTS: 3}, {EVENTS: 13})
    found = [json.loads(line)["event_uid"] for line in (tmp_path / f"{EVENTS}.jsonl").read_bytes().decode().split("\n")[:-1]]
    assert found == records(EVENTS, 8)["event_uid"].to_list()


def test_lanes_are_joined_in_their_order_however_their_writes_interleaved(tmp_path: Path) -> None:
    texts = []
    for turn in ((0, 1, 2, 0, 1, 2), (2, 2, 1, 0, 1, 0)):
        directory = tmp_path / str(len(texts))
        sink = FilesSink(directory)
        # Opened in the order of their first write.
        lanes = {number: sink.open_lane(number, 3, sink.begin()) for number in dict.fromkeys(turn)}
        done = [0, 0, 0]
        for number in turn:
            lanes[number].write({EVENTS: records(EVENTS, 4, first=100 * number + 4 * done[number])}, 1.0)
            done[number] += 1
        for lane in lanes.values():
            lane.close()
        sink.publish()
        texts.append((directory / f"{EVENTS}.jsonl").read_bytes())
    assert texts[0] == texts[1]
    assert texts[0].count(b"\n") == 24


def test_only_publishing_replaces_the_files_of_an_earlier_run(tmp_path: Path) -> None:
    earlier = tmp_path / f"{EVENTS}.jsonl"
    earlier.write_text("earlier\n")
    failed = FilesSink(tmp_path)
    lane = failed.open_lane(0, 1, failed.begin())
    lane.write({EVENTS: records(EVENTS, 5)}, 1.0)
    lane.close()
    assert earlier.read_text() == "earlier\n"
    sink = FilesSink(tmp_path)
    sink.open_lane(0, 1, sink.begin()).close()
    published = sink.publish()
    assert published == [tmp_path / f"{topic}.jsonl" for topic in sorted(OUTPUTS)]
    assert sorted(tmp_path.iterdir()) == published
    assert all(path.read_bytes() == b"" for path in published)


def test_publishing_with_an_open_lane_is_fatal(tmp_path: Path) -> None:
    sink = FilesSink(tmp_path)
    lane = sink.open_lane(0, 1, sink.begin())
    with pytest.raises(FatalError, match=r"lanes \[0\] are open"):
        sink.publish()
    lane.close()


def test_a_position_past_the_end_of_a_file_is_fatal(tmp_path: Path) -> None:
    sink = FilesSink(tmp_path)
    with pytest.raises(FatalError, match="has 0 bytes, the position says 10"):
        sink.open_lane(0, 1, json.dumps({EVENTS: 10}).encode())


def test_what_json_cannot_hold_is_fatal_and_named_by_column_and_size(tmp_path: Path) -> None:
    sink = FilesSink(tmp_path)
    lane = sink.open_lane(0, 1, sink.begin())
    with pytest.raises(FatalError, match="column input must hold JSON text; a value of 5 characters is not JSON") as refusal:
        lane.write({EVENTS: records(EVENTS, 1).with_columns(input=pl.lit("alice"))}, 1.0)
    assert "alice" not in str(refusal.value)
    assert refusal.value.__context__ is None
    with pytest.raises(FatalError, match="NaN or infinite"):
        lane.write({"agent_metrics": records("agent_metrics", 1).with_columns(latency_p95_us=pl.lit(float("nan")))}, 1.0)
    with pytest.raises(FatalError, match=r"missing: \['input'\]"):
        lane.write({EVENTS: records(EVENTS, 1).drop("input")}, 1.0)
    lane.close()


def test_a_path_that_is_no_directory_is_a_config_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="check the path"):
        FilesSink(tmp_path / "file" / "out")
