"""The vault as the configuration and the policy want it: its sink, the keys of persons, and what is missing for either."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b

from governance.key_ring import KeyRing, KeyUse
from governance.policy import Policy
from schemas.errors import ConfigError
from sinks.contract import Sink
from sinks.person_key_store import PersonKeyStore
from sinks.vault import VaultSink
from streams.config import Config, load_hash_key, load_key_ring


def vault_problems(config: Config, policy: Policy, *, to_files: bool = False) -> list[str]:
    """Gives what is missing for the policy's handlings ``encrypt`` and ``tokenise``, each as a sentence with its fix.

    Args:
        config: The configuration.
        policy: The policy.
        to_files: Whether outputs go to files: a run over a file has no vault.

    Raises:
        ConfigError: The key ring cannot be read.
    """
    if not policy.pii.seals:
        return []
    ring = load_key_ring(config)
    problems = [_missing(ring, KeyUse.SEAL, "encrypts or tokenises")]
    if policy.pii.tokenises:
        problems.append(_missing(ring, KeyUse.WRAP, "tokenises"))
        if to_files:
            problems.append("pii.entities: the policy tokenises, and a run over a file has no vault; run it on Kafka, or encrypt instead")
        elif config.timescale is None:
            problems.append("timescale: the section is absent, and the policy tokenises, for which the vault lies in PostgreSQL; add timescale.dsn")
    return [problem for problem in problems if problem is not None]


def _missing(ring: KeyRing, use: KeyUse, does: str) -> str | None:
    if ring.active(use) is not None:
        return None
    return f"privacy.keys_file: the policy {does}, and the key ring has no key of the use '{use}'; make one with: headrace keys new"


def check_vault(config: Config, policy: Policy, *, to_files: bool = False) -> None:
    """Refuses a policy whose vault or keys are missing.

    Raises:
        ConfigError: With every problem, before the first record.
    """
    problems = vault_problems(config, policy, to_files=to_files)
    if problems:
        raise ConfigError(*problems)


def vault_sink(config: Config, policy: Policy) -> Sink | None:
    """Gives the sink of what tokens stand for, wherever there are a database and a key for it: a policy that tokenises may take over at any time.

    Raises:
        ConfigError: The database or a key is missing.
    """
    check_vault(config, policy)
    ring = load_key_ring(config)
    if config.timescale is None or ring.active(KeyUse.WRAP) is None:
        return None
    return VaultSink(config.timescale.dsn.get_secret_value(), ring)


@contextmanager
def person_keys(config: Config) -> Iterator[PersonKeyStore | None]:
    """Within the body: the keys of persons; None where there is no database, or no key to wrap them with."""
    ring = load_key_ring(config)
    if config.timescale is None or ring.active(KeyUse.WRAP) is None:
        yield None
        return
    store = PersonKeyStore(config.timescale.dsn.get_secret_value(), ring)
    try:
        yield store
    finally:
        store.close()


def keys_in_use(config: Config) -> str:
    """Gives what names the keys that values are hashed and sealed with: ids, and for a lone hash key a digest that says nothing of it."""
    ring = load_key_ring(config)
    active = [key for use in (KeyUse.HASH, KeyUse.SEAL) if (key := ring.active(use)) is not None]
    lone = "" if ring.active(KeyUse.HASH) is not None else blake2b(load_hash_key(config), digest_size=4, person=b"headrace-which").hexdigest()
    return " ".join([*(["hash " + lone] if lone else []), *(f"{key.use} {key.kid}" for key in active)])
