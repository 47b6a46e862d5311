"""Runs in the environment of training: ``python -m models.train train guard`` and ``python -m models.train evaluate``.

``headrace models train`` and ``make models-report`` call this; it wants the packages of training in ``.headrace/train`` and puts nothing there.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Final

from models.train.attack_tests import attack_tests
from models.train.environment import DATA, TEST, home
from models.train.fit import Progress
from models.train.name_tests import name_tests
from models.train.recipes import GUARD, LABELS, TAGGER, Base, Budget, Guard, Tagger, train
from models.tuned import WEIGHTS, load_tuned, save_tuned

ROOT: Final = Path(__file__).parents[2]
#: The recorded airline runs, which tests have too.
RECORDED: Final = ROOT / "tests" / "external" / "tau_bench_airline"
RESULTS: Final = ROOT / "benchmarks" / "results" / "quality" / "models.json"
#: Where the tables of measures stand.
PAGE: Final = ROOT / "docs" / "models-training.md"
_TOLD_EVERY_STEPS: Final = 10


def main() -> None:
    """Reads the command line and runs what it asks for."""
    parser = argparse.ArgumentParser(prog="python -m models.train")
    commands = parser.add_subparsers(dest="command", required=True)
    fitting = commands.add_parser("train")
    fitting.add_argument("model", choices=(GUARD, TAGGER))
    fitting.add_argument("--minutes", type=float, default=60.0)
    fitting.add_argument("--seed", type=int, default=0)
    fitting.add_argument("--texts", type=int)
    fitting.add_argument("--output", type=Path)
    fitting.add_argument("--start", type=Path)
    measuring = commands.add_parser("evaluate")
    measuring.add_argument("--model", choices=(GUARD, TAGGER), action="append")
    measuring.add_argument("--weights", type=Path, default=WEIGHTS)
    measuring.add_argument("--output", type=Path, default=RESULTS)
    given = parser.parse_args()
    sys.path.insert(1, str(home(ROOT) / DATA))
    if given.command == "train":
        _train(
            given.model,
            Budget(given.texts, given.seed, given.minutes, load_tuned(given.start, LABELS[given.model]) if given.start else None),
            given.output or WEIGHTS / f"{given.model}.safetensors",
        )
    else:
        _evaluate(given.model or [GUARD, TAGGER], given.weights, given.output)


def _train(model: str, budget: Budget, output: Path) -> None:
    tests = home(ROOT) / TEST
    tested = (
        [text.text for text in attack_tests(tests)] if model == GUARD else [text.text for test in name_tests(tests, RECORDED) for text in test.texts]
    )
    checkpoint = home(ROOT) / "checkpoints" / f"{model}-{budget.seed}-{budget.texts or 'all'}.npz"
    trained = train(model, Base.installed(), home(ROOT) / DATA, tested, budget, checkpoint, _tell)
    save_tuned(trained, output)
    checkpoint.unlink(missing_ok=True)
    print(f"{output}: {output.stat().st_size / 1e3:.0f} kB, thresholds {dict(trained.thresholds)}", flush=True)


def _tell(progress: Progress) -> None:
    if progress.step % _TOLD_EVERY_STEPS == 0 or progress.step == progress.steps:
        left = progress.seconds / max(1, progress.step) * (progress.steps - progress.step)
        line = f"step {progress.step} of {progress.steps}, loss {progress.loss:.4f}, {progress.seconds / 60:.1f} min, about {left / 60:.0f} min left"
        print(line, file=sys.stderr, flush=True)


def _evaluate(models: list[str], weights: Path, output: Path) -> None:
    from models.train.evaluate import evaluate_guard, evaluate_tagger, merged_into
    from models.train.report import write_tables

    base, tests = Base.installed(), home(ROOT) / TEST
    for model in models:
        trained = load_tuned(weights / f"{model}.safetensors", LABELS[model])
        if model == GUARD:
            facts = evaluate_guard(Guard(base, trained.arrays, trained.scale), trained, tests)
        else:
            tagger = Tagger(base, trained.arrays, trained.scale)
            facts = evaluate_tagger(tagger, trained, tests, RECORDED, lambda line: print(line, file=sys.stderr, flush=True))
        merged_into(output, model, {"weights": dict(trained.notes), "thresholds": dict(trained.thresholds), **facts})
    write_tables(output, PAGE)
    print(output)


if __name__ == "__main__":
    main()
