"""Whether a cheap stage in front of ``guard`` pays: rules, repeats, and a linear model distilled from the scores of ``guard``.

The linear model learns from windows of the training sources what the built ``guard`` says of them. A text that it scores below a cut is not sent to
the encoder and counts as harmless. Cuts are set on validation alone: where so many of the texts that ``guard`` flags there would be lost. Then, on
test sources: how many encoder calls that saves, and what it costs in recall at the committed threshold, source by source.

It is kept only if, at a cut set for one flagged validation text in a hundred, it saves a third of the calls for agents' own traffic, and no test
source loses more than two of the hundred attacks that ``guard`` finds. Wants what ``make models-report`` installs, and a built ``guard``.
``python -m benchmarks.first_stage``.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.end_to_end import strings
from benchmarks.linear_stage import Floats, LinearStage, distil
from benchmarks.result import ROOT, Row, Table, save
from governance.parse import default_policy
from models.spec import GUARD_LABELS
from models.train.attack_tests import attack_tests
from models.train.attacks.rows import examples, validation
from models.train.duplicates import without_near_duplicates
from models.train.environment import DATA, TEST, home
from models.train.metrics import auroc
from models.train.sources import LabelledText
from models.tuned import WEIGHTS, load_tuned
from operators.guardrails.rules import RawRules
from streams.fleet.corpora import corpus
from streams.model_bench import in_process
from tests.external.airline import RUNS, unpacked

GUARD: Final = ROOT / ".headrace" / "models" / "cpu" / "guard" / "1"
#: Shares of the flagged validation texts that a cut may lose.
LOST: Final = (0.0, 0.005, 0.01, 0.02, 0.05)
#: What the keeping is decided by.
DECIDING: Final = 0.01
_CHUNK: Final = 256
_LETTERS_MAX: Final = 4_000
_LEARNT_LETTERS_MAX: Final = 1_000

Score = Callable[[Sequence[str]], Mapping[str, NDArray[Any]]]


def log(line: str) -> None:
    """Tells a person how far it is."""
    print(line, file=sys.stderr, flush=True)


def injections(score: Score, texts: Sequence[str]) -> tuple[Floats, list[list[list[float]]]]:
    """Gives the injection score of each text, and its windows as ``guard`` tells them."""
    scores, windows = [], []
    for start in range(0, len(texts), _CHUNK):
        found = score(texts[start : start + _CHUNK])
        scores.append(found["SCORES"][:, 0].astype(np.float64))
        windows += [json.loads(one) for one in found["WINDOWS"].ravel()]
    return np.concatenate(scores), windows


def traffic() -> dict[str, list[str]]:
    """Gives distinct texts of agents' work: what ``guard`` would be asked for, repeats left out, and how many there were with them."""
    with tempfile.TemporaryDirectory() as folder:
        runs = json.loads(unpacked(RUNS, Path(folder)).read_text(encoding="utf-8"))
    said: dict[str, list[str]] = {"airline runs: what users say": [], "airline runs: tool results": []}
    for run in runs:
        for message in run["traj"]:
            place = {"user": "airline runs: what users say", "tool": "airline runs: tool results"}.get(message["role"])
            if place and isinstance(message.get("content"), str) and message["content"].strip():
                said[place].append(message["content"][:_LETTERS_MAX])
    fleet = [text for record in islice(corpus("fleet").records(), 4_000) for text in strings(json.loads(record.value)) if text.strip()]
    return {**said, "simulated fleet": fleet}


def cuts(flagged: Floats) -> dict[float, float]:
    """Gives, for each share of the flagged validation texts that may be lost, the logit below which a text is not sent."""
    ordered = np.sort(flagged)
    return {share: float(ordered[int(share * len(ordered))]) for share in LOST}


def stage_rows(stage: LinearStage, at: Mapping[float, float], tests: Sequence[LabelledText], scores: Floats, threshold: float) -> Iterator[Row]:
    """Gives a row for each test source and cut."""
    logits = np.array([stage(text.text) for text in tests])
    for source in [*sorted({text.source for text in tests}), "all attacks", "all harmless"]:
        is_attack = np.array([text.labels[0] == 1 for text in tests])
        mine = {"all attacks": is_attack, "all harmless": np.array([text.labels[0] == 0 for text in tests])}.get(
            source, np.array([text.source == source for text in tests])
        )
        kind = "attacks" if (mine & is_attack).any() else "harmless" if (mine & np.array([text.labels[0] == 0 for text in tests])).any() else ""
        if not kind:
            continue  # jailbreaks have a label of their own
        found = mine & (scores >= threshold)
        for share, cut in at.items():
            values = {
                "% of calls saved": [100 * float((logits[mine] < cut).mean())],
                "% flagged by guard alone": [100 * float(found.sum() / mine.sum())],
            }
            values["% flagged behind the stage"] = [100 * float((found & (logits >= cut)).sum() / mine.sum())]
            if found.any():
                values["% of the flagged lost"] = [100 * float((logits[found] < cut).mean())]
            yield Row({"texts": source, "kind": kind, "count": str(int(mine.sum())), "lost on validation, at most": f"{share:.1%}"}, values)


def traffic_rows(stage: LinearStage, at: Mapping[float, float], score: Score, threshold: float, texts_max: int) -> Iterator[Row]:
    """Gives a row for each kind of traffic and cut: repeats, calls saved of the rest, flagged texts lost."""
    for name, texts in traffic().items():
        distinct = list(dict.fromkeys(texts))
        repeated = 100 * (1 - len(distinct) / len(texts))
        taken = distinct[:: max(1, len(distinct) // texts_max)]
        log(f"{name}: {len(texts)} texts, {len(distinct)} distinct, {len(taken)} scored")
        scores, _ = injections(score, taken)
        logits = np.array([stage(text) for text in taken])
        flagged = scores >= threshold
        for share, cut in at.items():
            values = {"% repeats": [repeated], "% of the rest saved": [100 * float((logits < cut).mean())]}
            values["% flagged by guard alone"] = [100 * float(flagged.mean())]
            if flagged.any():
                values["% of the flagged lost"] = [100 * float((logits[flagged] < cut).mean())]
            yield Row({"texts": name, "kind": "traffic", "count": str(len(taken)), "lost on validation, at most": f"{share:.1%}"}, values)


def rule_rows(tests: Sequence[LabelledText], scores: Floats, threshold: float) -> Iterator[Row]:
    """Gives what the rules against injection find, alone and beside ``guard``."""
    rules = RawRules(default_policy())
    hits = np.array([any(one.startswith("injection.") for one in found) for found in rules([text.text for text in tests])])
    for source in sorted({text.source for text in tests}):
        mine = np.array([text.source == source for text in tests])
        values = {"% hit by rules": [100 * float(hits[mine].mean())], "% flagged by guard alone": [100 * float((scores[mine] >= threshold).mean())]}
        values["% by either"] = [100 * float((hits[mine] | (scores[mine] >= threshold)).mean())]
        yield Row({"texts": source, "kind": "rules", "count": str(int(mine.sum()))}, values)


def cpu_us(call: Callable[[str], object], texts: Sequence[str]) -> float:
    """Gives the CPU time of one call, in microseconds."""
    began = time.process_time()
    for text in texts:
        call(text)
    return 1e6 * (time.process_time() - began) / len(texts)


def main(arguments: Sequence[str] | None = None) -> None:
    """Distils, measures and writes the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=2_000, help="generated texts to learn from; packaged ones in proportion")
    parser.add_argument("--traffic", type=int, default=400, help="distinct texts of each kind of traffic that guard reads")
    parser.add_argument("--validation", type=int, default=2_000, help="validation texts at most")
    given = parser.parse_args(arguments)
    data, test = home(ROOT) / DATA, home(ROOT) / TEST
    sys.path.insert(1, str(data))
    score: Score = in_process(GUARD, "guard")
    threshold = load_tuned(WEIGHTS / "guard.safetensors", GUARD_LABELS).thresholds["injection"]
    tests = attack_tests(test)
    learnt = examples(data, given.texts, 7)
    learnt = without_near_duplicates(learnt, [text.text for text in learnt], [text.text for text in tests])
    log(f"scoring {len(learnt)} texts of the training sources")
    texts = [text.text[:_LEARNT_LETTERS_MAX] for text in learnt]
    _, windows_of = injections(score, texts)
    windows = [(text[int(start) : int(end)], value) for text, windows in zip(texts, windows_of, strict=True) for start, end, value, *_ in windows]
    began = time.process_time()
    stage = distil([text for text, _ in windows], np.array([value for _, value in windows]))
    log(f"distilled {len(windows)} windows in {time.process_time() - began:.0f} CPU-s")
    kept = validation(data, 1_500, 7)
    kept = kept[:: max(1, len(kept) // given.validation)]
    kept_scores, _ = injections(score, [text.text for text in kept])
    kept_logits = np.array([stage(text.text) for text in kept])
    is_flagged = kept_scores >= threshold
    at = cuts(kept_logits[is_flagged])
    agrees = auroc(kept_logits[is_flagged], kept_logits[~is_flagged])
    test_scores, _ = injections(score, [text.text for text in tests])
    rows = [*stage_rows(stage, at, tests, test_scores, threshold), *traffic_rows(stage, at, score, threshold, given.traffic)]
    sample = [text.text for text in tests][::4]
    cheap, dear = cpu_us(stage, sample), cpu_us(lambda text: score([text]), sample[::4])
    letters = sum(map(len, sample)) // len(sample)
    notes = (
        f"{len(windows):,} windows of the training sources, 2^17 weights. On validation its logit tells what guard flags from the rest with AUROC "
        f"{agrees:.3f}; cuts are from there, where guard flags {int(is_flagged.sum())} texts.",
        f"CPU time a text, mean of {len(sample)} test texts of {letters} letters: linear model {cheap:,.0f} us, guard {dear:,.0f} us.",
        f"Injection alone, at the committed threshold {threshold}.",
    )
    save(Table("first_stage", "A linear model in front of guard", rows, notes))
    save(Table("first_stage_rules", "Rules against injection beside guard", list(rule_rows(tests, test_scores, threshold))))


if __name__ == "__main__":
    main()
