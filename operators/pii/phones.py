"""Phone numbers as Presidio finds them: one search for the candidates of all regions, and the real parser for those that could be numbers.

Presidio searches a text once for each of its eight regions and parses every candidate. The candidates are the same for all; whether one
is a number depends on its digits. So candidates are searched once, cut into the slices that ``phonenumbers`` would try, and only slices whose
digits pass a filter built from the same metadata are parsed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from hashlib import blake2b
from itertools import product
from typing import Any, Final, NamedTuple

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
#: Parameters of a telephone URI, and two x in a row, mean other things than a label before an extension.
_RARE: Final = re.compile(r";|[xX][xX]").search
#: What follows an extension if a candidate from inside it may go on: anything but a quote or, after a space, a letter that begins no label.
_GOES_ON: Final = re.compile(r"(?!\Z|[\"'!?<>{}]| [b-dfghj-mo-wyzB-DFGHJ-MO-WYZ]).?", re.DOTALL).match
_NOT_DIALLED: Final = re.compile(r"[^0-9+]")
#: Up to this many digits a candidate is never cut short by the limits of the candidate pattern.
_DIGITS_UNLIMITED: Final = 19
#: ``phonenumbers`` gives up on a text after 65,535 tries; long before, the real recogniser takes over.
_TRIES_MAX: Final = 60_000
_MEMO_COUNT_MAX: Final = 16_384
#: Longer candidates are not remembered: shapes take 32 MB at most, verdicts 2 MB.
_MEMO_CHARS_MAX: Final = 64
_GATE_DIGITS: Final = 5
#: Regions by how many numbers they accept: the first that does settles a candidate.
_ASKED_FIRST: Final = ("DE", "US", "GB")

#: Start, end and whether it begins with a bracket or plus, of a slice of a candidate.
_Slice = tuple[int, int, bool]


class _Part(NamedTuple):
    """A slice of a candidate that could be a number.

    Attributes:
        span: Where it stands in the text.
        text: The slice.
        digits: What is dialled, of a slice in which only digits and punctuation stand before the extension; else None.
        extension: Digits behind a label that ends the slice.
        regions: Mask of the regions that could accept it.
    """

    span: tuple[int, int]
    text: str
    digits: str | None
    extension: str
    regions: int


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
        short = [digits for count in range(1, _GATE_DIGITS) for digits in map("".join, product("0123456789", repeat=count))]
        regions = {digits: self._filter.regions(digits) for digits in short}
        #: Most candidates are short numbers that no region accepts.
        self._never = frozenset(digits for digits, mask in regions.items() if not mask)
        self.gates = _gates([digits for digits, mask in regions.items() if mask])

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
            if candidate in self._never:
                tries += 2
                end = match.end()
                waiting[end] = waiting.get(end, 0) | regions
                continue
            trimmed = _before_second_number(candidate)
            end = start + len(trimmed)
            live, tried = self._live(text, start, trimmed)
            tries += tried
            if tries > _TRIES_MAX:
                return None
            whole = live[0].regions & regions if live and len(trimmed) == len(candidate) and live[0].span == (start, end) else 0
            if whole and self._settles(live[0], text) and self._any_accepts(live[0], whole):
                # Other regions could only find parts of it, which the whole outranks, and search on from the same place.
                found.append((start, end))
                live = []
            for index in range(len(self._regions)) if live else ():
                if regions >> index & 1:
                    spot = next((part.span for part in live if part.regions >> index & 1 and self._accepts(part, index)), None)
                    if spot is not None:
                        found.append(spot)
                        regions ^= 1 << index
                        waiting[spot[1]] = waiting.get(spot[1], 0) | 1 << index
            if regions:
                waiting[end] = waiting.get(end, 0) | regions
        return found

    def _live(self, text: str, start: int, candidate: str) -> tuple[list[_Part], int]:
        """Slices of a candidate that could be numbers, in the order of trial, and the number of trials."""
        if _is_date_or_time(text, start, candidate):
            return [], 1
        safe = _SAFE(candidate) is not None
        slices, tries = ([(0, len(candidate), False)], 2) if safe and candidate.isdigit() else self._sliced(candidate)
        live: list[_Part] = []
        for low, high, leads in slices:
            part = candidate[low:high]
            low, high = low + start, high + start
            if not ((leads or low == 0 or not self._repels(text[low - 1])) and (high == len(text) or not self._repels(text[high]))):
                continue
            digits, extension = (_NOT_DIALLED.sub("", part), "") if safe else _extended(part)
            if digits in self._never:
                continue
            regions = self._possible(part) if digits is None else self._filter.regions(digits)
            if regions:
                live.append(_Part((low, high), part, digits, extension, regions))
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
        if len(shape) > _MEMO_CHARS_MAX:
            return _slices(shape)
        known = self._slices.get(shape)
        if known is None:
            if len(self._slices) >= _MEMO_COUNT_MAX:
                self._slices.clear()
            known = self._slices[shape] = _slices(shape)
        return known

    def _settles(self, part: _Part, text: str) -> bool:
        """Whether no candidate that starts in this one goes further than it: it is not cut short, and its extension is the end of it."""
        if part.digits is None or len(part.digits) + len(part.extension) - part.digits.count("+") > _DIGITS_UNLIMITED:
            return False
        return not part.extension or _GOES_ON(text, part.span[1]) is None

    def _any_accepts(self, part: _Part, regions: int) -> bool:
        """Whether one of the regions accepts a slice: those that need no parsing are asked first."""
        unsure = []
        for index in self._order:
            if regions >> index & 1:
                verdict = self._filter.verdict(index, part.digits, part.extension) if part.digits else None
                if verdict:
                    return True
                if verdict is None:
                    unsure.append(index)
        return any(self._parsed(part, index) for index in unsure)

    def _accepts(self, part: _Part, index: int) -> bool:
        verdict = self._filter.verdict(index, part.digits, part.extension) if part.digits else None
        return self._parsed(part, index) if verdict is None else verdict

    def _parsed(self, part: _Part, index: int) -> bool:
        """What the parser says. A country code that is written means the same in all regions."""
        if part.digits and part.digits[0] == "+" and phonenumberutil._extract_country_code(part.digits[1:])[0]:
            index = 0
        key = blake2b(f"{index}{part.text}".encode("utf-8", "surrogatepass"), digest_size=16).digest()
        verdict = self._accepted.get(key)
        if verdict is None:
            if len(self._accepted) >= _MEMO_COUNT_MAX:
                self._accepted.clear()
            verdict = self._accepted[key] = self._parses(part.text, self._regions[index])
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


def _extended(part: str) -> tuple[str | None, str]:
    """What is dialled and the extension, of a slice that is digits and punctuation, a label and an extension; None and nothing of others."""
    if not part.isascii() or _RARE(part) is not None:
        return None, ""
    extension, number = phonenumberutil._maybe_strip_extension(phonenumberutil._extract_possible_number(part))
    if not extension or _SAFE(number) is None or not extension.isdigit():
        return None, ""
    # Behind an x the digits to the end must be the extension: what phonenumbers asks for after it has parsed.
    as_parsed = phonenumbers.PhoneNumber(extension=extension)
    return (_NOT_DIALLED.sub("", number), extension) if matcher._contains_only_valid_x_chars(as_parsed, part) else (None, "")


def _before_second_number(candidate: str) -> str:
    if "/" not in candidate and "\\" not in candidate:
        return candidate
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


def _gates(short: Sequence[str]) -> tuple[GatePattern, ...]:
    """Opens for five digits with a phone number's punctuation between, for shorter numbers that a region accepts, and for extension labels.

    Numbers of up to four digits are asked for one by one. With a leading plus none of that length is a number (a test asks for all).
    A label for an extension may stand between groups of few digits, and its letters may count as digits.

    Args:
        short: The shorter numbers that a region accepts.
    """
    between = f"[{phonenumberutil._VALID_PUNCTUATION}]{{0,4}}"
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
