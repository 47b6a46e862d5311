"""The step ``mask`` under a policy that encrypts and tokenises: what stands in the texts, and what goes to the vault."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import polars as pl
import pytest

from governance.data_classes import Handling
from governance.key_ring import Key, KeyRing, KeyUse
from governance.parse import default_policy
from governance.policy import Policy
from operators.enrich import ENRICHED_COLUMNS, Enrich
from operators.pii.hashes import UserHash, person_hashes
from operators.pii.seal import Sealer
from operators.pii.step import Mask
from schemas.errors import ConfigError
from schemas.events import DECIDED, EVENT, INSPECTED, MASKED, ROW_WATERMARK
from schemas.vault import VAULT_ROW, VAULT_TOKENS
from streams.compiled import CompiledDirectory

HASH = Key(KeyUse.HASH, "aaaaah", bytes([1]) * 32)
RING = KeyRing((HASH, Key(KeyUse.SEAL, "aaaaal", bytes([2]) * 32)))
EMAIL, PHONE = "mia.li3818@example.com", "+1 512 555 0143"
EVENT_SCHEMA = pl.Schema({**EVENT, **ROW_WATERMARK})


def policy_with(**handlings: Handling) -> Policy:
    policy = default_policy()
    return replace(policy, pii=replace(policy.pii, entities=tuple({**dict(policy.pii.entities), **handlings}.items())))


POLICY = policy_with(EMAIL_ADDRESS=Handling.TOKENISE, PHONE_NUMBER=Handling.ENCRYPT, US_ZIP=Handling.HASH)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> CompiledDirectory:
    return CompiledDirectory(tmp_path_factory.mktemp("compiled"))


@pytest.fixture(scope="module")
def mask(store: CompiledDirectory) -> Mask:
    return Mask(POLICY, HASH.secret, store, RING)


def events(*inputs: Any, user_id: str | None = "mia_li_3668") -> pl.DataFrame:
    same = {"topic": "agent_events", "partition": 0, "kind": "agent", "event_type": "agent.executed", "agent_id": "planner", "value_bytes": 100}
    rows = [
        {**same, "offset": at, "event_id": f"e{at}", "event_time": 1_000 + at, "user_id": user_id, "input": json.dumps(content)}
        for at, content in enumerate(inputs)
    ]
    return pl.DataFrame(rows, schema=EVENT_SCHEMA)


def texts(batch: pl.DataFrame) -> list[Any]:
    return [json.loads(text) for text in batch["input"]]


def test_a_token_stands_in_the_text_and_its_value_goes_beside_it(mask: Mask) -> None:
    outcome = mask(events({"to": f"mail {EMAIL} or call {PHONE}", "zip": "78750"}))
    (text,) = texts(outcome.batch)
    (value,) = outcome.batch["sealed"][0]
    token = value["token"]
    assert text["to"].startswith(f"mail {token} or call <PHONE_NUMBER:e:aaaaal:")
    assert token.startswith("<EMAIL_ADDRESS:t:aaaaal:")
    assert text["zip"].startswith("<US_ZIP:aaaaah:")
    assert Sealer(RING).opened("EMAIL_ADDRESS", "aaaaal", value["sealed"]) == EMAIL
    assert value["person"] == UserHash(HASH.secret, "aaaaah").of("mia_li_3668") == outcome.batch["user_id"][0]
    encrypted = text["to"].rsplit(":", 1)[1].rstrip(">")
    assert Sealer(RING).opened("PHONE_NUMBER", "aaaaal", encrypted) == PHONE


def test_nothing_of_it_leaves_but_through_the_vault(mask: Mask) -> None:
    batch = mask(events({EMAIL: [EMAIL, {"x": json.dumps({EMAIL: 1})}]})).batch
    decided = batch.with_columns(pl.lit(None, dtype=dtype).alias(name) for name, dtype in {**INSPECTED, **DECIDED}.items())
    outputs = Enrich()(decided.with_columns(pl.lit("pass").alias("action"))).outputs
    assert "sealed" not in ENRICHED_COLUMNS
    assert outputs[VAULT_TOKENS].schema == VAULT_ROW
    (row,) = outputs[VAULT_TOKENS].rows(named=True)
    published = json.dumps(outputs["enriched_events"].to_dicts())
    assert row["token"] in published
    assert row["sealed"] not in published
    assert ":s:" not in published
    assert EMAIL not in published
    assert EMAIL not in str(outputs[VAULT_TOKENS].to_dicts())


def test_equal_values_share_a_token_whoever_sent_them_and_each_person_has_a_row(mask: Mask) -> None:
    batch = pl.concat(
        [mask(events(EMAIL, EMAIL)).batch, mask(events(f"again {EMAIL}", user_id="other")).batch, mask(events(EMAIL, user_id=None)).batch]
    )
    rows = [value for values in batch["sealed"] for value in values]
    assert len({(row["token"], row["sealed"]) for row in rows}) == 1
    assert [row["person"] for row in rows].count(None) == 1
    assert len({row["person"] for row in rows}) == 3


def test_a_user_id_that_policy_drops_still_names_the_person_to_the_vault(store: CompiledDirectory) -> None:
    policy = replace(POLICY, pii=replace(POLICY.pii, user_id=Handling.DROP))
    batch = Mask(policy, HASH.secret, store, RING)(events(EMAIL)).batch
    assert batch["user_id"][0] is None
    assert batch["sealed"][0][0]["person"] == UserHash(HASH.secret, "aaaaah").of("mia_li_3668")


def test_masking_the_same_again_gives_the_same_bytes_and_masking_the_masked_changes_nothing(mask: Mask, store: CompiledDirectory) -> None:
    raw = events({"to": f"{EMAIL} {PHONE}", EMAIL: "TX 78750"}, [EMAIL])
    once = mask(raw).batch
    assert Mask(POLICY, HASH.secret, store, RING)(raw).batch.equals(once)
    again = mask(once.select(EVENT_SCHEMA.names()[:-1]).with_columns(pl.lit(None, dtype=pl.Int64).alias("row_watermark"))).batch
    assert texts(again) == texts(once)
    assert again["sealed"].to_list() == [None, None]


def test_a_text_that_imitates_a_sealed_value_gets_no_token(mask: Mask) -> None:
    forged = f"<EMAIL_ADDRESS:s:aaaaal:{'abcdefghijklmnop' * 4}> <EMAIL_ADDRESS:s:ooooop:{'a' * 64}>"
    batch = mask(events(f"{forged} {EMAIL}")).batch
    (text,) = texts(batch)
    assert text.startswith(forged)
    assert [value["token"] for value in batch["sealed"][0]] == [text.removeprefix(forged).strip()]


def test_a_value_that_a_key_gives_away_is_sealed_whole(mask: Mask) -> None:
    batch = mask(events({"email": "not an address"})).batch
    (value,) = batch["sealed"][0]
    assert texts(batch) == [{"email": value["token"]}]
    assert Sealer(RING).opened("EMAIL_ADDRESS", "aaaaal", value["sealed"]) == "not an address"


def test_without_tokens_the_column_is_null(mask: Mask) -> None:
    batch = mask(events({"n": 1}, f"call {PHONE}")).batch
    assert batch["sealed"].to_list() == [None, None]
    assert batch.schema["sealed"] == MASKED["sealed"]


def test_a_policy_that_seals_needs_a_key_ring() -> None:
    with pytest.raises(ConfigError, match="make one with: headrace keys new"):
        Mask(POLICY, HASH.secret)


def test_a_lone_key_names_no_id_in_its_hashes() -> None:
    assert UserHash(HASH.secret).of("mia") == UserHash(HASH.secret, "aaaaah").of("mia").replace("u_aaaaah_", "u_")


def test_an_erasure_knows_every_hash_of_a_user_id() -> None:
    old = Key(KeyUse.HASH, "aaaaai", bytes([3]) * 32)
    ring = KeyRing((old, HASH))
    assert person_hashes("mia", ring, HASH.secret) == (UserHash(HASH.secret, "aaaaah").of("mia"), UserHash(old.secret, "aaaaai").of("mia"))
    assert person_hashes("mia", KeyRing(), b"a lone key of 16") == (UserHash(b"a lone key of 16").of("mia"),)
