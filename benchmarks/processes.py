"""CPU seconds and memory of processes that a benchmark started."""

from __future__ import annotations

from contextlib import suppress

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
    """Gives the resident memory of a process and its children; pages that they share count once for each."""
    root = psutil.Process(pid)
    total = 0
    for process in (root, *root.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):  # it ended between listing and asking
            total += process.memory_info().rss
    return total / MIB
