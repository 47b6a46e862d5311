"""Rows for the tagger: texts of all shapes in a stated mix, cut into the windows that serving uses."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Final

import numpy as np

from models.front.tokens import TextTokenizer
from models.front.windows import room, strides
from models.spec import model_spec
from models.train.names.marked import LEFT_OUT, NamedText, token_classes
from models.train.names.nameless import nameless
from models.train.names.pools import Names, pools
from models.train.names.prose import Prose, presidio_templates
from models.train.names.records import Records
from models.train.row import Row

#: Where presidio-evaluator keeps its lists, below the packages of training.
PRESIDIO_DATA: Final = "presidio_evaluator/data_generator/raw_data"


def examples(packages: Path, count: int, seed: int) -> list[NamedText]:
    """Gives texts to train on: records, prose, and texts without a name."""
    random = Random(f"names {seed}")
    presidio_data = packages / PRESIDIO_DATA
    source = pools(presidio_data, "train")
    names, without = Names(source, random), nameless(packages, source)
    records, prose = Records(names, random), Prose(names, random, presidio_templates(presidio_data, "train"), own=True)
    return [_drawn(random, records, prose, without) for _ in range(count)]


def _drawn(random: Random, records: Records, prose: Prose, without: Sequence[str]) -> NamedText:
    chance = random.random()
    return records.text() if chance < 0.40 else prose.text() if chance < 0.86 else NamedText(random.choice(without), ())


def validation(packages: Path, count: int, seed: int) -> dict[str, list[NamedText]]:
    """Gives texts to set thresholds on, by kind: other people and companies; for prose other templates too."""
    random = Random(f"names, validation {seed}")
    presidio_data = packages / PRESIDIO_DATA
    names = Names(pools(presidio_data, "validation"), random)
    records, prose = Records(names, random), Prose(names, random, presidio_templates(presidio_data, "validation"), own=False)
    return {"records": [records.text() for _ in range(count)], "prose": [prose.text() for _ in range(count)]}


def rows_of(texts: Sequence[NamedText], tokenizer: TextTokenizer) -> list[Row]:
    """Cuts each text into windows and gives each token its class; special tokens are left out of the loss."""
    spec = model_spec("pii_tagger")
    rows = []
    for text, tokens in zip(texts, tokenizer([text.text for text in texts]), strict=True):
        classes = token_classes(text, tokens)
        for first, stop in strides(tokens.count, room(spec.window_tokens), spec.overlap_tokens):
            edge = np.array([LEFT_OUT], np.int64)
            rows.append(Row(tokenizer.row(tokens, first, stop), np.concatenate([edge, classes[first:stop], edge])))
    return rows
