"""Raw text travels within this machine or over mTLS, nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.endpoint import Endpoint, TlsFiles
from schemas.errors import ConfigError

TLS = TlsFiles(Path("root.pem"), Path("key.pem"), Path("chain.pem"))


@pytest.mark.parametrize(
    "endpoint",
    [Endpoint("127.0.0.1:1"), Endpoint("localhost:1"), Endpoint("[::1]:1"), Endpoint("triton:1", TLS), Endpoint("triton:1", same_host=True)],
)
def test_raw_text_may_travel(endpoint: Endpoint) -> None:
    endpoint.require_raw("pii_tagger")


@pytest.mark.parametrize("url", ["triton:8001", "10.0.0.5:8001", "127.0.0.1.example.org:8001", "8001"])
def test_raw_text_may_not_travel(url: str) -> None:
    with pytest.raises(ConfigError, match=r"pii_tagger reads raw text.*models\.tls"):
        Endpoint(url).require_raw("pii_tagger")
