"""What the build serves says what training's own float model says: FP32 the same, INT8 within a stated difference."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from models.build.repository import Order, build
from streams.model_bench import in_process

ROOT = Path(__file__).parents[3]
#: Prints the validation texts of guard, and what training's float model scores them.
_TRAINED = """
import json, sys
from pathlib import Path
from models.train.attacks import rows
from models.train.environment import DATA, home
from models.train.recipes import LABELS, Base, Guard
from models.tuned import load_tuned
packages = home(Path.cwd()) / DATA
sys.path.insert(1, str(packages))
texts = [text.text for text in rows.validation(packages, 60, 4)[:160]]
weights = load_tuned(Path("models/weights/guard.safetensors"), LABELS["guard"])
scores = Guard(Base.installed(), weights.arrays, weights.scale)(texts)
print(json.dumps([texts, scores.tolist()]))
"""
FP32_MOST = 1e-3
INT8_MEAN_MOST = 0.02
INT8_MOST = 0.15


@pytest.mark.slow
@pytest.mark.integration
def test_the_built_guard_scores_as_the_trained_one(training_python: Path, tmp_path: Path) -> None:
    told = subprocess.run([training_python, "-c", _TRAINED], cwd=ROOT, capture_output=True, check=True, timeout=600)
    texts, trained = json.loads(told.stdout)
    for precision, version in (("fp32", 1), ("int8", 2)):
        (built,) = build(Order("cpu", tmp_path, ("guard",), precision, version, evaluation_count=16))
        difference = np.abs(in_process(built.folder, "guard")(texts)["SCORES"] - np.array(trained))
        print(precision, "mean", difference.mean(axis=0).round(5), "largest", difference.max(axis=0).round(4))
        assert difference.max() < (FP32_MOST if precision == "fp32" else INT8_MOST)
        assert difference.mean() < INT8_MEAN_MOST
