"""``headrace score``: what a model says of the texts of a file."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import typer

from models.results import TextModels
from schemas.errors import ConfigError, RetryableError
from streams.cli.models_serve import DEFAULT_REPOSITORY, UrlOption
from streams.cli.say import ConfigOption, tell

_LINES_AT_ONCE: Final = 512
_DEADLINE_S: Final = 120.0
_TRIES: Final = 5
_TELL_EVERY_S: Final = 2.0

T = TypeVar("T")
#: One line of the input, decoded.
Line = dict[str, Any]


class ScoringModel(StrEnum):
    """Models that can be tried on a file."""

    GUARD = "guard"
    PII_TAGGER = "pii_tagger"


def score(
    model: Annotated[ScoringModel, typer.Option("--model", help="guard adds `scores` to each line, pii_tagger adds `spans`.")],
    input: Annotated[Path, typer.Option("--input", help="JSONL file; each line has a `text`.")],
    output: Annotated[Path, typer.Option("--output", help="JSONL file to write: the same lines, every key kept.")],
    url: UrlOption = None,
    repository: Annotated[Path, typer.Option("--repository", help="Served for this run where no server is named.")] = DEFAULT_REPOSITORY,
    config: ConfigOption = None,
) -> None:
    """Try a model on your own texts: score the `text` of each line of a file, on a running server or on one started for it."""
    if input.resolve() == output.resolve():
        raise ConfigError("score: --output must be another file than --input; lines are read while others are written")
    size_bytes = _size(input)
    with _models(url, repository, config) as models:
        answer = _scores(models) if model is ScoringModel.GUARD else _spans(models)
        count = _through(input, output, size_bytes, answer)
    tell(f"{count:,} lines -> {output}")


def _through(input: Path, output: Path, size_bytes: int, answer: Callable[[list[str]], list[Line]]) -> int:
    """Scores the file in batches; the output appears under its name when it is complete."""
    arriving = output.with_name(f"{output.name}.part")
    count, told_s = 0, time.monotonic()
    try:
        with input.open("rb") as source, arriving.open("wb") as target:
            lines = lines_of(input, source)
            while batch := list(islice(lines, _LINES_AT_ONCE)):
                for (_, line), added in zip(batch, _answered(input, batch, answer), strict=True):
                    target.write(encoded({**line, **added}))
                count += len(batch)
                if time.monotonic() - told_s > _TELL_EVERY_S:
                    told_s = time.monotonic()
                    tell(f"{count:,} lines, {100 * source.tell() / max(size_bytes, 1):.0f} % of the file")
        arriving.rename(output)
    except OSError as error:
        raise ConfigError(f"--output {output}: cannot be written ({error.strerror}); check the directory and the disk") from None
    finally:
        arriving.unlink(missing_ok=True)
    return count


def _answered(input: Path, batch: Sequence[tuple[int, Line]], answer: Callable[[list[str]], list[Line]]) -> list[Line]:
    """Gives what the model says of some lines; where it does not, the error says of which."""
    failure = None
    try:
        return answer([line["text"] for _, line in batch])
    except RetryableError as error:
        failure = RetryableError(f"{input}, lines {batch[0][0]} to {batch[-1][0]}: {error}", error.retry_after_ms)
    raise failure


def lines_of(path: Path, source: Iterable[bytes]) -> Iterator[tuple[int, Line]]:
    """Gives the lines of a file that are not empty, with their numbers; ConfigError names the line that is wrong, never what is in it."""
    for number, raw in enumerate(source, start=1):
        if raw.strip():
            yield number, _line(f"{path}, line {number}", raw.rstrip(b"\r\n"))


def _line(place: str, raw: bytes) -> Line:
    problem = ""
    try:
        line = json.loads(raw)
    except UnicodeDecodeError as error:
        problem = f"{place}: UTF-8 is required, byte {error.start + 1} is not; convert the file"
    except (ValueError, RecursionError) as error:
        column = f" from column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
        problem = f"{place}: one JSON object is required, this cannot be read{column}; one object a line"
    if not problem and not isinstance(line, dict):
        problem = f"{place}: one JSON object is required, {type(line).__name__} came"
    if not problem and not isinstance(line.get("text"), str):
        came = "none" if "text" not in line else type(line["text"]).__name__
        problem = f"{place}: a `text` that is a string is required, {came} came"
    if problem:
        raise ConfigError(problem)
    return line  # type: ignore[no-any-return]  # a dict, as checked


def encoded(line: Line) -> bytes:
    """Gives a line as it is written; what UTF-8 cannot hold (half of a surrogate pair) goes as an escape."""
    try:
        return json.dumps(line, ensure_ascii=False).encode() + b"\n"
    except UnicodeEncodeError:
        return json.dumps(line).encode() + b"\n"


def _scores(models: TextModels) -> Callable[[list[str]], list[Line]]:
    def answer(texts: list[str]) -> list[Line]:
        found = _patiently(lambda: models.guard(texts, _DEADLINE_S))
        return [{"scores": {"injection": one.injection, "jailbreak": one.jailbreak, "toxicity": one.toxicity}} for one in found]

    return answer


def _spans(models: TextModels) -> Callable[[list[str]], list[Line]]:
    def answer(texts: list[str]) -> list[Line]:
        return [{"spans": [asdict(span) for span in one]} for one in _patiently(lambda: models.tag(texts, _DEADLINE_S))]

    return answer


def _patiently(call: Callable[[], T]) -> T:
    """Tries a few times; then the error says what is away."""
    for _ in range(_TRIES - 1):
        try:
            return call()
        except RetryableError as error:
            tell(f"{error}; trying again")
            time.sleep(error.retry_after_ms / 1_000)
    return call()


@contextmanager
def _models(url: str | None, repository: Path, config: Path | None) -> Iterator[TextModels]:
    """Gives a client of the server that is named, else of one that serves ``repository`` meanwhile."""
    from models.client import TritonModels
    from streams.embedded.triton import TritonServer
    from streams.model_client import named_endpoint

    endpoint = named_endpoint(url, config)
    if endpoint is not None:
        with TritonModels(endpoint) as models:
            yield models
        return
    with TritonServer(repository, tell=tell) as server, TritonModels(server.endpoint) as models:
        yield models


def _size(input: Path) -> int:
    try:
        return os.stat(input).st_size
    except OSError as error:
        raise ConfigError(f"--input {input}: cannot be read ({error.strerror})") from None
