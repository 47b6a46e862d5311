"""How far a variant of a model is from FP32 on the evaluation texts, and from itself when a text stands in a batch."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from models.build.texts import EVALUATION_SEED, NamedText, sample
from models.front.fronts import Front, Tensors
from models.spec import GUARD_LABELS, NAME_ENTITIES

#: Texts that are also run alone.
ALONE_COUNT: Final = 48
#: Key of the largest difference that a batch makes.
ALONE: Final = "alone_or_in_a_batch"
_DIGITS: Final = 6
_BATCH: Final = 64

Accuracy = dict[str, Any]
Name = tuple[int, int, str]


def compare(model: str, reference: Front, variant: Front, count: int) -> Accuracy:
    """Gives what differs over so many texts, as the model speaks: cosines, differences a label, or F1 an entity; and what a batch changes."""
    texts = sample(EVALUATION_SEED, count)
    whole = [one.text for one in texts]
    expected, found = _run(reference, whole), _run(variant, whole)
    alone = [_run(variant, [text]) for text in whole[:ALONE_COUNT]]
    return {**_COMPARE[model](expected, found, texts), ALONE: _alone_difference(model, found, alone)}


def _run(front: Front, texts: Sequence[str]) -> Tensors:
    parts = [front(texts[start : start + _BATCH]) for start in range(0, len(texts), _BATCH)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _alone_difference(model: str, together: Tensors, alone: Sequence[Tensors]) -> float:
    """Gives the largest difference of a number that a batch makes; infinite where other names are found."""
    if model == "pii_tagger":
        pairs = [(json.loads(row[0]), json.loads(one["SPANS"][0, 0])) for row, one in zip(together["SPANS"], alone, strict=False)]
        if any([span[:3] for span in one] != [span[:3] for span in two] for one, two in pairs):
            return float("inf")
        return max((abs(one[3] - two[3]) for left, right in pairs for one, two in zip(left, right, strict=True)), default=0.0)
    name = "EMBEDDING" if model == "embedder" else "SCORES"
    return _short(max(float(np.abs(row - one[name][0]).max()) for row, one in zip(together[name], alone, strict=False)))


def _vectors(expected: Tensors, found: Tensors, _texts: Sequence[NamedText]) -> Accuracy:
    cosines = (expected["EMBEDDING"] * found["EMBEDDING"]).sum(axis=1)
    return {"cosine_mean": _short(cosines.mean()), "cosine_least": _short(cosines.min())}


def _scores(expected: Tensors, found: Tensors, _texts: Sequence[NamedText]) -> Accuracy:
    difference = np.abs(expected["SCORES"] - found["SCORES"])
    return {
        label: {"difference_mean": _short(difference[:, column].mean()), "difference_most": _short(difference[:, column].max())}
        for column, label in enumerate(GUARD_LABELS)
    }


def _names(expected: Tensors, found: Tensors, texts: Sequence[NamedText]) -> Accuracy:
    """Gives for each entity F1 against the names that were put in, in FP32 and in the variant, and how far both agree."""
    truth = [set(one.names) for one in texts]
    fp32, variant = _spans(expected), _spans(found)
    told = {}
    for entity in NAME_ENTITIES:
        before, after = _f1(truth, fp32, entity), _f1(truth, variant, entity)
        told[entity] = {"f1_fp32": before, "f1": after, "f1_delta": _short(after - before), "agreement_f1": _f1(fp32, variant, entity)}
    return told


def _spans(tensors: Tensors) -> list[set[Name]]:
    return [{(start, end, entity) for start, end, entity, _ in json.loads(row[0])} for row in tensors["SPANS"]]


def _f1(truth: Sequence[set[Name]], found: Sequence[set[Name]], entity: str) -> float:
    """Gives F1 of exact spans; 1 where there is nothing to find and nothing was found."""
    kept = [({span for span in one if span[2] == entity}, {span for span in two if span[2] == entity}) for one, two in zip(truth, found, strict=True)]
    right, wrong = sum(len(one & two) for one, two in kept), sum(len(one ^ two) for one, two in kept)
    return _short(2 * right / (2 * right + wrong)) if right + wrong else 1.0


def _short(value: float) -> float:
    return round(float(value), _DIGITS)


_COMPARE: Final[Mapping[str, Callable[[Tensors, Tensors, Sequence[NamedText]], Accuracy]]] = {
    "embedder": _vectors,
    "guard": _scores,
    "pii_tagger": _names,
}
