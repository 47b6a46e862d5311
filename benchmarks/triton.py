"""What Triton costs: each model through it against the same session in this process; stalls in 10,000 requests; system shared memory.

The repository is that of ``headrace models build --target cpu``; the server is the embedded one, on this machine.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks.processes import cpu_seconds
from benchmarks.result import ROOT, Row, Table, save
from benchmarks.shared_memory import shared_memory_rows
from models.client import ClientSettings, TritonModels
from models.front.tokens import TextTokenizer
from streams.embedded.triton import TritonServer
from streams.model_bench import BATCHES, IN_PROCESS, THROUGH_TRITON, TOKENS, Measured, asker, in_process, in_turns, measure, quantile, texts_of

REPOSITORY: Final = ROOT / ".headrace" / "models" / "cpu"
STALL_MS: Final = 500.0
STALL_TOKENS: Final = 20


def models_of(repository: Path, wanted: Sequence[str] | None) -> list[str]:
    """Gives the models to measure that the repository has."""
    there = sorted(path.parent.name for path in repository.glob("*/config.pbtxt"))
    chosen = [name for name in wanted or there if name in there]
    if not chosen:
        sys.exit(f"{repository} holds no model; run: headrace models build --target cpu")
    return chosen


def cpu_of_both(server_pid: int) -> float:
    """Gives the CPU time of the server, its models and this process, which asks."""
    return cpu_seconds(server_pid) + time.process_time()


def cost_rows(models: TritonModels, server_pid: int, repository: Path, names: Sequence[str], runs: int, seconds: float) -> Iterator[Row]:
    """Measures both paths of each model at every size."""
    for name in names:
        version = repository / name / "1"
        tokenizer = TextTokenizer(version / "tokenizer.json")
        texts = {tokens: texts_of(tokenizer, tokens) for tokens in TOKENS}
        both = partial(cpu_of_both, server_pid)
        paths = {THROUGH_TRITON: (asker(models, name), both), IN_PROCESS: (in_process(version, name), time.process_time)}
        pair: list[Measured] = []
        for one in in_turns(paths, texts, BATCHES, runs, seconds):
            pair.append(one)
            if len(pair) == len(paths):
                yield from pair_rows(name, pair)
                pair.clear()


def pair_rows(model: str, pair: Sequence[Measured]) -> Iterator[Row]:
    """Gives a row for each path; that of Triton also says what it costs, run by run."""
    by_path = {one.path: one for one in pair}
    for path, one in by_path.items():
        values: dict[str, Sequence[float]] = {
            "texts/s": [each.texts_per_s for each in one.slices],
            "CPU ms/text": [each.cpu_ms_per_text for each in one.slices],
            "p50 ms": [one.latency_ms(0.5)],
            "p99 ms": [one.latency_ms(0.99)],
        }
        if path == THROUGH_TRITON:
            both = list(zip(one.slices, by_path[IN_PROCESS].slices, strict=True))
            values["Triton costs, % of rate"] = [100 * (1 - ours.texts_per_s / alone.texts_per_s) for ours, alone in both]
            values["Triton costs, % of CPU"] = [100 * (ours.cpu_ms_per_text / alone.cpu_ms_per_text - 1) for ours, alone in both]
        labels = {"model": model, "tokens": str(one.tokens), "batch": str(one.batch), "path": path}
        print(" ".join(labels.values()), f"{one.texts_per_s:,.1f} texts/s", file=sys.stderr)
        yield Row(labels, values)


def stall_row(models: TritonModels, repository: Path, name: str, requests: int) -> Row:
    """Sends requests of one text, one after the other, and looks for stalls."""
    pool = texts_of(TextTokenizer(repository / name / "1" / "tokenizer.json"), STALL_TOKENS)
    ask = asker(models, name)
    latencies: list[float] = []
    for number in range(requests):
        latencies += measure(ask, [pool[number % len(pool)]], 1, 0.0).latencies_ms
    values = {f"p{share:g} ms": [quantile(latencies, share / 100)] for share in (50.0, 99.0, 99.9)}
    stalls = sum(latency >= STALL_MS for latency in latencies)
    return Row({"model": name, "requests": f"{requests:,}"}, {**values, "most ms": [max(latencies)], f"over {STALL_MS:g} ms": [float(stalls)]})


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="*", default=("cost", "stalls", "shared_memory"), help="cost, stalls, shared_memory")
    parser.add_argument("--repository", type=Path, default=REPOSITORY)
    parser.add_argument("--model", action="append", help="only this model; may be repeated")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each run")
    parser.add_argument("--requests", type=int, default=10_000, help="when looking for stalls")
    parser.add_argument("--quick", action="store_true", help="three runs of one second, the embedder alone")
    given = parser.parse_args(arguments)
    if given.quick:
        given.runs, given.seconds, given.model = 3, 1.0, given.model or ["embedder"]
    names = models_of(given.repository, given.model)
    began = time.monotonic()
    server = TritonServer(given.repository, cache=ROOT / ".headrace", models=names)
    with server, TritonModels(server.endpoint, ClientSettings(cache_bytes_max=0)) as models:
        if "cost" in given.what:
            rows = list(cost_rows(models, server.pid or 0, given.repository, names, given.runs, given.seconds))
            save(Table("triton_cost", "Models through Triton, and the same session in process", rows, COST_NOTES, given.quick))
        if "stalls" in given.what:
            rows = [stall_row(models, given.repository, "embedder" if "embedder" in names else names[0], given.requests)]
            save(Table("triton_stalls", "Requests of one text of 20 tokens, one after the other", rows, STALL_NOTES, given.quick))
    if "shared_memory" in given.what:
        save(
            Table(
                "triton_shared_memory",
                "System shared memory against plain gRPC",
                list(shared_memory_rows(given.runs, given.seconds)),
                (),
                given.quick,
            )
        )
    print(f"{time.monotonic() - began:.0f} s", file=sys.stderr)


COST_NOTES: Final = (
    "Both paths run the same front and ONNX file with the same threads, in turns within a run; Triton's cost is taken run by run. One caller, one "
    "request after the other, every text another one, the client's cache off.",
    "A request of one text also waits the queue delay of the model's configuration (1 ms), in which a batch may grow.",
)
STALL_NOTES: Final = ("Looked for because `preferred_batch_size` once gave 11 of 3,733 requests a stall of 500 ms; batches grow by delay alone.",)

if __name__ == "__main__":
    main()
