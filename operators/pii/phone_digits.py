"""Which regions could read a string of digits as a phone number: a superset, from the metadata of the installed phonenumbers."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
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
#: Shorter numbers, which are few, are left to the parser.
_PLAIN_DIGITS_MIN: Final = 5
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
        self._hits: list[int] = []
        # What decides whether a national prefix is required is the format of the main region of the country code (GB for Jersey, US for Canada).
        self._readings = [_Reading(m) for m in metadata]

    def regions(self, digits: str) -> int:
        """Mask of the regions that could accept the digits.

        Args:
            digits: ASCII digits; a ``+`` anywhere means that any region could, given three digits.
        """
        if "+" in digits:
            return self.everywhere if len(digits) > 3 else 0
        hits = self._hits
        hits.clear()
        self._database.scan(digits.encode(), match_event_handler=_note, context=hits)
        mask = 0
        for index in hits:
            mask |= 1 << index
        return mask

    def verdict(self, index: int, digits: str, extension: str = "") -> bool | None:
        """Whether ``phonenumbers`` accepts a number of these digits in a region, when they are written with nothing but punctuation.

        Args:
            index: Of the region.
            digits: ASCII digits. Known are plain ones: those that begin neither with the country code nor with a prefix, so that they are the
                national number itself.
            extension: Digits that follow, behind a label.

        Returns:
            None where only the parser can tell.
        """
        reading = self._readings[index]
        if (
            "+" in digits
            or len(digits) < _PLAIN_DIGITS_MIN
            or not reading.is_plain(digits)
            or (extension and not reading.is_plain(digits + extension))
        ):
            return None
        return len(digits) <= phonenumberutil._MAX_LENGTH_FOR_NSN and not self._lacks_prefix(index, digits) and reading.is_valid(digits)

    def _lacks_prefix(self, index: int, digits: str) -> bool:
        """Whether the number, plain as it is, must be written with a national prefix in that region."""
        return self._readings[index].needs_prefix(digits)


class _Reading:
    """How plain digits are read in a region.

    Source: ``phonenumbers.parse``, ``is_valid_number`` and ``_is_national_prefix_present_if_required``, for a number without any prefix.

    Args:
        metadata: Of the region.
    """

    def __init__(self, metadata: Any) -> None:
        code = metadata.country_code
        main = PhoneMetadata.metadata_for_region(phonenumbers.region_code_for_country_code(code), None)
        self._needs = [_needs_prefix(one) for one in main.number_format]
        self._format = _first_of([_written(one) for one in main.number_format])
        prefixes = (metadata.national_prefix_for_parsing, main.national_prefix_for_parsing, metadata.international_prefix, str(code))
        self._prefixed = re.compile("|".join(f"(?:{prefix})" for prefix in prefixes if prefix)).match
        regions = phonenumbers.COUNTRY_CODE_TO_REGION_CODE[code]
        self._regions = [_Kinds(PhoneMetadata.metadata_for_region(region, None)) for region in regions]

    def is_plain(self, digits: str) -> bool:
        """Whether they begin with no country code, national or international prefix."""
        return self._prefixed(digits) is None

    def needs_prefix(self, digits: str) -> bool:
        """Whether they are written with a national prefix before them, always."""
        match = self._format(digits)
        return match is not None and self._needs[int(match.lastgroup[1:])]

    def is_valid(self, digits: str) -> bool:
        """Whether they are a number of the first region of the country code that claims them."""
        for kinds in self._regions:
            if len(self._regions) == 1 or kinds.leading is None:
                if kinds.has(digits):
                    return True
            elif kinds.leading(digits):
                return kinds.has(digits)
        return False


class _Kinds:
    """The kinds of numbers of one region, each with its lengths and its pattern."""

    def __init__(self, metadata: Any) -> None:
        self.leading: Any = re.compile(metadata.leading_digits).match if metadata.leading_digits is not None else None
        kinds = [kind for name in _KINDS if (kind := getattr(metadata, name)) is not None and kind.national_number_pattern]
        self._matches = re.compile(rf"(?={_described(metadata.general_desc)}\Z)(?:{'|'.join(map(_described, kinds))})").fullmatch

    def has(self, digits: str) -> bool:
        """Whether the digits are a number of some kind."""
        return self._matches(digits) is not None


def _described(description: Any) -> str:
    """A pattern of the numbers of one kind, of one of its lengths."""
    lengths = "|".join(f".{{{length}}}" for length in description.possible_length)
    return (rf"(?=(?:{lengths})\Z)" if lengths else "") + f"(?:{description.national_number_pattern})"


def _written(one: Any) -> str:
    """A pattern of the numbers that are written in a format. Source: ``_choose_formatting_pattern_for_number``."""
    leads = f"(?={one.leading_digits_pattern[-1]})" if one.leading_digits_pattern else ""
    return f"{leads}(?:{one.pattern})"


def _needs_prefix(one: Any) -> bool:
    """Whether numbers in a format have a national prefix before them, always."""
    rule = one.national_prefix_formatting_rule
    return bool(rule) and not one.national_prefix_optional_when_formatting and not phonenumberutil._formatting_rule_has_first_group_only(rule)


def _first_of(patterns: Sequence[str]) -> Callable[[str], Any]:
    """Matches the first of the patterns that a whole string matches; the last group of the match is named ``n`` and its index."""
    return re.compile("|".join(rf"(?:{pattern})\Z(?P<n{index}>)" for index, pattern in enumerate(patterns))).match


def _note(index: int, _start: int, _end: int, _flags: int, hits: Any) -> None:
    hits.append(index)
