"""A second look, just before a text leaves: it finds personal data that masking must have replaced.

It shares no code with the masker, so that one mistake does not pass both. It is strict: it knows four entities by forms that masking surely
knows, and what it names is personal data beyond doubt. It is no masker, for it knows far less; it is there to stop what a broken one lets out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import ClassVar, Final

import phonenumbers

#: Domains that end so are addresses of people and companies; ``user@host.internal`` is not for sure.
_ENDINGS: Final = "|".join(
    (
        *("com", "org", "net", "edu", "gov", "mil", "int", "info", "biz", "io", "co", "ai", "dev", "app", "me", "eu", "uk", "us", "ca", "mx", "br"),
        *("de", "fr", "nl", "es", "it", "pl", "ch", "at", "be", "se", "no", "dk", "fi", "ie", "pt", "cz", "gr", "hu", "ro", "ua", "tr", "ru"),
        *("cn", "jp", "kr", "in", "au", "nz", "za"),
    )
)
# Words end where Unicode says so, as they do for the masker; digits are the ten of ASCII.
_EMAIL: Final = re.compile(
    rf"(?<![\w.+@-])[A-Za-z0-9][A-Za-z0-9._+-]{{0,63}}@(?:[A-Za-z0-9-]{{1,63}}\.){{1,8}}(?:{_ENDINGS})(?![\w@-]|\.\w)", re.IGNORECASE
)
_CARD: Final = re.compile(r"(?<![\w.+-])(?:4[0-9]{3}|5[1-5][0-9]{2}|6011|65[0-9]{2})([ -]?)[0-9]{4}\1[0-9]{4}\1[0-9]{4}(?![\w-]|\.[0-9])")
_SSN: Final = re.compile(
    r"(?<![\w.-])(?!000|666|9|123-45-6789|078-05-1120)(?!([0-9])\1\1-\1\1-)[0-9]{3}-(?!00)[0-9]{2}-(?!0000)[0-9]{4}(?![\w-]|\.[0-9])"
)
_PHONE: Final = re.compile(
    r"(?<![\w.+:/=-])\+[1-9][0-9]{0,2}[ -]?(?:\([0-9]{1,4}\)[ -]?)?[0-9]{2,4}(?:[ -]?[0-9]{2,4}){1,4}(?![\w%-]|[.:/)] ?[0-9]| ?[(;#x0-9])"
)


def _luhn(number: str) -> bool:
    """Whether the check digit of a card number is right."""
    digits = [int(sign) for sign in number if sign.isdigit()]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def _is_phone(number: str) -> bool:
    """Whether an international number exists, by the plans of all countries."""
    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(number))
    except phonenumbers.NumberParseException:
        return False


def _surely(_: str) -> bool:
    return True


class LeakCheck:
    """Looks for entities that must have been masked.

    Args:
        masked: Entities that policy masks; of them, those it knows are looked for.

    Example:
        >>> check = LeakCheck(LeakCheck.ENTITIES)
        >>> check.first(["write to <EMAIL_ADDRESS>"]), check.first(["write to mia@example.com"])
        (None, 'EMAIL_ADDRESS')
    """

    _LOOKS: ClassVar[Mapping[str, tuple[str, re.Pattern[str], Callable[[str], bool]]]] = MappingProxyType(
        {
            "EMAIL_ADDRESS": ("@", _EMAIL, _surely),
            "CREDIT_CARD": ("", _CARD, _luhn),
            "US_SSN": ("-", _SSN, _surely),
            "PHONE_NUMBER": ("+", _PHONE, _is_phone),
        }
    )
    ENTITIES: ClassVar[frozenset[str]] = frozenset(_LOOKS)

    def __init__(self, masked: frozenset[str]) -> None:
        self._looks = [(entity, *look) for entity, look in self._LOOKS.items() if entity in masked]

    def first(self, texts: Iterable[str]) -> str | None:
        """Gives the entity of the first thing found in any of the texts, None where all are clean; never what was found."""
        for text in texts:
            for entity, sign, pattern, is_one in self._looks:
                if sign in text and any(is_one(match.group()) for match in pattern.finditer(text)):
                    return entity
        return None
