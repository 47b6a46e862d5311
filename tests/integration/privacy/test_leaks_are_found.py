"""The search for canaries finds a planted leak: the file engine lets nothing out that it masks, and each mutant of it does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from prometheus_client import generate_latest

import operators.pii.step
from governance.data_classes import Handling
from governance.parse import default_policy
from governance.pii import ExtraRecogniser
from operators.contract import Outcome
from operators.pii.mask import TextMasker
from operators.pii.spec import RecogniserSpec
from operators.pii.step import Mask
from schemas.events import RAW
from sinks.files import FilesSink
from streams.config import Config
from streams.engines.files import run_frames
from streams.log import configure_logging, log
from streams.pipeline import build_topology
from streams.registry import open_registry
from streams.telemetry import Telemetry
from tests.corpora.canary_leaves import TIME_MS, Canary, corpus
from tests.corpora.canary_recall import missed, raw
from tests.corpora.canary_values import ENTITIES
from tests.corpora.canary_writings import Search

KEY = b"a key for tests, thirty-two bytes long"
#: An expression that does not finish on the text.
ENDLESS = r"(?:(\w)|(\w\w))+\1\2!\d"
UNFINISHED = "abcdefgh" * 12 + " abcd!7 "
#: Stands in the records that cannot be masked in time; the sinks' own second look does not know it.
LATE = [ENTITIES["IBAN_CODE"][0](900_000 + number) for number in range(3)]


@cache
def canaries() -> list[Canary]:
    return list(corpus(("agent_events",)))


@cache
def kept_in() -> frozenset[str]:
    """The canaries that a run without faults masks."""
    return frozenset({one.value for one in canaries()} - missed(canaries()))


@dataclass
class Run:
    """What a run wrote, by place, and the records that it rejected."""

    places: dict[str, bytes]
    dead: dict[str, int]

    def leaks(self) -> dict[str, set[str]]:
        search = Search([*kept_in(), *LATE])
        return {place: found for place, data in self.places.items() if (found := search.found_in(data))}


@pytest.fixture
def run(tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[[], Run]:
    """Runs the corpus, and records that take too long, through the file engine."""
    kept_in()  # before anything is changed
    monkeypatch.setattr(operators.pii.step, "RecogniserSpec", partial(RecogniserSpec, regex_timeout_s=0.05))
    late = [
        Canary(value, "IBAN_CODE", "late", "agent_events", msgspec.json.encode(_event(number, f"{UNFINISHED} the IBAN is {value}")))
        for number, value in enumerate(LATE)
    ]

    def through() -> Run:
        default = default_policy()
        endless = ExtraRecogniser(entity="ENDLESS", name="Endless", patterns=(_endless(),))
        entities = (*default.pii.entities, ("ENDLESS", Handling.MASK))
        policy = replace(default, pii=replace(default.pii, entities=entities, recognisers=(*default.pii.recognisers, endless)))
        configure_logging()
        telemetry, config = Telemetry(), Config()
        topology = build_topology(config, policy, KEY, open_registry(config))
        sink = FilesSink(tmp_path / "out")
        frame = pl.concat([raw(canaries()), raw(late).with_columns(offset=pl.col("offset") + 100_000)])
        summary = run_frames(topology, [(topic, 0) for topic in topology.inputs], [frame.cast(dict(RAW))], sink, telemetry)
        sink.publish()
        told = capfd.readouterr()
        files = {str(path.relative_to(tmp_path)): path.read_bytes() for path in sorted(tmp_path.rglob("*")) if path.is_file()}
        return Run(
            {**files, "stdout": told.out.encode(), "stderr": told.err.encode(), "metrics": generate_latest(telemetry.registry)}, dict(summary.dead)
        )

    return through


def _endless() -> Any:
    """The endless expression, as a policy holds it."""
    pattern = default_policy().pii.recognisers[0].patterns[0]
    return replace(pattern, name="endless", regex=ENDLESS, score=0.9)


def _event(number: int, text: str) -> dict[str, Any]:
    return {"event_id": f"late-{number}", "event_type": "agent.executed", "timestamp": TIME_MS, "agent_id": "a-late", "input_data": text}


def test_nothing_that_is_masked_gets_out_when_masks_do_not_finish(run: Callable[[], Run]) -> None:
    done = run()
    assert done.leaks() == {}
    assert done.dead == {"masking_failed": len(LATE)}
    assert b'code="masking_failed"' in done.places["metrics"]
    assert len(kept_in()) > 450


def _after(change: Callable[[pl.DataFrame, Outcome], Outcome], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Mask.__call__
    monkeypatch.setattr(Mask, "__call__", lambda self, batch: change(batch, whole(self, batch)))


def logs_a_value(monkeypatch: pytest.MonkeyPatch) -> None:
    def change(batch: pl.DataFrame, outcome: Outcome) -> Outcome:
        for text in batch["input"].drop_nulls().head(20):
            log().warning("mask.looked", problem=text)
        return outcome

    _after(change, monkeypatch)


def passes_raw_on_a_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = TextMasker.mask_json

    def mask_json(self: TextMasker, texts: Any, *others: Any) -> Any:
        masked = whole(self, texts, *others)
        return replace(masked, failures={}, values=[text if value is None else value for text, value in zip(texts, masked.values, strict=True)])

    monkeypatch.setattr(TextMasker, "mask_json", mask_json)


def quotes_a_value_in_a_dead_letter(monkeypatch: pytest.MonkeyPatch) -> None:
    place = ["topic", "partition", "offset"]

    def change(batch: pl.DataFrame, outcome: Outcome) -> Outcome:
        said = outcome.dead.drop("reason").join(batch.select(*place, pl.col("input").alias("reason")), on=place, how="left")
        return replace(outcome, dead=said.select(outcome.dead.columns))

    _after(change, monkeypatch)


def labels_a_metric_with_a_value(monkeypatch: pytest.MonkeyPatch) -> None:
    def change(batch: pl.DataFrame, outcome: Outcome) -> Outcome:
        labels = {("masked_entities", text): 1 for text in batch["input"].drop_nulls().head(20)}
        return replace(outcome, facts={**outcome.facts, **labels})

    _after(change, monkeypatch)
    monkeypatch.setattr(Telemetry, "_bounded", lambda _self, _label, value: value)


@pytest.mark.parametrize(
    ("mutate", "place"),
    [
        (logs_a_value, "stderr"),
        (passes_raw_on_a_timeout, "out/enriched_events.jsonl"),
        (quotes_a_value_in_a_dead_letter, "out/dead_letters.jsonl"),
        (labels_a_metric_with_a_value, "metrics"),
    ],
)
def test_a_planted_leak_is_found(
    mutate: Callable[[pytest.MonkeyPatch], None], place: str, run: Callable[[], Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    mutate(monkeypatch)
    assert set(run().leaks()) == {place}
