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
        entities: Entity by name of the key.
    """

    def __init__(self, entities: Mapping[str, str]) -> None:
        self._entities = {_normal(name): entity for name, entity in entities.items()}

    def entity(self, key: str) -> str | None:
        """The entity of the values under a key, or None."""
        return self._entities.get(_normal(key))


def _normal(key: str) -> str:
    return key.translate(_IGNORED).lower()
