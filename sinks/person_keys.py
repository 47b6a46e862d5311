"""Data keys of persons in PostgreSQL: what is sealed or hashed under one is gone for good when the key is destroyed.

A person is known by the keyed hash that stands for the user id (``u_...``). Each has a random key of 32 bytes that exists in
``vault.person_keys`` only, wrapped (AES-256-GCM) under the ring's key of the use ``wrap``. Who destroys it shreds every ciphertext and every HMAC
made with it, wherever copies of them lie. A destroyed key leaves a mark, so that a replay of old events makes no new key for an erased person.

The caller brings a connection; everything happens in the caller's transaction.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from governance.key_ring import KEY_BYTES, Key, KeyRing, KeyUse
from schemas.errors import FatalError, SealBroken

#: Stands for the person of a value that came without a user id.
NOBODY: Final = "nobody"

_NONCE_BYTES: Final = 12
Connection = psycopg.Connection[Any]


def mark_of(person: str, key: bytes) -> str:
    """Gives what stands for a person in the audit log: 32 hex digits of an HMAC under the person's own key."""
    return hmac.digest(key, b"headrace audit person " + person.encode(), "sha256").hex()[:32]


@dataclass(frozen=True, slots=True)
class PersonKey:
    """The key of one person; not to be kept longer than a write takes.

    Attributes:
        person: Keyed hash of the user id.
        secret: 32 bytes.
    """

    person: str
    secret: bytes = field(repr=False)

    def seal(self, plain: bytes, context: bytes) -> bytes:
        """Encrypts and authenticates (AES-256-GCM, a random nonce before the ciphertext); ``context`` is what must be the same at opening."""
        return _sealed(self._subkey(b"seal"), plain, context)

    def opened(self, sealed: bytes, context: bytes) -> bytes:
        """Gives what was sealed.

        Raises:
            SealBroken: It was changed, or sealed under another key or context.
        """
        return _opened(self._subkey(b"seal"), sealed, context, "a value of the vault")

    def mac(self, purpose: str, message: bytes) -> bytes:
        """Gives the HMAC-SHA256 of a message; other purposes give unrelated values."""
        return hmac.digest(self._subkey(b"mac " + purpose.encode()), message, "sha256")

    def _subkey(self, name: bytes) -> bytes:
        return hmac.digest(self.secret, b"headrace person " + name, "sha256")


class PersonKeys:
    """The keys of persons, wrapped under a key ring.

    Args:
        ring: Its active ``wrap`` key wraps new keys; older ones open old keys.

    Raises:
        ConfigError: The ring has no such key.
    """

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring
        self._active = ring.require(KeyUse.WRAP, "the vault of personal values")

    def of(self, connection: Connection, persons: Collection[str]) -> Mapping[str, PersonKey | None]:
        """Gives the key of each person, made now where there is none; None for a person who was erased.

        Writers of the same persons at the same time end up with one key each.

        Raises:
            FatalError: A key was wrapped under a key that is no longer in the ring.
        """
        wanted = sorted(set(persons))
        known = self.known(connection, wanted)
        new = [person for person in wanted if person not in known]
        if not new:
            return known
        # In one order, so that two writers wait for one another instead of deadlocking.
        wrapped = [_wrapped(self._active, person, os.urandom(KEY_BYTES)) for person in new]
        connection.execute(
            "INSERT INTO vault.person_keys (person, kid, wrapped) SELECT * FROM unnest(%s::text[], %s::text[], %s::bytea[]) ON CONFLICT DO NOTHING",
            (new, [self._active.kid] * len(new), wrapped),
        )
        return {**known, **self.known(connection, new)}

    def known(self, connection: Connection, persons: Collection[str]) -> Mapping[str, PersonKey | None]:
        """Gives the keys that are there, None for a person who was erased; persons without a key are absent.

        Raises:
            FatalError: A key was wrapped under a key that is no longer in the ring.
        """
        rows = connection.execute("SELECT person, kid, wrapped FROM vault.person_keys WHERE person = ANY(%s)", (sorted(set(persons)),))
        return {person: None if wrapped is None else self.unwrapped(person, kid, bytes(wrapped)) for person, kid, wrapped in rows}

    def destroy(self, connection: Connection, persons: Collection[str]) -> int:
        """Destroys the keys of persons for ever, and gives how many there were. A person without a key gets none later either.

        The mark that is left holds the person's keyed hash and the time, nothing else. Old versions of the row go with the next vacuum; copies in
        write-ahead logs and backups stay wrapped, and go with the ``wrap`` key (``rewrap``, then drop the old key from the ring).
        """
        return destroy_keys(connection, persons)

    def rewrap(self, connection: Connection) -> int:
        """Wraps every key that an older ``wrap`` key holds under the active one, and gives how many; the old key can then leave the ring.

        Raises:
            FatalError: A key was wrapped under a key that is no longer in the ring.
        """
        rows = connection.execute(
            "SELECT person, kid, wrapped FROM vault.person_keys WHERE wrapped IS NOT NULL AND kid <> %s ORDER BY person FOR UPDATE",
            (self._active.kid,),
        ).fetchall()
        keys = [self.unwrapped(person, kid, bytes(wrapped)) for person, kid, wrapped in rows]
        connection.execute(
            "UPDATE vault.person_keys AS kept SET kid = %s, wrapped = new.wrapped "
            "FROM unnest(%s::text[], %s::bytea[]) AS new (person, wrapped) WHERE kept.person = new.person",
            (self._active.kid, [key.person for key in keys], [_wrapped(self._active, key.person, key.secret) for key in keys]),
        )
        return len(keys)

    def unwrapped(self, person: str, kid: str, wrapped: bytes) -> PersonKey:
        key = self._ring.key(KeyUse.WRAP, kid)
        if key is None:
            raise FatalError(f"vault.person_keys: a key is wrapped under {kid}, which is not in the key ring; put that line back into the key file")
        return PersonKey(person, _opened(key.secret, wrapped, _wrap_context(kid, person), "vault.person_keys: a wrapped key"))


def destroy_keys(connection: Connection, persons: Collection[str]) -> int:
    """Destroys the keys of persons, as ``PersonKeys.destroy`` says; needs no key ring."""
    named = sorted(set(persons))
    held = connection.execute("SELECT count(*) FROM vault.person_keys WHERE person = ANY(%s) AND wrapped IS NOT NULL", (named,)).fetchone()
    connection.execute(
        "INSERT INTO vault.person_keys AS kept (person, destroyed_at) SELECT person, now() FROM unnest(%s::text[]) AS person "
        "ON CONFLICT (person) DO UPDATE SET kid = NULL, wrapped = NULL, destroyed_at = now() WHERE kept.wrapped IS NOT NULL",
        (named,),
    )
    return 0 if held is None else int(held[0])


def _wrap_context(kid: str, person: str) -> bytes:
    return f"headrace person key\0{kid}\0{person}".encode()


def _wrapped(key: Key, person: str, secret: bytes) -> bytes:
    return _sealed(key.secret, secret, _wrap_context(key.kid, person))


def _sealed(secret: bytes, plain: bytes, context: bytes) -> bytes:
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + AESGCM(secret).encrypt(nonce, plain, context)


def _opened(secret: bytes, sealed: bytes, context: bytes, what: str) -> bytes:
    try:
        return AESGCM(secret).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], context)
    except (InvalidTag, ValueError):
        pass
    raise SealBroken(f"{what} does not open: it was changed, or was made with another key; restore the row or the key file")
