"""The main job end to end: Kafka to Kafka and PostgreSQL, with everything on, on one machine.

Broker, database, load generator and ``headrace run`` are processes of their own and share the cores. Pattern PII, the exchange, snapshots and
recovery are on.

- ``capacity``: the records are there before the run starts; ``headrace run --until-end`` takes them all. Events a second from the first poll until
  everything is acknowledged, all windows are closed, and the last snapshot is taken.
- ``latency``: produced at half of the capacity; seen by a consumer that reads committed records.
- ``costs``: the same load with one lane and worker against two, and with a snapshot each second against one a minute.
- ``memory``: resident memory at half of the capacity, each second.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count, islice

import numpy as np

from benchmarks.processes import cpu_seconds, rss_mib
from benchmarks.result import ROOT, Row, Table, save
from benchmarks.stack import Deployment, Metrics, Running, Servers, servers
from streams.embedded.child import ChildProcess
from streams.fleet.corpora import corpus

CORPORA = ("fleet", "distinct")
MODES = ("capacity", "latency", "costs", "memory")
#: Events a second that the issue asks for; also the pace of event time in the input.
TARGET = {"fleet": 20_000.0, "distinct": 8_000.0}
PILOT_EVENTS = {"fleet": 60_000, "distinct": 30_000}
_LOOK_EVERY_S = 0.5
_FIRST_POLL_DEADLINE_S = 60.0
_CAPACITY_DEADLINE_S = 600.0
_LATENCY_WARM_UP_S = 10.0
_MEMORY_WARM_UP_S = 240.0
_names = count()

Settings = Mapping[str, Mapping[str, object]]


@dataclass(frozen=True, slots=True)
class Capacity:
    """What one run over preloaded records gave.

    Attributes:
        events_s: Events a second, from the first poll to the last acknowledgement and the last snapshot.
        start_s: From the start of the process to the first poll.
        cpu_s: CPU seconds of headrace, Kafka and PostgreSQL.
        rss_mib: Largest resident memory of headrace that was seen.
        stages: Seconds by stage and sink, as headrace counts them.
    """

    events: int
    events_s: float
    start_s: float
    cpu_s: Mapping[str, float]
    rss_mib: float
    stages: Mapping[str, float] = field(default_factory=dict)


def fresh_name() -> str:
    """Gives the name of a new pipeline."""
    return f"bench{next(_names)}"


def preload(on: Servers, prefix: str, name: str, events: int) -> None:
    """Fills the input topics of a prefix; event time ends now."""
    Deployment(on, prefix, fresh_name()).close()  # makes the topics
    start_ms = int(time.time() * 1_000 - events * 1_000 / TARGET[name])
    on.load(prefix, name, events, TARGET[name], start_ms=start_ms).finish(_CAPACITY_DEADLINE_S)


def capacity(on: Servers, prefix: str, events: int, settings: Settings) -> Capacity:
    """Runs the pipeline over what is in the topics of the prefix, as a new pipeline with an empty database."""
    deployment = Deployment(on, prefix, fresh_name(), settings)
    outside = {"Kafka": on.kafka.pid, "PostgreSQL": on.postgres.pid}
    before = {name: cpu_seconds(pid) for name, pid in outside.items() if pid is not None}
    running = deployment.start("--until-end")
    first = first_poll(running)
    spent_at_first = cpu_seconds(running.child.pid)
    memory, last = 0.0, dict[tuple[str, ...], float]()
    deadline = time.monotonic() + _CAPACITY_DEADLINE_S
    while running.child.alive and time.monotonic() < deadline:
        memory = max(memory, rss_mib(running.child.pid))
        last = dict(running.metrics() or last)
        time.sleep(_LOOK_EVERY_S)
    spent, end = running.finish()
    counts = running.summary()
    if counts["in"] != events or counts["passed"] != events:
        raise SystemExit(f"{events} events were sent, headrace says {counts}")
    cpu = {"headrace": spent - spent_at_first}
    cpu |= {name: cpu_seconds(pid) - before[name] for name, pid in outside.items() if pid is not None}
    deployment.close()
    return Capacity(events, events / (end - first), first - running.started, cpu, memory, stage_seconds(last))


def first_poll(running: Running) -> float:
    """Waits for the first polled record and gives the time."""
    deadline = time.monotonic() + _FIRST_POLL_DEADLINE_S
    while time.monotonic() < deadline and running.child.alive:
        found = running.metrics()
        if found and any(value for key, value in found.items() if key[0] == "headrace_batch_rows_count"):
            return time.time()
        time.sleep(0.02)
    raise SystemExit(f"headrace polled nothing within {_FIRST_POLL_DEADLINE_S:g} s; its log ends:\n{running.child.tail()}")


def stage_seconds(metrics: Metrics) -> dict[str, float]:
    """Gives the seconds of each stage and sink."""
    wanted = {"headrace_stage_seconds_sum": "", "headrace_sink_seconds_sum": "sink ", "headrace_snapshot_seconds_sum": "snapshot"}
    return {wanted[key[0]] + "".join(key[1:]): value for key, value in metrics.items() if key[0] in wanted}


def sized(on: Servers, name: str, settings: Settings, seconds: float) -> int:
    """Gives how many events keep the pipeline busy for so long, from a pilot run."""
    prefix = f"pilot-{name}."
    preload(on, prefix, name, PILOT_EVENTS[name])
    found = capacity(on, prefix, PILOT_EVENTS[name], settings)
    on.drop_topics(prefix)
    say(f"{name}: pilot {found}")
    return int(max(found.events_s * seconds * 1.1, PILOT_EVENTS[name]))


def capacities(on: Servers, name: str, settings: Mapping[str, Settings], runs: int, seconds: float) -> dict[str, list[Capacity]]:
    """Measures each of the settings in turn, ``runs`` times, on the same input."""
    events = sized(on, name, next(iter(settings.values())), seconds)
    prefix = f"load-{name}-{fresh_name()}."
    preload(on, prefix, name, events)
    found = defaultdict[str, list[Capacity]](list)
    for number in range(runs):
        # Every other round runs backwards: who comes first pays for a broker that is not warm.
        for label, one in list(settings.items())[:: -1 if number % 2 else 1]:
            found[label].append(capacity(on, prefix, events, one))
            say(f"{name}, {label}, run {number + 1}: {found[label][-1]}")
    on.drop_topics(prefix)
    return found


def capacity_row(labels: Mapping[str, str], runs: Sequence[Capacity]) -> Row:
    """Gives the line of a table."""
    values = {"events/s": [one.events_s for one in runs], "start s": [one.start_s for one in runs]}
    for part in runs[0].cpu_s:
        values[f"{part} CPU-s"] = [one.cpu_s[part] for one in runs]
    values["events/CPU-s of headrace"] = [one.events / one.cpu_s["headrace"] for one in runs]
    values["RSS MiB"] = [one.rss_mib for one in runs]
    return Row({**labels, "events": f"{runs[0].events:,}"}, values)


def stage_rows(name: str, runs: Sequence[Capacity]) -> Iterator[Row]:
    """Gives the share of each stage in the wall time of the runs."""
    stages = sorted({stage for one in runs for stage in one.stages}, key=lambda stage: -runs[-1].stages.get(stage, 0))
    for stage in stages:
        share = [one.stages.get(stage, 0) * one.events_s / one.events * 100 for one in runs]
        micros = [one.stages.get(stage, 0) / one.events * 1e6 for one in runs]
        yield Row({"corpus": name, "stage": stage}, {"% of wall time": share, "us/event": micros})


def steady(
    on: Servers, name: str, settings: Settings, rate: float, seconds: float, watch: Callable[[Running], None]
) -> tuple[dict[str, object], Running]:
    """Runs the pipeline under a steady load for so long; gives what the latency reader found."""
    prefix = f"steady-{fresh_name()}."
    deployment = Deployment(on, prefix, fresh_name(), settings)
    running = deployment.start()
    events = int(rate * seconds)
    argv = [sys.executable, "-m", "benchmarks.latency_reader", "--bootstrap", on.kafka.bootstrap, "--topic", f"{prefix}enriched_events"]
    argv += ["--count", str(events), "--warm-up-s", str(_LATENCY_WARM_UP_S)]
    log = on.folder / f"reader-{prefix}log"
    reader = ChildProcess("latency reader", argv, log=log, cwd=ROOT)
    reader.await_ready(lambda: "reading" in reader.tail(), _FIRST_POLL_DEADLINE_S)
    running.child.await_ready(lambda: running.metrics() is not None, _FIRST_POLL_DEADLINE_S)
    load = on.load(prefix, name, events, rate, start_ms=int(time.time() * 1_000), rate=rate)
    deadline = time.monotonic() + seconds + _FIRST_POLL_DEADLINE_S
    while reader.alive and running.child.alive and time.monotonic() < deadline:
        watch(running)
        time.sleep(1.0)
    load.finish(_FIRST_POLL_DEADLINE_S)
    reader.finish(_FIRST_POLL_DEADLINE_S)
    running.child.stop(within_s=30)
    deployment.close()
    on.drop_topics(prefix)
    found: dict[str, object] = json.loads(log.read_text().splitlines()[-1])
    if found["read"] != events:
        raise SystemExit(f"{events} events were sent, {found['read']} were seen")
    return found, running


def say(line: str) -> None:
    """Tells what happens on the standard error."""
    print(time.strftime("%H:%M:%S"), line, file=sys.stderr, flush=True)


def facts_rows() -> Iterator[Row]:
    """Gives bytes, leaves and distinct leaves of each corpus, over 20,000 records."""
    for name in CORPORA:
        sizes, leaves = [], []
        for record in islice(corpus(name).records(), 20_000):
            sizes.append(len(record.value))
            leaves += list(strings(json.loads(record.value)))
        values = {"bytes/event": [statistics.fmean(sizes)], "leaves/event": [len(leaves) / len(sizes)]}
        values["% of leaves distinct"] = [100 * len(set(leaves)) / len(leaves)]
        long = [leaf for leaf in leaves if len(leaf) >= 20]
        values["% distinct of 20 characters and more"] = [100 * len(set(long)) / len(long)]
        yield Row({"corpus": name}, values)


def strings(value: object) -> Iterator[str]:
    """Gives the string leaves of content fields, JSON inside strings included."""
    from streams.fleet.corpora import CONTENT_FIELDS

    def below(node: object) -> Iterator[str]:
        if isinstance(node, dict):
            for item in node.values():
                yield from below(item)
        elif isinstance(node, list):
            for item in node:
                yield from below(item)
        elif isinstance(node, str):
            yield from below(json.loads(node)) if node[:1] == "{" else [node]

    if isinstance(value, dict):
        for name in CONTENT_FIELDS:
            yield from below(value.get(name))


def run_capacity(on: Servers, given: argparse.Namespace, settings: Settings) -> dict[str, float]:
    """Measures the capacity on each corpus; gives the medians."""
    rows, stages, medians = [], [], {}
    for name in given.corpora:
        runs = capacities(on, name, {"all on": settings}, given.runs, given.seconds)["all on"]
        rows.append(capacity_row({"corpus": name, "target events/s": f"{TARGET[name]:,.0f}"}, runs))
        stages += list(stage_rows(name, runs))
        medians[name] = statistics.median(one.events_s for one in runs)
    shape = ", ".join(f"{section}.{key} {value}" for section, values in settings.items() for key, value in values.items())
    save(Table("corpora", "The two frozen corpora", list(facts_rows()), (), given.quick))
    notes = (f"{shape}; 4 partitions a topic; snapshot each second unless stated; broker, database, load generator and pipeline on the same cores.",)
    save(Table("end_to_end_capacity", "End to end: capacity", rows, notes, given.quick))
    notes = ("Seconds inside a stage as headrace counts them; workers and the sinks' threads run side by side, so shares may pass 100 %.",)
    save(Table("end_to_end_stages", "End to end: where the time goes", stages, notes, given.quick))
    return medians


def run_latency(on: Servers, given: argparse.Namespace, settings: Settings, rates: Mapping[str, float]) -> None:
    """Measures the latency at half of the capacity."""
    rows = []
    for name in given.corpora:
        rate = rates[name] / 2
        found, _ = steady(on, name, settings, rate, given.latency_seconds, lambda _running: None)
        say(f"{name}: latency at {rate:,.0f} events/s {found}")
        values = {f"{quantile} ms": [float(str(found[quantile]))] for quantile in ("p50", "p95", "p99", "p99.9", "max")}
        worst = found["p99 by second"]
        assert isinstance(worst, list)
        values["worst second's p99 ms"] = [max(worst)]
        rows.append(Row({"corpus": name, "rate events/s": f"{rate:,.0f}", "events": f"{found['records']:,}"}, values))
    notes = (
        "From the Kafka timestamp of the input record until a read-committed consumer sees the enriched event; "
        f"without the first {_LATENCY_WARM_UP_S:g} s.",
    )
    save(Table("end_to_end_latency", "End to end: latency at half of the capacity", rows, notes, given.quick))


def run_costs(on: Servers, given: argparse.Namespace) -> None:
    """Measures what the exchange and what snapshots cost."""
    variants: dict[str, Settings] = {
        "2 lanes, 1 worker, snapshot each 1 s": {"pipeline": {"lanes": 2, "workers": 1}, "recovery": {"epoch_interval_ms": 1_000}},
        "2 lanes, 2 workers, snapshot each 1 s": {"pipeline": {"lanes": 2, "workers": 2}, "recovery": {"epoch_interval_ms": 1_000}},
        "1 lane, 1 worker, snapshot each 1 s": {"pipeline": {"lanes": 1, "workers": 1}, "recovery": {"epoch_interval_ms": 1_000}},
        "2 lanes, 1 worker, snapshot each 60 s": {"pipeline": {"lanes": 2, "workers": 1}, "recovery": {"epoch_interval_ms": 60_000}},
    }
    rows = []
    for name in given.corpora[:1] if given.quick else given.corpora:
        found = capacities(on, name, variants, max(given.runs, 2), given.seconds)
        first = statistics.median(one.events_s for one in next(iter(found.values())))
        for label, runs in found.items():
            row = capacity_row({"corpus": name, "variant": label}, runs)
            rows.append(Row(row.labels, {**row.values, "ratio to the first": [one.events_s / first for one in runs]}))
    notes = ("Variants take turns on the same input within one session; the ratio is worth more than the rates.",)
    save(Table("end_to_end_costs", "End to end: what the exchange and snapshots cost", rows, notes, given.quick))


def run_memory(on: Servers, given: argparse.Namespace, settings: Settings, rates: Mapping[str, float]) -> None:
    """Measures resident memory over minutes."""
    rows = []
    for name in given.corpora[:1] if given.quick else given.corpora:
        samples: list[tuple[float, float]] = []

        def watch(running: Running, samples: list[tuple[float, float]] = samples) -> None:
            samples.append((time.monotonic(), rss_mib(running.child.pid)))

        steady(on, name, settings, rates[name] / 2, given.minutes * 60, watch)
        at, rss = np.array(samples).T
        late = at >= at[0] + min(_MEMORY_WARM_UP_S, given.minutes * 20)
        slope = float(np.polyfit(at[late] / 60, rss[late], 1)[0])
        say(f"{name}: RSS {rss[0]:.0f} .. {rss[-1]:.0f} MiB, slope {slope:.2f} MiB/min")
        values = {"RSS after warm-up MiB": [float(rss[late][0])], "RSS at the end MiB": [float(rss[-1])], "largest MiB": [float(rss.max())]}
        rows.append(
            Row({"corpus": name, "minutes": f"{given.minutes:g}", "rate events/s": f"{rates[name] / 2:,.0f}"}, {**values, "slope MiB/min": [slope]})
        )
    notes = (
        "Resident memory of the pipeline and its child each second; the slope is a straight line through all samples after the warm-up.",
        f"Ids are remembered for {given.dedup_ttl_s} s of event time, so they stop growing then; the warm-up is {_MEMORY_WARM_UP_S:g} s.",
    )
    save(Table("end_to_end_memory", "End to end: memory", rows, notes, given.quick))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modes", nargs="*", default=("capacity", "latency", "costs"), help=f"any of {', '.join(MODES)}")
    parser.add_argument("--corpora", nargs="*", default=CORPORA, choices=CORPORA)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=30.0, help="length of a capacity run")
    parser.add_argument("--latency-seconds", type=float, default=70.0)
    parser.add_argument("--minutes", type=float, default=10.0, help="length of the memory run")
    parser.add_argument("--dedup-ttl-s", type=int, default=600, help="memory: how long ids are remembered; shorter fills sooner")
    parser.add_argument("--lanes", type=int, default=2)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--rate", type=float, help="capacity to take for latency and memory where capacity is not measured")
    parser.add_argument("--quick", action="store_true", help="one run of 10 s each, 20 s of latency; costs and memory on the first corpus only")
    given = parser.parse_args(arguments)
    if given.quick:
        given.runs, given.seconds, given.latency_seconds, given.minutes = 1, 10.0, 30.0, 1.0
    settings: Settings = {"pipeline": {"lanes": given.lanes, "workers": given.workers}}
    with servers() as on:
        rates = run_capacity(on, given, settings) if "capacity" in given.modes else {}
        rates = rates or dict.fromkeys(given.corpora, given.rate or 0) if given.rate else rates or dict(TARGET)
        if "latency" in given.modes:
            run_latency(on, given, settings, rates)
        if "costs" in given.modes:
            run_costs(on, given)
        if "memory" in given.modes:
            run_memory(on, given, {**settings, "pipeline": {**settings["pipeline"], "dedup_ttl_s": given.dedup_ttl_s}}, rates)


if __name__ == "__main__":
    main()
