"""Which regions could read a string of digits as a phone number: a superset, from the metadata of the installed phonenumbers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import hyperscan
import phonenumbers
from phonenumbers import phonenumberutil as _phonenumberutil
from phonenumbers.phonemetadata import PhoneMetadata as _PhoneMetadata

from schemas.errors import ConfigError

#: Its private parts are used, which its type stubs leave out.
phonenumberutil: Final[Any] = _phonenumberutil
PhoneMetadata: Final[Any] = _PhoneMetadata
_FLAGS: Final = hyperscan.HS_FLAG_SINGLEMATCH | hyperscan.HS_FLAG_ALLOWEMPTY
_KINDS: Final = (
    "fixed_line", "mobile", "toll_free", "premium_rate", "shared_cost", "personal_number", "voip", "pager", "uan", "voicemail",
)  # fmt: skip
#: Brazil: a carrier code and the number behind it. The transformed number is what the second group holds.
_BRAZIL_NUMBER_GROUP: Final = r"(\d{10,11}))?"


def _valid_for_country(country_code: int) -> str:
    """Alternatives of every national number that is valid in some region with the country code."""
    patterns: list[str] = []
    for region in phonenumbers.COUNTRY_CODE_TO_REGION_CODE[country_code]:
        metadata = PhoneMetadata.metadata_for_region(region, None)
        kinds = [getattr(metadata, kind) for kind in _KINDS]
        patterns += [kind.national_number_pattern for kind in kinds if kind is not None and kind.national_number_pattern]
    return "|".join(f"(?:{pattern})" for pattern in dict.fromkeys(patterns))


def _acceptable(region: str, metadata: Any) -> str:
    """Every digit string without a plus that ``phonenumbers`` could take for a valid number when called from the region."""
    prefix = metadata.national_prefix_for_parsing
    if metadata.national_prefix_transform_rule:
        if metadata.national_prefix_transform_rule != "\\2" or not prefix.endswith(_BRAZIL_NUMBER_GROUP):
            raise ConfigError(f"pii.phones: the installed phonenumbers transforms numbers of {region} in a way unknown here; pin 9.0.43")
        prefix = prefix.removesuffix(_BRAZIL_NUMBER_GROUP) + ")?"
    national = f"(?:{metadata.country_code})?(?:{prefix}){{0,2}}(?:{_valid_for_country(metadata.country_code)})"
    international = rf"(?:{metadata.international_prefix})[1-9]\d{{2,}}"
    return f"^(?:{national}|{international})$"


class DigitFilter:
    """Which of the regions could accept a string of digits.

    Args:
        regions: Region codes; bit ``n`` of a mask stands for region ``n``.
    """

    def __init__(self, regions: Sequence[str]) -> None:
        metadata = [PhoneMetadata.metadata_for_region(region, None) for region in regions]
        self.everywhere = (1 << len(regions)) - 1
        self._database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
        self._database.compile(
            expressions=[_acceptable(region, m).encode() for region, m in zip(regions, metadata, strict=True)],
            ids=list(range(len(regions))),
            elements=len(regions),
            flags=[_FLAGS] * len(regions),
        )
        # What decides whether a national prefix is required is the format of the main region of the country code (GB for Jersey, US for Canada).
        mains = [PhoneMetadata.metadata_for_region(phonenumbers.region_code_for_country_code(m.country_code), None) for m in metadata]
        self._formats = [main.number_format for main in mains]
        self._country_codes = [str(m.country_code) for m in metadata]
        self._national = [re.compile(m.national_prefix_for_parsing).match for m in metadata]
        self._international = [re.compile(m.international_prefix).match for m in metadata]

    def regions(self, digits: str) -> int:
        """Mask of the regions that could accept the digits.

        Args:
            digits: ASCII digits; a ``+`` anywhere means that any region could, given three digits.
        """
        if "+" in digits:
            return self.everywhere if len(digits) > 3 else 0
        hits: list[int] = []
        self._database.scan(digits.encode(), match_event_handler=lambda index, start, end, flags, context: hits.append(index))
        mask = 0
        for index in hits:
            if not self._lacks_prefix(index, digits):
                mask |= 1 << index
        return mask

    def _lacks_prefix(self, index: int, digits: str) -> bool:
        """Whether the number must be written with a national prefix in that region, has none, and cannot be read as international."""
        if digits.startswith(self._country_codes[index]) or self._national[index](digits) or self._international[index](digits):
            return False
        chosen = phonenumberutil._choose_formatting_pattern_for_number(self._formats[index], digits)
        rule = None if chosen is None else chosen.national_prefix_formatting_rule
        if not rule or chosen.national_prefix_optional_when_formatting:
            return False
        return not phonenumberutil._formatting_rule_has_first_group_only(rule)
