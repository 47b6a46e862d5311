"""The models as values: what each takes and gives over Triton. ``triton_repo/*/config.pbtxt`` is held equal to this by a test.

Clients send strings; tokenising, windows and padding happen beside the model. A text longer than a window is read in windows that overlap, never
cut off.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

#: Length of a sentence vector.
EMBEDDING_SIZE: Final = 384

#: What ``guard`` scores, in the order of its output.
GUARD_LABELS: Final = ("injection", "jailbreak", "toxicity")

#: What ``pii_tagger`` finds.
NAME_ENTITIES: Final = ("PERSON", "LOCATION", "ORGANIZATION")

#: Classes of a token for the tagger, in the order of its head.
TOKEN_CLASSES: Final = ("O", *(f"{part}-{entity}" for entity in NAME_ENTITIES for part in ("B", "I")))


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output of a model.

    Attributes:
        name: As requests name it.
        dtype: In Triton's words: BYTES, FP32, INT32.
        shape: Without the batch.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One model of the repository.

    Attributes:
        name: Folder in the repository, and label of its metrics.
        purpose: What it is for, in a line.
        outputs: What it gives, one row a text.
        window_tokens: Longest piece of a text that the encoder sees at once, special tokens included.
        overlap_tokens: What two windows of a text share (at most, where windows begin at sentences).
        batch_max: Texts of one execution at most.
        queue_delay_us: How long Triton waits for a batch to grow.
        reads_raw: Whether it is shown unmasked text: then no cache and no request log may keep it.
    """

    name: str
    purpose: str
    outputs: tuple[TensorSpec, ...]
    window_tokens: int = 128
    overlap_tokens: int = 32
    batch_max: int = 64
    queue_delay_us: int = 1_000
    reads_raw: bool = False

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What every model takes: one string a row, UTF-8."""
        return (TensorSpec("TEXT", "BYTES", (1,)),)


#: Which build of a version answered, the same in every row: equal builds give equal answers, a version number alone does not say so. May be empty.
BUILD: Final = TensorSpec("BUILD", "BYTES", (1,))

#: ``WINDOWS``: JSON text ``[[start, end, injection, jailbreak, toxicity], ...]`` with character offsets.
#: ``SPANS``: JSON text ``[[start, end, entity, score], ...]``, likewise.
MODELS: Final = (
    ModelSpec("embedder", "Sentence vectors, L2-normalised, for the vector store.", (TensorSpec("EMBEDDING", "FP32", (EMBEDDING_SIZE,)), BUILD)),
    ModelSpec(
        "guard",
        "Scores for prompt injection, jailbreak and toxicity, per sentence window and the maximum.",
        (TensorSpec("SCORES", "FP32", (len(GUARD_LABELS),)), TensorSpec("WINDOWS", "BYTES", (1,)), BUILD),
        window_tokens=64,
        overlap_tokens=16,
    ),
    ModelSpec("pii_tagger", "Names of people, places and organisations.", (TensorSpec("SPANS", "BYTES", (1,)), BUILD), reads_raw=True),
)


def model_spec(name: str) -> ModelSpec:
    """Gives a model by name; KeyError where there is none."""
    return {spec.name: spec for spec in MODELS}[name]
