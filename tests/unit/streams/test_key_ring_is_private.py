"""Key rings on disk and in the configuration: private, written whole, never repeated; and what a policy that seals needs before the first record."""

from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from governance.data_classes import Handling
from governance.key_ring import NO_KEYS, KeyRing, KeyUse
from governance.parse import default_policy
from governance.policy import Policy
from schemas.errors import ConfigError
from streams.cli.keys import keys_app
from streams.config import Config, load_config, load_hash_key, load_key_ring
from streams.key_ring import read_key_ring, with_new_key, write_key_ring
from streams.recovery import Begin, Fingerprint, RecoveryDirectory
from streams.vault import check_vault, keys_in_use, vault_problems, vault_sink

RUN = CliRunner()


def ring_of(*uses: KeyUse) -> KeyRing:
    ring = NO_KEYS
    for use in uses:
        ring, _ = with_new_key(ring, use)
    return ring


def keys(folder: Path, *arguments: str) -> str:
    done = RUN.invoke(keys_app, [*arguments, "--file", str(folder / "keys")], catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


def policy_that(handling: Handling) -> Policy:
    policy = default_policy()
    return replace(policy, pii=replace(policy.pii, entities=(*policy.pii.entities, ("EMAIL_ADDRESS", handling))))


def test_commands_make_list_and_rotate_keys_and_show_ids_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shown = keys(tmp_path, "new")
    made = read_key_ring(tmp_path / "keys")
    assert [key.use for key in made.keys] == [KeyUse.HASH, KeyUse.SEAL, KeyUse.WRAP]
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o600
    assert "has a key of every use" in keys(tmp_path, "new")
    shown += keys(tmp_path, "rotate", "seal")
    rotated = read_key_ring(tmp_path / "keys")
    assert rotated.keys[:3] == made.keys
    assert len(rotated.of(KeyUse.SEAL)) == 2
    listed = keys(tmp_path, "list")
    assert [line.split()[1:] for line in listed.splitlines()] == [
        [key.kid, *(["active"] if rotated.active(key.use) == key else ["for", "reading"])] for key in rotated.keys
    ]
    assert len({key.kid for key in rotated.keys}) == 4
    for key in rotated.keys:
        assert key.kid in shown
        assert key.secret.hex() not in shown + listed
    assert [path.name for path in tmp_path.iterdir()] == ["keys"]


def test_identifiers_keep_a_lone_hash_key_until_it_is_rotated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HEADRACE_PRIVACY__HASH_KEY", "k" * 32)
    keys(tmp_path, "new")
    config = load_config(environ={"HEADRACE_PRIVACY__HASH_KEY": "k" * 32, "HEADRACE_PRIVACY__KEYS_FILE": "keys"})
    assert load_hash_key(config) == b"k" * 32
    keys(tmp_path, "rotate", "hash")
    with pytest.raises(ConfigError, match="remove one of the two"):
        load_hash_key(config)
    alone = load_config(environ={"HEADRACE_PRIVACY__KEYS_FILE": "keys"})
    active = load_key_ring(alone).active(KeyUse.HASH)
    assert active is not None
    assert load_hash_key(alone) == active.secret


def test_a_key_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    with pytest.raises(ConfigError, match="headrace keys new --file"):
        read_key_ring(path)
    write_key_ring(path, ring_of(KeyUse.SEAL))
    path.chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        read_key_ring(path)


def test_keys_come_from_the_environment_and_may_not_stand_in_the_file(tmp_path: Path) -> None:
    ring = ring_of(KeyUse.HASH, KeyUse.SEAL)
    lines = ";".join(key.line for key in ring.keys)
    config = load_config(environ={"HEADRACE_PRIVACY__KEYS": lines})
    assert load_key_ring(config) == ring
    assert ring.keys[0].secret.hex() not in repr(config)
    (tmp_path / "h.yaml").write_text(f"privacy:\n  keys: '{lines}'\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"privacy.keys is a secret in the clear") as told:
        load_config(tmp_path / "h.yaml", environ={})
    assert ring.keys[0].secret.hex() not in str(told.value)


def config_with(folder: Path, ring: KeyRing, **sections: object) -> Config:
    write_key_ring(folder / "keys", ring)
    return Config.model_validate({"privacy": {"keys_file": folder / "keys"}, **sections})


DATABASE = {"timescale": {"dsn": "postgresql://headrace@127.0.0.1/headrace"}}
WHOLE = (KeyUse.HASH, KeyUse.SEAL, KeyUse.WRAP)


def test_a_policy_that_tokenises_without_database_or_keys_is_refused_with_every_problem(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as told:
        vault_sink(config_with(tmp_path, NO_KEYS), policy_that(Handling.TOKENISE))
    assert [problem.partition(":")[0] for problem in told.value.problems] == ["privacy.keys_file", "privacy.keys_file", "timescale"]
    with pytest.raises(ConfigError, match="a run over a file has no vault"):
        check_vault(config_with(tmp_path, ring_of(*WHOLE), **DATABASE), policy_that(Handling.TOKENISE), to_files=True)


def test_there_is_a_vault_where_there_are_a_database_and_a_key_for_it(tmp_path: Path) -> None:
    whole = config_with(tmp_path, ring_of(*WHOLE), **DATABASE)
    made = vault_sink(whole, policy_that(Handling.TOKENISE))
    assert made is not None
    assert made.name == "vault"
    assert vault_sink(whole, default_policy()) is not None  # another policy may take over while it runs
    assert vault_sink(config_with(tmp_path, ring_of(KeyUse.SEAL), **DATABASE), policy_that(Handling.ENCRYPT)) is None
    assert vault_sink(Config(), default_policy()) is None
    assert vault_problems(Config(), policy_that(Handling.ENCRYPT)) == [
        "privacy.keys_file: the policy encrypts or tokenises, and the key ring has no key of the use 'seal'; make one with: headrace keys new"
    ]
    assert vault_problems(config_with(tmp_path, ring_of(KeyUse.SEAL)), policy_that(Handling.ENCRYPT), to_files=True) == []


def test_other_keys_are_accepted_after_an_orderly_stop_only(tmp_path: Path) -> None:
    ring = ring_of(*WHOLE)
    before = keys_in_use(config_with(tmp_path, ring))
    rotated, _ = with_new_key(ring, KeyUse.SEAL)
    after = keys_in_use(config_with(tmp_path, rotated))
    assert before != after
    assert keys_in_use(config_with(tmp_path, with_new_key(ring, KeyUse.WRAP)[0])) == before
    lone = [keys_in_use(Config.model_validate({"privacy": {"hash_key": letter * 32}})) for letter in "aab"]
    assert lone[0] == lone[1] != lone[2]
    then, now = (Fingerprint("p", 1, 1, {}, {}, "policy", keys=in_use) for in_use in (before, after))
    with RecoveryDirectory(tmp_path / "recovery") as recovery:
        recovery.record_begin(Begin(then, {}, {}))
        recovery.check(then)
        with pytest.raises(ConfigError, match="the keys of hashes and sealed values changed"):
            recovery.check(now)
        recovery.mark_clean()
        recovery.check(now)
        recovery.record_begin(Begin(replace(then, keys=""), {}, {}))  # of a version before keys had ids
        recovery.mark_running()
        recovery.check(now)
