"""Becomes another program that dies with the process that started it.

Run as a script by ``streams.embedded.child``, never imported: ``become.py PARENT_PID SIGNAL ACCOUNT PROGRAM [ARGUMENT...]``, where
ACCOUNT is ``-`` or ``UID:GID``. It is a program of its own, not a ``preexec_fn``, because running Python between fork and exec in a
process with threads (librdkafka and Polars start many) can deadlock.
"""

from __future__ import annotations

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1


def become(parent_pid: int, death_signal: int, account: str, argv: list[str]) -> None:
    """Replaces this process by ``argv``; returns only when the parent is gone already."""
    if account != "-":
        uid, gid = (int(part) for part in account.split(":"))
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    # After setuid: a change of user clears the death signal.
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, death_signal) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    # The parent may have died before the signal was armed.
    if os.getppid() == parent_pid:
        os.execv(argv[0], argv)


if __name__ == "__main__":
    become(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4:])
    sys.exit("the starting process is gone")
