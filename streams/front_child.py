"""The child's side of ``streams.front``: builds the front steps from a recipe, then answers one batch after the other until the pipe ends.

Run as ``python -m streams.front_child``. Messages are a length of eight bytes and a pickle; frames in them are Arrow, which costs a tenth of pickling
them. Both ends are our own code, and nobody else holds the pipe.
"""

from __future__ import annotations

import os
import pickle
import struct
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import IO, Any, Final

import polars as pl

from governance.policy import Policy
from operators.contract import NO_DEAD, BatchStep
from schemas.errors import ConfigError, FatalError, RetryableError
from streams.collector import rest_the_collector
from streams.config import Config

_LENGTH: Final = struct.Struct("<Q")


@dataclass(frozen=True, slots=True)
class FrontRecipe:
    """What a child builds the front steps from. Holds secrets: it travels through a pipe, never on a command line."""

    config: Config
    policy: Policy
    hash_key: bytes = field(repr=False)
    erased: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Ready:
    """The steps are built."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing of the batch went on.

    Attributes:
        problems: What is wrong, without any value.
        retry_after_ms: When to send the batch again; None where that does not help.
        at_start: Whether the steps could not be built.
    """

    problems: tuple[str, ...]
    retry_after_ms: int | None = None
    at_start: bool = False

    def error(self) -> ConfigError | RetryableError | FatalError:
        """Gives the error that stood here in the child."""
        if self.at_start:
            return ConfigError(*self.problems)
        if self.retry_after_ms is not None:
            return RetryableError(self.problems[0], self.retry_after_ms)
        return FatalError(self.problems[0])


@dataclass(frozen=True, slots=True)
class Passed:
    """What the steps together made of a batch.

    Attributes:
        rows: Arrow stream of the last step's rows.
        dead: Arrow stream of what ended on the way (``schemas.events.DEAD``).
        facts: Counts of all steps.
        stages: Name, seconds and rows of each step.
    """

    rows: bytes = field(repr=False)
    dead: bytes = field(repr=False)
    facts: dict[tuple[str, str], int]
    stages: tuple[tuple[str, float, int], ...]


Answer = Ready | Refused | Passed


def packed(frame: pl.DataFrame) -> bytes:
    """Gives a frame as an Arrow stream."""
    buffer = BytesIO()
    frame.write_ipc_stream(buffer)
    return buffer.getvalue()


def unpacked(data: bytes) -> pl.DataFrame:
    """Gives the frame of an Arrow stream."""
    return pl.read_ipc_stream(BytesIO(data))


def write_message(pipe: IO[bytes], message: object) -> None:
    """Writes one message."""
    data = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    pipe.write(_LENGTH.pack(len(data)))
    pipe.write(data)
    pipe.flush()


def read_message(pipe: IO[bytes]) -> Any:
    """Gives the next message; EOFError where the other side is gone."""
    (length,) = _LENGTH.unpack(_exactly(pipe, _LENGTH.size))
    return pickle.loads(_exactly(pipe, length))


def _exactly(pipe: IO[bytes], length: int) -> bytes:
    data = pipe.read(length)
    if len(data) < length:
        raise EOFError
    return data


def answer(steps: Sequence[BatchStep], raw: pl.DataFrame) -> Answer:
    """Gives what becomes of a batch. No error leaves it: a foreign one's text may quote a raw value, so only its class is told."""
    try:
        return _through(steps, raw)
    except RetryableError as error:
        return Refused((str(error),), error.retry_after_ms)
    except FatalError as error:
        return Refused((str(error),))
    except Exception as error:  # noqa: BLE001 - told to the parent, which stops the run
        return Refused((f"front: {type(error).__name__} in headrace itself; nothing of the batch went on. Please report it",))


def _through(steps: Sequence[BatchStep], raw: pl.DataFrame) -> Passed:
    rows, dead, stages, facts = raw, [NO_DEAD], list[tuple[str, float, int]](), Counter[tuple[str, str]]()
    for step in steps:
        height, begin = rows.height, time.perf_counter()
        outcome = step(rows)
        stages.append((step.name, time.perf_counter() - begin, height))
        assert height == outcome.batch.height + outcome.dead.height, f"step {step.name} lost or made rows"
        rows = outcome.batch
        dead.append(outcome.dead)
        facts.update(outcome.facts)
    return Passed(packed(rows), packed(pl.concat(dead)), dict(facts), tuple(stages))


def _build(recipe: FrontRecipe) -> tuple[BatchStep, ...]:
    from streams.front_steps import front_steps
    from streams.registry import open_registry

    return front_steps(recipe.config, recipe.policy, recipe.hash_key, open_registry(recipe.config), erased=recipe.erased)


def main() -> None:
    """Serves the parent on standard input and output; whatever else is printed goes to standard error."""
    source, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    sys.excepthook = lambda kind, _error, _trace: print(f"front process: {kind.__name__} in headrace itself; please report it", file=sys.stderr)
    try:
        steps = _build(read_message(source))
    except ConfigError as error:
        write_message(answers, Refused(error.problems, at_start=True))
        return
    write_message(answers, Ready())
    rest_the_collector()
    while True:
        try:
            batch = read_message(source)
        except EOFError:
            return
        write_message(answers, answer(steps, unpacked(batch)))


if __name__ == "__main__":
    # Not as __main__: the messages' classes must be those that the parent knows.
    from streams import front_child

    front_child.main()
