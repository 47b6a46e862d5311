"""`headrace doctor` advises against connections in the clear to other hosts, and is silent about this machine."""

from __future__ import annotations

from typing import Any

import pytest

from streams.cli.doctor import _in_the_clear
from streams.config import Config

VERIFIED = "postgresql://u@db.example.com/headrace?sslmode=verify-full"


@pytest.mark.parametrize(
    ("sections", "advised"),
    [
        ({"kafka": {"bootstrap": "broker:9092"}}, ["Kafka broker:9092"]),
        ({"kafka": {"bootstrap": "127.0.0.1:9092,localhost:9093"}}, []),
        ({"kafka": {"bootstrap": "broker:9092", "security": {"security.protocol": "SASL_PLAINTEXT"}}}, ["Kafka broker:9092"]),
        ({"kafka": {"bootstrap": "broker:9093", "security": {"security.protocol": "sasl_ssl"}}}, []),
        ({"timescale": {"dsn": "postgresql://u@db.example.com/headrace"}}, ["database"]),
        ({"timescale": {"dsn": "host=db.example.com sslmode=require"}}, ["database"]),
        ({"timescale": {"dsn": VERIFIED}}, []),
        ({"timescale": {"dsn": "postgresql://u@127.0.0.1/headrace"}}, []),
        ({"timescale": {"dsn": "host=/run/postgresql"}}, []),
        ({"qdrant": {"type": "server", "url": "http://qdrant:6333"}}, ["vectors qdrant"]),
        ({"qdrant": {"type": "server", "url": "https://qdrant:6333"}}, []),
        ({"qdrant": {"type": "server", "url": "http://127.0.0.1:6333"}}, []),
    ],
)
def test_what_crosses_hosts_in_the_clear_is_advised_against(sections: dict[str, Any], advised: list[str]) -> None:
    assert [finding.subject for finding in _in_the_clear(Config.model_validate(sections))] == advised
