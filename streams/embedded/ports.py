"""Free TCP ports on the loopback interface."""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack
from pathlib import Path

from schemas.errors import ConfigError

LOOPBACK = "127.0.0.1"
LOWEST_PORT = 15_000
TRIES_MAX = 1_000


def free_ports(count: int) -> tuple[int, ...]:
    """Chooses ``count`` different ports on 127.0.0.1 that nothing is bound to now.

    They lie below the range from which the kernel gives ports to outgoing connections. Inside it, a client that keeps trying a server
    which is down can be given the server's own port and be connected to itself; the server then cannot come back.

    Raises:
        ConfigError: No free port was found.
    """
    highest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0]) - 1
    if highest - LOWEST_PORT < 1_000:
        highest = 65_535
    draw = random.SystemRandom()
    ports: list[int] = []
    with ExitStack() as held:
        for _ in range(TRIES_MAX):
            if len(ports) == count:
                return tuple(ports)
            candidate = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            held.callback(candidate.close)
            try:
                candidate.bind((LOOPBACK, draw.randint(LOWEST_PORT, highest)))
            except OSError:
                continue
            ports.append(candidate.getsockname()[1])
    raise ConfigError(f"no {count} free TCP ports on {LOOPBACK} between {LOWEST_PORT} and {highest}; stop something that listens there")


def accepts(port: int) -> bool:
    """Whether something on 127.0.0.1 accepts a connection on ``port`` now."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=1.0):
            return True
    except OSError:
        return False
