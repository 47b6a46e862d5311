"""Phone numbers as Presidio finds them: one search for the candidates of all regions, and the real parser for those that could be numbers.

Presidio searches a text once for each of its eight regions and parses every candidate. The candidates are the same for all; whether one
is a number depends on its digits. So candidates are searched once, cut into the slices that ``phonenumbers`` would try, and only slices whose
digits pass a filter built from the same metadata are parsed.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from itertools import product
from typing import Any, Final

import phonenumbers
from phonenumbers import phonenumbermatcher

from operators.pii.gate import GatePattern
from operators.pii.phone_digits import DigitFilter, phonenumberutil
from operators.pii.spans import Finding

#: Its private parts are used, which its type stubs leave out.
matcher: Final[Any] = phonenumbermatcher
#: Candidates of these characters are numbers or not by their digits alone.
_SAFE: Final = re.compile(r"[0-9 ()\[\]./+\-]+").fullmatch
_DIGIT: Final = re.compile(r"\d")
_NOT_DIALLED: Final = re.compile(r"[^0-9+]")
#: Up to this many digits a candidate is never cut short by the limits of the candidate pattern.
_DIGITS_UNLIMITED: Final = 19
#: ``phonenumbers`` gives up on a text after 65,535 tries; long before, the real recogniser takes over.
_TRIES_MAX: Final = 60_000
_MEMO_COUNT_MAX: Final = 16_384
_GATE_DIGITS: Final = 5
#: Regions by how many numbers they accept: the first that does settles a candidate.
_ASKED_FIRST: Final = ("DE", "US", "GB")

#: Start, end and whether it begins with a bracket or plus, of a slice of a candidate.
_Slice = tuple[int, int, bool]


class PhoneFinder:
    """Finds what Presidio's ``PhoneRecognizer`` finds. Not for use by several threads at once.

    Args:
        recogniser: Presidio's ``PhoneRecognizer``, with its regions and leniency.
    """

    def __init__(self, recogniser: Any) -> None:
        self._recogniser = recogniser
        self._score: float = recogniser.SCORE
        self._regions: tuple[str, ...] = tuple(recogniser.supported_regions)
        self._filter = DigitFilter(self._regions)
        first = [self._regions.index(region) for region in _ASKED_FIRST if region in self._regions]
        self._order = first + [index for index in range(len(self._regions)) if index not in first]
        self._slices: dict[str, tuple[list[_Slice], int]] = {}
        self._accepted: dict[bytes, bool] = {}
        self._repelled: dict[str, bool] = {}
        self.gates = _gates(self._filter)

    def find(self, text: str) -> list[Finding]:
        """Phone numbers; some may contain others."""
        spans = self._spans(text)
        if spans is None:
            results = self._recogniser.analyze(text, self._recogniser.supported_entities, None)
            return [(result.start, result.end, result.score) for result in results]
        return [(start, end, self._score) for start, end in spans]

    def _spans(self, text: str) -> list[tuple[int, int]] | None:
        """Spans found by the matchers of all regions, run side by side; None when that would take too many tries."""
        found: list[tuple[int, int]] = []
        # Where the matchers of which regions go on searching.
        waiting = {0: self._filter.everywhere}
        tries = 0
        while waiting:
            position = min(waiting)
            regions = waiting.pop(position)
            match = matcher._PATTERN.search(text, position)
            if match is None:
                continue
            start, candidate = match.start(), match.group()
            trimmed = _before_second_number(candidate)
            end = start + len(trimmed)
            live, tried = self._live(text, start, trimmed)
            tries += tried
            if tries > _TRIES_MAX:
                return None
            whole = len(trimmed) == len(candidate) and bool(live) and live[0][:2] == (start, end) and live[0][2] & regions
            if whole and self._settles(trimmed) and self._any_accepts(trimmed, whole):
                # Other regions could only find parts of it, which the whole outranks, and search on from the same place.
                found.append((start, end))
                live = []
            for index in range(len(self._regions)) if live else ():
                if regions >> index & 1:
                    spot = next((s for s in live if s[2] >> index & 1 and self._accepts(text[s[0] : s[1]], index)), None)
                    if spot is not None:
                        found.append(spot[:2])
                        regions ^= 1 << index
                        waiting[spot[1]] = waiting.get(spot[1], 0) | 1 << index
            if regions:
                waiting[end] = waiting.get(end, 0) | regions
        return found

    def _live(self, text: str, start: int, candidate: str) -> tuple[list[tuple[int, int, int]], int]:
        """Slices of a candidate that could be numbers, each with its mask of regions, in the order of trial; and the number of trials."""
        if _is_date_or_time(text, start, candidate):
            return [], 1
        safe = _SAFE(candidate) is not None
        slices, tries = ([(0, len(candidate), False)], 2) if safe and candidate.isdigit() else self._sliced(candidate)
        live: list[tuple[int, int, int]] = []
        for low, high, leads in slices:
            part = candidate[low:high]
            regions = self._filter.regions(_NOT_DIALLED.sub("", part)) if safe else self._possible(part)
            low, high = low + start, high + start
            if regions and (leads or low == 0 or not self._repels(text[low - 1])) and (high == len(text) or not self._repels(text[high])):
                live.append((low, high, regions))
        return live, tries

    def _possible(self, part: str) -> int:
        """Regions that could accept a slice with other characters: its digits with and without an extension, letters as on a keypad.

        Source: the order of steps in ``phonenumbers.parse``.
        """
        if "+" in part or "\uff0b" in part:
            return self._filter.everywhere
        trimmed = phonenumberutil._extract_possible_number(part)
        _, number = phonenumberutil._maybe_strip_extension(trimmed)
        normal = phonenumberutil._normalize
        return self._filter.regions(normal(number)) | self._filter.regions(normal(trimmed))

    def _sliced(self, candidate: str) -> tuple[list[_Slice], int]:
        """The slices that ``PhoneNumberMatcher`` tries, and the number of tries; both depend only on where the digits are."""
        shape = _DIGIT.sub("0", candidate)
        known = self._slices.get(shape)
        if known is None:
            if len(self._slices) >= _MEMO_COUNT_MAX:
                self._slices.clear()
            known = self._slices[shape] = _slices(shape)
        return known

    def _settles(self, candidate: str) -> bool:
        return _SAFE(candidate) is not None and sum(map(str.isdigit, candidate)) <= _DIGITS_UNLIMITED

    def _any_accepts(self, candidate: str, regions: int) -> bool:
        return any(regions >> index & 1 and self._accepts(candidate, index) for index in self._order)

    def _accepts(self, candidate: str, index: int) -> bool:
        key = blake2b(f"{index}{candidate}".encode("utf-8", "surrogatepass"), digest_size=16).digest()
        verdict = self._accepted.get(key)
        if verdict is None:
            if len(self._accepted) >= _MEMO_COUNT_MAX:
                self._accepted.clear()
            verdict = self._accepted[key] = self._parses(candidate, self._regions[index])
        return verdict

    def _parses(self, candidate: str, region: str) -> bool:
        try:
            number = phonenumbers.parse(candidate, region, keep_raw_input=True)
        except phonenumbers.NumberParseException:
            return False
        return bool(matcher._verify(self._recogniser.leniency, number, candidate, None))

    def _repels(self, char: str) -> bool:
        """Whether no number may stand beside the character: Latin letters, per cent and currency signs."""
        verdict = self._repelled.get(char)
        if verdict is None:
            if len(self._repelled) >= _MEMO_COUNT_MAX:
                self._repelled.clear()
            kind = matcher.PhoneNumberMatcher
            verdict = self._repelled[char] = bool(kind._is_invalid_punctuation_symbol(char) or kind._is_latin_letter(char))
        return verdict


def _before_second_number(candidate: str) -> str:
    second = phonenumberutil._SECOND_NUMBER_START_PATTERN.search(candidate)
    return candidate[: second.start()] if second else candidate


def _is_date_or_time(text: str, start: int, candidate: str) -> bool:
    if "/" in candidate and matcher._SLASH_SEPARATED_DATES.search(candidate):
        return True
    end = start + len(candidate)
    return (
        " " in candidate and matcher._TIME_STAMPS.search(candidate) is not None and matcher._TIME_STAMPS_SUFFIX.match(text[end : end + 4]) is not None
    )


def _slices(candidate: str) -> tuple[list[_Slice], int]:
    """Source: ``PhoneNumberMatcher._extract_match`` and ``_extract_inner_match``, without the parsing."""
    unwanted = matcher._UNWANTED_END_CHAR_PATTERN

    def without_end(part: str) -> int:
        tail = unwanted.search(part)
        return tail.start() if tail else len(part)

    tried = [(0, len(candidate))]
    for pattern in matcher._INNER_MATCHES:
        match = pattern.search(candidate)
        if match is not None:
            tried.append((0, without_end(candidate[: match.start()])))
        while match is not None:
            tried.append((match.start(1), match.start(1) + without_end(match.group(1))))
            match = pattern.search(candidate, match.start() + 1)
    # The same slice again has the same outcome.
    slices = [
        (low, high, matcher._LEAD_PATTERN.match(candidate[low:high]) is not None)
        for low, high in dict.fromkeys(tried)
        if matcher.fullmatch(matcher._MATCHING_BRACKETS, candidate[low:high]) and not matcher._PUB_PAGES.search(candidate[low:high])
    ]
    digits = candidate.count("0")
    return slices, (len(tried) + 1) * (1 + digits)


def _gates(digit_filter: DigitFilter) -> tuple[GatePattern, ...]:
    """Opens for five digits with a phone number's punctuation between, for shorter numbers that a region accepts, and for extension labels.

    Numbers of up to four digits are asked for one by one. With a leading plus none of that length is a number (a test asks for all).
    A label for an extension may stand between groups of few digits, and its letters may count as digits.
    """
    between = f"[{phonenumberutil._VALID_PUNCTUATION}]{{0,4}}"
    short = [
        digits for count in range(1, _GATE_DIGITS) for digits in map("".join, product("0123456789", repeat=count)) if digit_filter.regions(digits)
    ]
    extension = rf"\d(?:{phonenumberutil._EXTN_PATTERNS_FOR_MATCHING})"
    by_start: dict[str, str] = {}
    for digits in short:
        by_start[digits[:-1]] = by_start.get(digits[:-1], "") + digits[-1]
    long_enough = rf"\d(?:{between}\d){{{_GATE_DIGITS - 1}}}"
    ascii_short = [between.join((*start, f"[{last}]")) for start, last in by_start.items()]
    # Folding made zeros of the digits of other scripts: there any digits of that length will do.
    folded_short = [rf"\d(?:{between}\d){{{count - 1}}}" for count in sorted({len(digits) for digits in short})]
    ascii_text = GatePattern.of("|".join((long_enough, extension, *ascii_short))).ascii_text
    folded_text = GatePattern.of("|".join((long_enough, extension, *folded_short))).folded_text
    return (GatePattern(ascii_text, folded_text),)
