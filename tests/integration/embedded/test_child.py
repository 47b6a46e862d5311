"""The child process: dies with its parent, explains a failed start, ends when told."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from schemas.errors import ConfigError
from streams.embedded.child import Account, ChildProcess
from streams.embedded.ports import accepts, free_ports
from tests.fixtures.probes import eventually, exists

SHELL = "/bin/sh"


def start(script: str, where: Path) -> ChildProcess:
    return ChildProcess("part", [SHELL, "-c", script], log=where / "part.log", cwd=where)


def test_a_child_that_ends_early_is_reported_with_its_status_and_the_end_of_its_log(tmp_path: Path) -> None:
    child = start("echo the port is taken >&2; exit 3", tmp_path)
    with pytest.raises(ConfigError, match=r"(?s)part ended with status 3 before it was ready.*the port is taken"):
        child.await_ready(lambda: False, 10)


def test_the_reported_log_begins_with_this_start_not_with_an_earlier_one(tmp_path: Path) -> None:
    start("echo first start", tmp_path).finish(10)
    second = start("echo second start; exit 1", tmp_path)
    with pytest.raises(ConfigError) as error:
        second.finish(10)
    assert "second start" in str(error.value)
    assert "first start" not in str(error.value)


def test_a_child_that_is_not_ready_in_time_is_killed(tmp_path: Path) -> None:
    child = start("exec sleep 60", tmp_path)
    with pytest.raises(ConfigError, match=r"not ready within 0\.1 s and was killed"):
        child.await_ready(lambda: False, 0.1)
    assert not exists(child.pid)


def test_a_child_that_ignores_the_request_to_stop_is_killed(tmp_path: Path) -> None:
    child = start("trap '' TERM; touch ready; while :; do sleep 60; done", tmp_path)
    child.await_ready((tmp_path / "ready").exists, 10)
    child.stop(signal.SIGTERM, within_s=0.2)
    assert child.popen.returncode == -signal.SIGKILL


def test_kill_ends_the_descendants_too(tmp_path: Path) -> None:
    child = start("sleep 60 & echo $! > grandchild; wait", tmp_path)
    child.await_ready(lambda: (tmp_path / "grandchild").exists() and (tmp_path / "grandchild").read_text().strip() != "", 10)
    grandchild = int((tmp_path / "grandchild").read_text())
    child.kill()
    assert not exists(child.pid)
    assert not exists(grandchild)


def test_a_child_outlives_the_thread_that_asked_for_it(tmp_path: Path) -> None:
    pool = ThreadPoolExecutor(max_workers=1)
    thread = pool.submit(threading.get_native_id).result()
    child = pool.submit(ChildProcess, "part", ["/bin/cat"], log=tmp_path / "part.log", cwd=tmp_path, piped=True).result()
    assert echo(child) == b"before\n"
    pool.shutdown()
    eventually(lambda: not Path(f"/proc/self/task/{thread}").exists(), "the thread has ended")
    # A death signal bound to that thread has been sent by now: a child that answers has not got one.
    assert echo(child, b"after\n") == b"after\n"
    child.kill()


def echo(child: ChildProcess, line: bytes = b"before\n") -> bytes:
    assert child.popen.stdin is not None
    assert child.popen.stdout is not None
    child.popen.stdin.write(line)
    child.popen.stdin.flush()
    return child.popen.stdout.readline()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a child as another user")
def test_a_child_of_another_account_keeps_nothing_of_roots(tmp_path: Path) -> None:
    tmp_path.chmod(0o711)
    before = os.getgroups()
    os.setgroups([*before, 4242])
    try:
        child = ChildProcess("part", ["/usr/bin/id"], log=tmp_path / "part.log", cwd=Path("/"), account=Account(65534, 65534))
        child.finish(10)
    finally:
        os.setgroups(before)
    assert set(re.findall(r"=(\d+)", child.tail())) == {"65534"}
    assert "4242" not in child.tail()


def test_a_child_dies_when_its_parent_is_killed(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    program = (
        "import signal, sys; from pathlib import Path; from streams.embedded.child import ChildProcess\n"
        "child = ChildProcess('part', ['/bin/sleep', '60'], log=Path(sys.argv[1]) / 'part.log', cwd=Path('/'))\n"
        "print(child.pid, flush=True); signal.pause()"
    )
    argv = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(argv, cwd=pytestconfig.rootpath, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child_pid = int(parent.stdout.readline())
        eventually(lambda: Path(f"/proc/{child_pid}/comm").read_text().strip() == "sleep", "the child becomes its program")
        parent.kill()
    eventually(lambda: not exists(child_pid), "the child is gone")


def test_a_terminals_interrupt_does_not_reach_the_child(tmp_path: Path) -> None:
    child = start("exec sleep 60", tmp_path)
    assert os.getsid(child.pid) == child.pid != os.getsid(0)
    child.kill()


def test_free_ports_are_different_and_never_given_to_outgoing_connections() -> None:
    lowest_outgoing = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    ports = free_ports(20)
    assert len(set(ports)) == 20
    assert max(ports) < lowest_outgoing
    assert not any(accepts(port) for port in ports)
