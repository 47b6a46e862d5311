"""Where the pipeline's own time goes under full load: py-spy on both processes of a run over preloaded records, and the CPU time of their threads.

Three shares by function: of samples that hold Python's lock (the part that one core can do at most), each function's own and with what it calls.
Writes a result table, and the stacks for flame graphs into ``.headrace/profile-<process>.txt``.
"""

from __future__ import annotations

import argparse
import subprocess
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

from benchmarks.end_to_end import CORPORA, TARGET, first_poll, fresh_name, preload, say
from benchmarks.environments import environment
from benchmarks.result import ROOT, Row, Table, save
from benchmarks.stack import Deployment, servers
from streams.embedded.child import descendants

SECONDS = 10
_RATE_HZ = 200
#: Of a run with one process for the front.
PROCESSES = ("pipeline", "front")
_SETTLE_S = 2.0
_END_DEADLINE_S = 300.0
_ROWS = 18
_STACKS = ROOT / ".headrace"


def thread_seconds(pid: int) -> dict[str, float]:
    """Gives the CPU seconds of a process's threads by name."""
    seconds = defaultdict[str, float](float)
    for stat in Path(f"/proc/{pid}/task").glob("*/stat"):
        text = stat.read_text()
        name, fields = text[text.index("(") + 1 : text.rindex(")")], text[text.rindex(")") + 2 :].split()
        seconds[name] += (int(fields[11]) + int(fields[12])) / 100
    return dict(seconds)


def shares(stacks: str) -> tuple[int, Counter[str], Counter[str]]:
    """Gives the number of samples, and of those in which each function was on top and anywhere."""
    own, anywhere, samples = Counter[str](), Counter[str](), 0
    for line in stacks.splitlines():
        stack, _, count = line.rpartition(" ")
        frames = [frame.rpartition(":")[0] + ")" if frame.endswith(")") else frame for frame in stack.split(";")]
        samples += int(count)
        own[frames[-1]] += int(count)
        for frame in set(frames):
            anywhere[frame] += int(count)
    return samples, own, anywhere


def rows_of(name: str, process: str, stacks: str, threads: dict[str, float], wall_s: float) -> Iterator[Row]:
    """Gives the table's lines."""
    samples, own, anywhere = shares(stacks)
    held = 100 * samples / (SECONDS * _RATE_HZ)
    yield Row({"corpus": name, "process": process, "where": "Python's lock is held"}, {"% of wall time": [held]})
    for thread, seconds in sorted(threads.items(), key=lambda one: -one[1])[:6]:
        yield Row({"corpus": name, "process": process, "where": f"threads {thread}"}, {"% of wall time": [100 * seconds / wall_s]})
    ours = [(frame, count) for frame, count in anywhere.most_common() if "/" in frame and 0.02 * samples < count < 0.99 * samples]
    for frame, count in ours[:_ROWS]:
        yield Row(
            {"corpus": name, "process": process, "where": frame}, {"% of samples": [100 * count / samples], "% its own": [100 * own[frame] / samples]}
        )


def stacks_of(process: str) -> Path:
    """Gives where the stacks of a process are written."""
    return _STACKS / f"profile-{process}.txt"


def recorder(py_spy: Path, process: str, pid: int) -> list[str | Path]:
    """Gives the command line that records the samples of a process."""
    options = ["--gil", "-d", str(SECONDS), "-r", str(_RATE_HZ), "-f", "raw"]
    return [py_spy, "record", *options, "-o", stacks_of(process), "--pid", str(pid)]


def main() -> None:
    """Profiles what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpora", nargs="*", default=CORPORA, choices=CORPORA)
    parser.add_argument("--lanes", type=int, default=2)
    parser.add_argument("--workers", type=int, default=1)
    given = parser.parse_args()
    py_spy = environment("profiler") / "py-spy"
    rows: list[Row] = []
    with servers() as on:
        for name in given.corpora:
            prefix = f"profile-{name}."
            preload(on, prefix, name, int(TARGET[name] * (SECONDS + _SETTLE_S) * 2))
            deployment = Deployment(on, prefix, fresh_name(), {"pipeline": {"lanes": given.lanes, "workers": given.workers}})
            running = deployment.start("--until-end")
            first_poll(running)
            time.sleep(_SETTLE_S)
            processes = dict(zip(PROCESSES, [running.child.pid, *descendants(running.child.pid)], strict=True))
            before, begin = {process: thread_seconds(pid) for process, pid in processes.items()}, time.monotonic()
            recording = [subprocess.Popen(recorder(py_spy, process, pid), stdout=subprocess.DEVNULL) for process, pid in processes.items()]
            for one in recording:
                if one.wait(SECONDS + 60):
                    raise SystemExit(f"py-spy ended with status {one.returncode}")
            wall_s = time.monotonic() - begin
            for process, pid in processes.items():
                threads = {thread: seconds - before[process].get(thread, 0) for thread, seconds in thread_seconds(pid).items()}
                rows += rows_of(name, process, stacks_of(process).read_text(), threads, wall_s)
            running.child.finish(_END_DEADLINE_S)
            say(f"{name}: {running.summary()}")
            deployment.close()
            on.drop_topics(prefix)
    notes = ("Samples that hold Python's lock. Functions of this project with what they call, largest first, and their own share.",)
    print(save(Table("profile", "Profile of the pipeline under full load", rows, notes)))


if __name__ == "__main__":
    main()
