"""Measures the models: through Triton, and the same front and session in this process, in turns, so that their ratio is Triton's cost.

In this process runs exactly what the server runs: the front beside ``model.py`` with its settings, over the same ONNX file with the same threads. The
client's cache is off and every text is another one.
"""

from __future__ import annotations

import json
import random
import re
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from typing import Any, Final

from models.front.fronts import FRONTS
from models.front.rows import onnx_encoder
from models.front.settings import FILE as SETTINGS_FILE
from models.front.settings import read_settings
from models.front.tokens import SPECIAL_COUNT, TextTokenizer
from models.results import TextModels

THROUGH_TRITON: Final = "through Triton"
IN_PROCESS: Final = "in this process"
TOKENS: Final = (20, 60, 200)
BATCHES: Final = (1, 8, 64)
WINDOW_TOKENS: Final = 128
_POOL: Final = 512
_DEADLINE_S: Final = 120.0

#: Each is one token of the encoder's vocabulary; no sentence ends between them.
_WORDS: Final = tuple(
    "the order was sent to a new address and client asked for payment of full price before end this month because it came late please check account "  # noqa: SIM905
    "number again then write short note about what you found in file send back with report on time".split()
)

#: Answers one batch of texts.
Ask = Callable[[list[str]], object]
#: Gives CPU seconds since some moment.
Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Slice:
    """One stretch of requests, one after the other.

    Attributes:
        texts: How many were answered.
        seconds: How long it took.
        cpu_s: CPU time of all processes of the path meanwhile.
        latencies_ms: Of each request.
    """

    texts: int
    seconds: float
    cpu_s: float
    latencies_ms: Sequence[float]

    @property
    def texts_per_s(self) -> float:
        """Its rate."""
        return self.texts / self.seconds

    @property
    def cpu_ms_per_text(self) -> float:
        """CPU time of one text."""
        return 1e3 * self.cpu_s / self.texts


@dataclass(frozen=True, slots=True)
class Measured:
    """All slices of one path at one size.

    Attributes:
        path: THROUGH_TRITON or IN_PROCESS.
        tokens: Length of each text, special tokens included.
        batch: Texts of a request.
        slices: One a run.
    """

    path: str
    tokens: int
    batch: int
    slices: list[Slice] = field(default_factory=list)

    def latency_ms(self, share: float) -> float:
        """Gives a quantile over all requests of all runs."""
        return quantile([one for each in self.slices for one in each.latencies_ms], share)

    @property
    def texts_per_s(self) -> float:
        """Median over the runs."""
        return statistics.median(each.texts_per_s for each in self.slices)


def quantile(values: Sequence[float], share: float) -> float:
    """Gives the value below which so large a share lies: an observed one, never between two."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def asker(models: TextModels, model: str) -> Ask:
    """Gives the call of a client that asks this model."""
    calls: Mapping[str, Ask] = {
        "embedder": lambda texts: models.embed(texts, _DEADLINE_S),
        "guard": lambda texts: models.guard(texts, _DEADLINE_S),
        "pii_tagger": lambda texts: models.tag(texts, _DEADLINE_S),
    }
    return calls[model]


def in_process(version: Path, model: str) -> Ask:
    """Gives a model of a CPU repository as a call in this process.

    Args:
        version: Folder of the version, for example ``.headrace/models/cpu/guard/1``.
        model: Its name.
    """
    settings = read_settings(version / SETTINGS_FILE)
    threads = re.search(r'key: "threads" value: \{ string_value: "(\d+)" \}', (version.parent / "config.pbtxt").read_text())
    encode = onnx_encoder(version, settings, int(threads[1]) if threads else 0)
    return FRONTS[model](TextTokenizer(version / "tokenizer.json"), encode, settings)


def texts_of(tokenizer: TextTokenizer, tokens: int, count: int = _POOL, seed: int = 1) -> list[str]:
    """Gives different texts of exactly so many tokens, special ones included."""
    draw = random.Random(seed)
    texts = [" ".join(draw.choice(_WORDS) for _ in range(tokens - SPECIAL_COUNT)) for _ in range(count)]
    assert all(one.count == tokens - SPECIAL_COUNT for one in tokenizer(texts)), "a word is more than one token"
    return texts


def measure(ask: Ask, texts: Sequence[str], batch: int, seconds: float, cpu_seconds: Clock = time.process_time) -> Slice:
    """Sends batches one after the other for so long; each text in turn."""
    turn = cycle(texts)
    cpu_began = cpu_seconds()
    latencies: list[float] = []
    began = now = time.perf_counter()
    while now - began < seconds or not latencies:
        sent = list(islice(turn, batch))
        before = time.perf_counter()
        ask(sent)
        now = time.perf_counter()
        latencies.append((now - before) * 1e3)
    return Slice(batch * len(latencies), now - began, cpu_seconds() - cpu_began, latencies)


def in_turns(
    paths: Mapping[str, tuple[Ask, Clock]], texts: Mapping[int, Sequence[str]], batches: Sequence[int], runs: int, seconds: float
) -> Iterator[Measured]:
    """Measures every path at every size; the paths take turns within a size, so that what else the machine does falls on all of them.

    Args:
        paths: How each is asked, and what reads the CPU time of all its processes.
        texts: By their length in tokens.
        batches: Texts of a request.
        runs: Slices of each.
        seconds: Length of a slice, at least; one request may take longer.
    """
    for tokens, pool in texts.items():
        for batch in batches:
            found = {path: Measured(path, tokens, batch) for path in paths}
            for ask, _ in paths.values():
                measure(ask, pool, batch, 0.0)
            for run in range(runs):
                for path in list(paths)[:: 1 if run % 2 else -1]:
                    found[path].slices.append(measure(paths[path][0], pool, batch, seconds, paths[path][1]))
            yield from found.values()


def windows_per_s(ask: Ask, texts: Sequence[str], callers: int, seconds: float, batch: int = 64) -> float:
    """Gives windows of 128 tokens a second with several callers at once; each text is one window."""
    counts: list[int] = []
    began = time.perf_counter()

    def call(first: int) -> None:
        counts.append(measure(ask, [*texts[first:], *texts[:first]], batch, seconds).texts)

    threads = [threading.Thread(target=call, args=(caller * len(texts) // callers,)) for caller in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(counts) == callers, "a caller failed"
    return sum(counts) / (time.perf_counter() - began)


def manifest_of(version: Path) -> Mapping[str, Any]:
    """Gives what the build wrote about a version: precision, accuracy."""
    found: Mapping[str, Any] = json.loads((version / "manifest.json").read_text())
    return found
