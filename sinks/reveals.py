"""Reading back what a token or a ciphertext stands for: asked for a purpose, recorded before anything is read, and once more before it is shown.

1. ``vault.ask`` records who asks for what, and is committed; without that the database answers nothing.
2. ``vault.answer`` gives what lies behind a token, sealed twice; it is opened here, in memory. A ciphertext is opened without the database.
3. ``vault.told`` records what came of it; only then is the value given.

A role needs USAGE on the schema ``vault`` and EXECUTE on these three functions, nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final, LiteralString

import psycopg

from governance.key_ring import KeyRing
from governance.policy import Policy
from governance.purposes import PURPOSE_NAME
from operators.pii.seal import Sealer, sealed_letters
from schemas.errors import ConfigError, FatalError, SealBroken
from sinks.errors import SinkError, postgres_failure
from sinks.person_keys import NOBODY, Connection, PersonKey, PersonKeys, mark_of
from sinks.vault import vault_context

_WHERE: Final = "headrace reveal"
_FORM: Final = re.compile(r"<([A-Z][A-Z0-9_]*):(?:t:([a-p]{6}):[a-p]{24}|e:([a-p]{6}):((?:[a-p]{32})+))>")
#: Of a ciphertext, what its record names: the synthetic nonce, which tells it from every other.
_NONCE_CHARS: Final = 32


class Result(StrEnum):
    """What came of a request."""

    REVEALED = "revealed"
    ERASED = "erased"  # the person was erased: the key is gone, and nobody can read the value any more
    UNKNOWN = "unknown"  # no such token in this vault
    UNREADABLE = "unreadable"  # a key is not in the ring, or what is stored was changed
    REFUSED = "refused"  # policy does not list the purpose, or not for this entity


@dataclass(frozen=True, slots=True)
class Sealed:
    """A token or a ciphertext, as it stands in a masked text.

    Attributes:
        text: The whole of it.
        entity: What it stands for.
        kid: Id of the key that sealed the value.
        letters: The ciphertext; None for a token, whose ciphertext lies in the vault.
    """

    text: str
    entity: str
    kid: str
    letters: str | None

    @property
    def recorded(self) -> str:
        """Gives what stands in the record of reveals: a token whole, of a ciphertext what identifies it."""
        return self.text if self.letters is None else f"<{self.entity}:e:{self.kid}:{self.letters[:_NONCE_CHARS]}>"


@dataclass(frozen=True, slots=True)
class Revealed:
    """The answer to one request.

    Attributes:
        sealed: What was asked for.
        result: What came of it.
        value: The raw value, where it was revealed; never to be logged.
        advice: What to do about it, where there is no value.
        person_mark: What stands for the person in the audit log, where one is known and not erased.
    """

    sealed: Sealed
    result: Result
    value: str | None = field(default=None, repr=False)
    advice: str = ""
    person_mark: str | None = None


def parse_sealed(texts: Sequence[str]) -> tuple[Sealed, ...]:
    """Gives what the arguments of a command line name.

    Raises:
        ConfigError: One is neither a token nor a ciphertext; told by its place, for it may be a raw value.
    """
    found, problems = [], []
    for number, text in enumerate(texts, 1):
        match = _FORM.fullmatch(text.strip())
        if match is None:
            problems.append(
                f"token {number} of {len(texts)}: must be <ENTITY:t:...> or <ENTITY:e:...> as it stands in a masked text, in quotes; "
                f"came {len(text)} other characters"
            )
        else:
            entity, token_kid, sealed_kid, letters = match.groups()
            found.append(Sealed(match.group(), entity, token_kid or sealed_kid, letters))
    if problems:
        raise ConfigError(*problems)
    return tuple(found)


class Reveals:
    """Reveals values on one connection.

    Args:
        connection: In autocommit, of a role that may ask.
        ring: The key ring that sealed the values.
        policy: Lists the purposes.

    Raises:
        ConfigError: The ring has no key that seals, or none that wraps.
    """

    def __init__(self, connection: Connection, ring: KeyRing, policy: Policy) -> None:
        self._connection = connection
        self._sealer = Sealer(ring)
        self._persons = PersonKeys(ring)
        self._policy = policy

    def reveal(self, sealed: Sealed, purpose: str, os_user: str) -> Revealed:
        """Gives what a token or ciphertext stands for, after all of it is on record.

        Raises:
            RetryableError: The database is away; nothing was revealed.
            FatalError: The role may not ask, or the record cannot be written; nothing was revealed.
        """
        failure: SinkError | None = None
        try:
            return self._recorded(sealed, purpose, os_user)
        except psycopg.Error as error:
            failure = postgres_failure(error, _WHERE)
        raise failure

    def _recorded(self, sealed: Sealed, purpose: str, os_user: str) -> Revealed:
        policy = self._policy
        # A purpose that has not even the shape of one may be anything, a raw value too.
        named = purpose if PURPOSE_NAME.fullmatch(purpose) else "(not a name)"
        (request,) = self._row("SELECT vault.ask(%s, %s, %s, %s, %s)", (os_user, sealed.recorded, named, policy.id, policy.version))
        revealed = self._answer(sealed, purpose, request)
        self._row("SELECT vault.told(%s, %s, %s)", (request, revealed.result, revealed.person_mark))
        return revealed

    def _answer(self, sealed: Sealed, purpose: str, request: int) -> Revealed:
        listed = next((one for one in self._policy.purposes if one.name == purpose), None)
        if listed is None:
            names = ", ".join(one.name for one in self._policy.purposes) or "none"
            return Revealed(sealed, Result.REFUSED, advice=f"the policy does not list this purpose; listed are: {names} (purposes)")
        if not listed.covers(sealed.entity):
            return Revealed(sealed, Result.REFUSED, advice=f"the policy does not allow {sealed.entity} to be revealed for this purpose")
        try:
            return self._from_vault(sealed, request) if sealed.letters is None else self._opened(sealed, sealed.kid, sealed.letters)
        except SealBroken as broken:
            return Revealed(sealed, Result.UNREADABLE, advice=str(broken))

    def _opened(self, sealed: Sealed, kid: str, letters: str) -> Revealed:
        return Revealed(sealed, Result.REVEALED, self._sealer.opened(sealed.entity, kid, letters))

    def _from_vault(self, sealed: Sealed, request: int) -> Revealed:
        rows = self._connection.execute("SELECT person, seal_kid, ciphertext, wrap_kid, wrapped FROM vault.answer(%s)", (request,)).fetchall()
        held = [row for row in rows if row[2] is not None and row[4] is not None]
        for person, kid, ciphertext, wrap_kid, wrapped in held:
            key: PersonKey = self._persons.unwrapped(person, wrap_kid, bytes(wrapped))
            inner = key.opened(bytes(ciphertext), vault_context(sealed.text, person))
            mark = None if person == NOBODY else mark_of(person, key.secret)
            return replace(self._opened(sealed, kid, sealed_letters(inner)), person_mark=mark)
        if rows:
            return Revealed(sealed, Result.ERASED, advice="the person was erased; the value can be read by nobody any more")
        return Revealed(sealed, Result.UNKNOWN, advice="this vault holds no such token; it may be of another deployment, or past its retention")

    def _row(self, statement: LiteralString, values: tuple[Any, ...]) -> tuple[Any, ...]:
        row: tuple[Any, ...] | None = self._connection.execute(statement, values).fetchone()
        if row is None:
            raise FatalError(f"{_WHERE}: the database gave no answer; nothing was revealed: run `headrace migrate`")
        return row
