"""Tokens from Kafka to the vault and back: a run that is killed, `headrace reveal` and `headrace erase` as commands, no value in the clear."""

from __future__ import annotations

import json
import re
import signal
from importlib import resources

import psycopg
import pytest
from psycopg import sql

from streams.fleet.record import PASSED, FleetRecord
from tests.fixtures.deployment import Deployment

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

BASE = 1_700_000_000_000
PEOPLE = 4
_TOKEN = re.compile(r"<EMAIL_ADDRESS:t:[a-p]{6}:[a-p]{24}>")


def address(person: int) -> str:
    return f"mia.li{person}@example.com"


def records() -> list[FleetRecord]:
    """Gives events of four people, each of whom writes an address of their own again and again."""
    found = []
    for number in range(60):
        person = number % PEOPLE
        value = {
            "event_id": f"e{number}",
            "event_type": "agent.executed",
            "timestamp": BASE + number,
            "agent_id": f"agent-{number % 3}",
            "user_id": f"person-{person}",
            "input_data": f"please write to {address(person)}",
        }
        found.append(FleetRecord("agent_events", b"a", json.dumps(value).encode(), number, BASE + number, PASSED, partition=number % 4))
    return found


@pytest.fixture
def sealing(deployment: Deployment) -> Deployment:
    """A deployment whose policy tokenises addresses, with a key ring of its own."""
    text = (resources.files("governance") / "policies/default.yaml").read_text(encoding="utf-8")
    text = text.replace("    EMAIL_ADDRESS: mask\n", "    EMAIL_ADDRESS: tokenise\n", 1)
    policy = deployment.folder / "policy.yaml"
    policy.write_text(text + "\npurposes:\n  support_case:\n    description: Answer a person who has written to us.\n")
    deployment.settings = {
        "pipeline": {"policy": str(policy)},
        "source": {"batch_rows_max": 10, "linger_ms": 5},
        "privacy": {"keys_file": str(deployment.folder / "keys")},
    }
    made = deployment.headrace("keys", "new")
    assert made.returncode == 0, made.stderr
    return deployment


def tokens(deployment: Deployment) -> dict[str, str]:
    """Gives the token by the person whose events it stands in."""
    found: dict[str, set[str]] = {}
    for event in deployment.topic("enriched_events"):
        found.setdefault(event["user_id"], set()).update(_TOKEN.findall(event["input"]))
    assert all(len(of_person) == 1 for of_person in found.values()), "equal values have one token"
    return {person: of_person.pop() for person, of_person in found.items()}


def stored(deployment: Deployment) -> bytes:
    """Gives all that the database holds, schema vault included, as text and as hexadecimal."""
    parts = []
    with psycopg.connect(deployment.dsn) as connection:
        named = connection.execute("SELECT schemaname, tablename FROM pg_tables WHERE schemaname IN ('public', 'vault')").fetchall()
        for schema, table in named:
            rows = connection.execute(sql.SQL("SELECT t::text FROM {} t").format(sql.Identifier(schema, table)))
            parts += [row[0].encode() for row in rows]
    return b"\n".join(parts)


@pytest.mark.slow
def test_tokens_are_written_once_revealed_on_record_and_shredded_with_their_person(sealing: Deployment) -> None:
    sealing.publish(records())
    died = sealing.headrace("run", failpoint="after_commit:3")
    assert died.returncode == -signal.SIGKILL, died.stderr[-2000:]
    done = sealing.headrace("run", "--until-end")
    assert done.returncode == 0, done.stderr[-3000:]
    of_person = tokens(sealing)
    assert len(of_person) == PEOPLE
    rows = sealing.table("vault.tokens", ["token", "person"])
    assert sorted(rows) == sorted((token, person) for person, token in of_person.items()), "a replay adds no row"

    said = [died.stdout, died.stderr, done.stdout, done.stderr, *(json.dumps(row, default=str) for row in sealing.topic("enriched_events"))]
    held = "\n".join(said).encode() + stored(sealing) + b"".join(p.read_bytes() for p in sealing.recovery.rglob("*") if p.is_file())
    for person in range(PEOPLE):
        for writing in (address(person), address(person).encode().hex()):
            assert writing.encode() not in held

    shown = {}
    for person, token in of_person.items():
        revealed = sealing.headrace("reveal", token, "--purpose", "support_case")
        assert revealed.returncode == 0, revealed.stderr
        shown[person] = next(word.strip('"') for word in revealed.stdout.split() if "@" in word)
        assert shown[person] not in revealed.stderr
    assert sorted(shown.values()) == [address(person) for person in range(PEOPLE)]
    refused = sealing.headrace("reveal", next(iter(of_person.values())), "--purpose", "curiosity")
    assert refused.returncode != 0
    assert not any(value in refused.stdout + refused.stderr for value in shown.values())
    results = [row[0] for row in sealing.table("vault.reveal_results", ["result"])]
    assert sorted(results) == ["refused", *["revealed"] * PEOPLE]

    erased = sealing.headrace("erase", "--user", "person-2")
    assert erased.returncode == 0, erased.stderr
    gone = next(person for person, value in shown.items() if value == address(2))
    left = {token: (person, is_empty) for token, person, is_empty in sealing.table("vault.tokens", ["token", "person", "ciphertext IS NULL"])}
    assert left == {token: ("erased", True) if person == gone else (person, False) for person, token in of_person.items()}
    after = sealing.headrace("reveal", of_person[gone], "--purpose", "support_case")
    assert after.returncode != 0
    assert "erased" in after.stdout + after.stderr
    assert address(2) not in after.stdout + after.stderr
    other = next(person for person in of_person if person != gone)
    assert shown[other] in sealing.headrace("reveal", of_person[other], "--purpose", "support_case").stdout


def test_a_policy_that_tokenises_does_not_start_without_its_keys(sealing: Deployment) -> None:
    (sealing.folder / "keys").unlink()
    refused = sealing.headrace("run", "--until-end")
    assert refused.returncode == 2
    assert "keys" in refused.stderr
