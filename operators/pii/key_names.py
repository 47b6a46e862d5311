"""Keys whose values are personal data whatever they look like: no pattern knows a ZIP code by itself."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

#: Entity of the value by name of the key. Case, ``_``, ``-`` and spaces do not count: ``zipCode`` is ``zip_code``.
KEY_ENTITIES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "zip": "US_ZIP",
        "zip_code": "US_ZIP",
        "postal_code": "US_ZIP",
        "dob": "DATE_OF_BIRTH",
        "date_of_birth": "DATE_OF_BIRTH",
        "birth_date": "DATE_OF_BIRTH",
        "birthday": "DATE_OF_BIRTH",
        "email": "EMAIL_ADDRESS",
        "email_address": "EMAIL_ADDRESS",
        "phone": "PHONE_NUMBER",
        "phone_number": "PHONE_NUMBER",
        "ssn": "US_SSN",
        "social_security_number": "US_SSN",
        "password": "PASSWORD",
        "last_four": "CARD_LAST_FOUR",
        "card_number": "CREDIT_CARD",
        "address1": "STREET_ADDRESS",
        "address2": "STREET_ADDRESS",
        "street": "STREET_ADDRESS",
    }
)
_IGNORED: Final = str.maketrans("", "", "_- ")


class KeyNames:
    """Looks up keys.

    Args:
        entities: Entity by name of the key. ``address.city`` is the key ``city`` of an object under the key ``address``; ``address.*`` is every key
            below ``address``, at any depth, that has no entity of its own.

    Example:
        >>> keys = KeyNames({"zip": "US_ZIP", "address.*": "LOCATION"})
        >>> keys.entity("zipCode"), keys.entity("ZIP"), keys.below("Address"), keys.entity("city")
        (None, 'US_ZIP', 'LOCATION', None)
    """

    def __init__(self, entities: Mapping[str, str]) -> None:
        self._entities: dict[str, str] = {}
        self._within: dict[tuple[str, str], str] = {}
        self._below: dict[str, str] = {}
        for name, entity in entities.items():
            parent, _, key = name.rpartition(".")
            if not parent:
                self._entities[_normal(name)] = entity
            elif key == "*":
                self._below[_normal(parent)] = entity
            else:
                self._within[_normal(parent), _normal(key)] = entity
        self._telling = {*self._entities, *self._below, *(key for _, key in self._within)}

    def entity(self, key: str, parent: str = "") -> str | None:
        """The entity of the values under a key, or None.

        Args:
            key: The key.
            parent: The key under which its object stands; "" at the top.
        """
        name = _normal(key)
        if self._within and parent:
            entity = self._within.get((_normal(parent), name))
            if entity is not None:
                return entity
        return self._entities.get(name)

    def below(self, key: str) -> str | None:
        """The entity of all values below a key that have none of their own, or None."""
        return self._below.get(_normal(key)) if self._below else None

    def may_tell(self, key: str) -> bool:
        """Whether a value under or below the key can be personal by it."""
        return _normal(key) in self._telling


def _normal(key: str) -> str:
    return key.translate(_IGNORED).lower()
