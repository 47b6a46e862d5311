"""CPU seconds and memory of processes that a benchmark started."""

from __future__ import annotations

import psutil

MIB = 2**20


def cpu_seconds(pid: int) -> float:
    """Gives what a process, its children and those of them that have ended took, user and system."""
    total = 0.0
    root = psutil.Process(pid)
    for process in (root, *root.children(recursive=True)):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:  # it ended between listing and asking: its parent has its times
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


def rss_mib(pid: int) -> float:
    """Gives the resident memory of one process."""
    return float(psutil.Process(pid).memory_info().rss / MIB)
