"""A case as a value: what comes in, what models are to say, what must come out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

#: One name of the file's text is found wherever it stands: text -> entity.
Names = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Scored:
    """What the model ``guard`` is to say of a text that holds ``text``: scores from 0 to 1."""

    text: str
    injection: float = 0.0
    jailbreak: float = 0.0
    toxicity: float = 0.0


@dataclass(frozen=True, slots=True)
class ModelSays:
    """What models are to say in one case.

    Attributes:
        names: What ``pii_tagger`` finds.
        scores: What ``guard`` says; of any other text it says zero.
        away: Models that do not answer.
    """

    names: Names = field(default_factory=dict)
    scores: Sequence[Scored] = ()
    away: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class InputEvent:
    """One record that comes in.

    Attributes:
        topic: Its input topic.
        value: Its bytes.
    """

    topic: str
    value: bytes


@dataclass(frozen=True, slots=True)
class Case:
    """One case.

    Attributes:
        name: Says what must hold.
        line: Where it stands in its file, from 1.
        events: Records that come in, in order.
        models: What models say; None runs without a model server.
        expected: What must become of each event, in order; only what is named is compared.
        outputs: By output topic, records of which each must be among those that come out; an empty list wants none at all.
    """

    name: str
    line: int
    events: Sequence[InputEvent]
    models: ModelSays | None
    expected: Sequence[Mapping[str, Any]]
    outputs: Mapping[str, Sequence[Any]]


@dataclass(frozen=True, slots=True)
class CaseFile:
    """The cases of one policy.

    Attributes:
        path: The file.
        policy: The policy's file.
        cases: In the order of the file.
    """

    path: Path
    policy: Path
    cases: Sequence[Case]
