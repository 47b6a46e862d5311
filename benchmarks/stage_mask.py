"""Masking alone on one core: texts per CPU-second, beside plain Presidio on the same texts in the same run.

Corpora: mixed agent text (prose, user turns, thoughts, tool calls and results, log lines, code), leaves of JSON full of identifiers, and, when named,
the messages of recorded runs. Texts are distinct, so no memory helps; ``again`` shows what it gives when they repeat. Median of five, each run on
texts of its own. Run: ``python -m benchmarks.stage_mask [--recorded gpt-4o-airline.json]``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.result import Row, Table, save
from governance.parse import default_policy
from operators.pii.key_names import KEY_ENTITIES, KeyNames
from operators.pii.leaves import Document
from operators.pii.mask import MaskSpec, TextMasker
from operators.pii.recognise import Recogniser
from operators.pii.reference import reference
from operators.pii.replace import Actions
from operators.pii.spec import RecogniserSpec
from operators.pii.step import mask_spec
from tests.corpora.agent_text import AgentText

RUNS = 5
BATCH = 512
SLOW_SHARE = 10  # plain Presidio gets every tenth text


def main() -> None:
    """Measures, saves and prints."""
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--recorded", type=Path, help="runs recorded as lists of chat messages")
    options.add_argument("--texts", type=int, default=4_000, help="texts a run (default 4000)")
    chosen = options.parse_args()

    spec = RecogniserSpec()
    recogniser, slow = Recogniser(spec), reference(spec)
    by_policy = Recogniser(mask_spec(default_policy(), b"only for this benchmark").recogniser)
    rows = []
    for name, sets in corpora(chosen.texts, chosen.recorded):
        warm_up, *runs = sets
        recogniser.spans(warm_up)
        by_policy.spans(warm_up)
        masker = TextMasker(MaskSpec(Actions(key=b"only for this benchmark")))
        masker.mask_plain(warm_up)
        rates: dict[str, list[float]] = {"gate only": [], "patterns": [], "patterns of the policy, secrets included": [], "mask": [], "presidio": []}
        for texts in runs:
            rates["gate only"].append(rate(texts, recogniser.gated))
            rates["patterns"].append(rate(texts, recogniser.spans))
            rates["patterns of the policy, secrets included"].append(rate(texts, by_policy.spans))
            rates["mask"].append(rate(texts, masker.mask_plain))
            rates["presidio"].append(rate(texts[::SLOW_SHARE], lambda batch: [slow(text) for text in batch]))
        rates["mask, seen before"] = [rate(texts, masker.mask_plain) for texts in runs]
        everything = [text for texts in runs for text in texts]
        labels = {
            "corpus": name,
            "characters": f"{sum(map(len, everything)) / len(everything):.0f}",
            "gate opens": f"{sum(map(bool, recogniser.gated(everything))) / len(everything):.0%}",
        }
        ratios = [fast / plain for fast, plain in zip(rates["patterns"], rates["presidio"], strict=True)]
        rows.append(Row(labels, {**rates, "patterns / presidio": ratios}))
        print(name, {case: round(statistics.median(values)) for case, values in rows[-1].values.items()})
    notes = (
        "Texts per CPU-second of one process. No text comes twice, so no memory helps, but in the column that says so.",
        "Patterns are Presidio's English ones and three of our own, context words included; their spans equal Presidio's.",
        "Whole records of JSON have some 14 leaves each; the columns of patterns take them as plain text, mask takes them apart.",
    )
    print(save(Table("mask", "Masking alone", rows, notes)))


def corpora(count: int, recorded: Path | None) -> Iterator[tuple[str, list[list[str]]]]:
    """Gives each corpus as a warm-up set and the sets of the runs; no text is in two of them."""
    source = AgentText(20_240_515)
    yield "mixed", parted(distinct(source.mixed(count * (RUNS + 2))))
    yield "id leaves", parted(distinct(leaf for record in source.id_heavy(count * (RUNS + 2) // 14) for leaf in leaves(record)))
    yield "id-heavy JSON, whole", parted(distinct(source.id_heavy(count * (RUNS + 2) // 4)))
    if recorded is not None:
        yield "recorded", parted(distinct(leaf for text in messages(json.loads(recorded.read_text())) for leaf in leaves(json.dumps(text))))


def rate(texts: Sequence[str], work: Callable[[Sequence[str]], Any]) -> float:
    """Texts per CPU-second, in batches."""
    began = time.process_time()
    for start in range(0, len(texts), BATCH):
        work(texts[start : start + BATCH])
    return len(texts) / (time.process_time() - began)


def leaves(text: str) -> list[str]:
    """Strings in a JSON text, as masking sees them."""
    return Document(text, KeyNames(KEY_ENTITIES), 64).texts


def messages(value: Any) -> Iterator[str]:
    """Contents and arguments anywhere in recorded runs."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in ("content", "arguments") and isinstance(inner, str):
                yield inner
            else:
                yield from messages(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from messages(inner)


def distinct(texts: Iterator[str] | list[str]) -> list[str]:
    """Each text once, in order."""
    return list(dict.fromkeys(texts))


def parted(texts: list[str]) -> list[list[str]]:
    """One warm-up set and the runs' sets, all of one size."""
    size = len(texts) // (RUNS + 1)
    return [texts[start : start + size] for start in range(0, size * (RUNS + 1), size)]


if __name__ == "__main__":
    main()
