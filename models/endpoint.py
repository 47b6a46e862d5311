"""Where a Triton server is, and whether raw text may travel there."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from schemas.errors import ConfigError


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files of a connection that both sides prove (mTLS).

    Attributes:
        root: Certificates that the server's is checked against.
        key: Our private key.
        chain: Our certificate.
    """

    root: Path
    key: Path
    chain: Path


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server's gRPC address.

    Attributes:
        url: host:port, without a scheme.
        tls: None for a connection in the clear.
        same_host: Says that the address is on this machine although its name does not show it (a container beside this one).
    """

    url: str
    tls: TlsFiles | None = None
    same_host: bool = False

    @property
    def may_carry_raw(self) -> bool:
        """Whether a model that reads raw text may be asked here: on this machine, or over mTLS."""
        return self.tls is not None or self.same_host or is_loopback(self.url.rpartition(":")[0])

    def connection(self) -> dict[str, object]:
        """Gives what tritonclient's constructors take for it.

        Raises:
            ConfigError: A PEM file cannot be read.
        """
        if self.tls is None:
            return {"url": self.url, "ssl": False}
        files = {"root_certificates": self.tls.root, "private_key": self.tls.key, "certificate_chain": self.tls.chain}
        for path in files.values():
            problem = _unreadable(path)
            if problem is not None:
                raise ConfigError(f"models.tls: {path} cannot be read ({problem}); check models.tls.root, key and chain")
        return {"url": self.url, "ssl": True, **{name: str(path) for name, path in files.items()}}

    def require_raw(self, model: str) -> None:
        """Raises ConfigError where a model that reads raw text may not be asked."""
        if not self.may_carry_raw:
            raise ConfigError(
                f"models: {model} reads raw text, so Triton must be on this machine or be reached over mTLS; {self.url} is neither. "
                "Set models.tls, or models.same_host where it is a container of this machine"
            )


def _unreadable(path: Path) -> str | None:
    try:
        path.open("rb").close()
    except OSError as error:
        return error.strerror
    return None


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
