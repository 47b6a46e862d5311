"""Personal values by number: each number gives another value of an entity, with check digits that are right."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from types import MappingProxyType
from typing import Final

from tests.corpora.secret_formats import SHAPES

_BASE58: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_STATES: Final = ("TX", "CA", "NY", "WA", "FL", "OH", "PA", "IL")


def card(number: int) -> str:
    """Gives a card number with its check digit."""
    digits = f"4539{number:011d}"
    total = sum(sum(divmod(2 * int(digit), 10)) if at % 2 == 0 else int(digit) for at, digit in enumerate(reversed(digits)))
    return digits + str(-total % 10)


def _wallet(number: int) -> str:
    body = b"\0" + hashlib.sha256(b"canary %d" % number).digest()[:20]
    whole = int.from_bytes(body + hashlib.sha256(hashlib.sha256(body).digest()).digest()[:4], "big")
    text = ""
    while whole:
        whole, digit = divmod(whole, 58)
        text = _BASE58[digit] + text
    return "1" + text


def _iban(number: int) -> str:
    account = f"{50_010_517 * 10**10 + number:018d}"
    return f"DE{98 - int(account + '131400') % 97:02d}{account}"


def _dea(number: int) -> str:
    digits = [int(digit) for digit in f"{100_000 + number:06d}"]
    return f"BK{''.join(map(str, digits))}{(digits[0] + digits[2] + digits[4] + 2 * (digits[1] + digits[3] + digits[5])) % 10}"


def _nhs(number: int) -> str:
    while True:  # a tenth of all numbers has no check digit
        digits = f"{400_000_000 + 11 * number:09d}"
        check = -sum(int(digit) * weight for digit, weight in zip(digits, range(10, 1, -1), strict=True)) % 11
        if check < 10:
            return f"{digits}{check}"
        number += 10_000_000


def _letters(number: int) -> str:
    """A word of six letters for a number."""
    word = ""
    for _ in range(6):
        number, digit = divmod(number, 16)
        word += "aeioubdgklmnprst"[digit]
    return word


#: By entity: what gives the value of a number, and how people write it, with ``@`` in its place.
ENTITIES: Final[Mapping[str, tuple[Callable[[int], str], str]]] = MappingProxyType(
    {
        "CARD_LAST_FOUR": (lambda n: f"ending in {n % 10_000:04d}", "the card @"),
        "CREDIT_CARD": (card, "my card is @"),
        "CRYPTO": (_wallet, "the wallet is @"),
        "DATE_TIME": (lambda n: (date(1900, 1, 1) + timedelta(n)).isoformat(), "born on @"),
        "EMAIL_ADDRESS": (lambda n: f"canary{n:06d}@mail.example.com", "please write to @"),
        "IBAN_CODE": (_iban, "the IBAN is @"),
        "IP_ADDRESS": (lambda n: f"181.{100 + n // 10_000}.{100 + n // 100 % 100}.{100 + n % 100}", "seen from @"),
        "LOCATION": (lambda n: f"{100 + n} {_letters(n).title()}dale Lane", "lives at @"),
        "MAC_ADDRESS": (lambda n: f"3c:5a:b4:{n >> 16 & 255:02x}:{n >> 8 & 255:02x}:{n & 255:02x}", "the device @"),
        "MEDICAL_LICENSE": (_dea, "DEA certificate @"),
        "PERSON": (lambda n: f"Mira Quill{_letters(n)}", "spoke to @"),
        "PHONE_NUMBER": (lambda n: f"+1415{2_010_000 + n * 7}", "call @"),
        "SECRET": (lambda n: SHAPES["GitHub personal access token"](random.Random(n)), "the token @"),
        "UK_NHS": (_nhs, "NHS number @"),
        "URL": (lambda n: f"https://canary{n:06d}.example.com/profile", "see @"),
        "US_BANK_NUMBER": (lambda n: f"{830_000_000_000 + 7 * n}", "bank account number @"),
        "US_DRIVER_LICENSE": (lambda n: f"S{7_100_000 + n}", "driver license @"),
        "US_ITIN": (lambda n: f"9{n // 10_000 % 50 + 10}-{70 + n % 19}-{1_000 + n % 9_000}", "ITIN @"),
        "US_PASSPORT": (lambda n: f"K{57_000_000 + 13 * n}", "US passport number @"),
        "US_SSN": (lambda n: f"{301 + n // 10_000 % 300}-{11 + n % 80}-{1_000 + n % 9_000}", "SSN @"),
        "US_ZIP": (lambda n: f"{_STATES[n % 8]} {70_000 + n // 8}", "the address is Austin, @"),
    }
)
