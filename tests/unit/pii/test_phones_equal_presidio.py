"""Phone numbers: the digit filter never shuts a number out, and the eight matchers side by side find what they find one by one."""

from __future__ import annotations

import random
from itertools import product

import phonenumbers
import pytest
from phonenumbers import phonenumbermatcher
from phonenumbers.phonemetadata import PhoneMetadata
from presidio_analyzer.predefined_recognizers import PhoneRecognizer

from operators.pii import phones
from operators.pii.gate import Gate
from operators.pii.phone_digits import DigitFilter, _Reading
from operators.pii.phones import PhoneFinder
from operators.pii.spans import Finding, dedupe
from tests.corpora.noisy_pii import PhoneLike

REGIONS = PhoneRecognizer.DEFAULT_SUPPORTED_REGIONS
KINDS = ("fixed_line", "mobile", "toll_free", "premium_rate", "shared_cost", "personal_number", "voip", "pager", "uan", "voicemail")


def examples() -> tuple[str, ...]:
    found = []
    for region in REGIONS:
        metadata = PhoneMetadata.metadata_for_region(region, None)
        kinds = [getattr(metadata, kind) for kind in KINDS]
        found += [kind.example_number for kind in kinds if kind is not None and kind.example_number]
    return tuple(found)


@pytest.fixture(scope="module")
def presidio() -> PhoneRecognizer:
    return PhoneRecognizer()


@pytest.fixture(scope="module")
def finder(presidio: PhoneRecognizer) -> PhoneFinder:
    return PhoneFinder(presidio)


def accepted(digits: str, region: str) -> bool:
    try:
        number = phonenumbers.parse(digits, region, keep_raw_input=True)
    except phonenumbers.NumberParseException:
        return False
    return bool(phonenumbermatcher._verify(1, number, digits, None))


def slow(presidio: PhoneRecognizer, text: str) -> list[Finding]:
    return sorted((result.start, result.end, result.score) for result in presidio.analyze(text, ["PHONE_NUMBER"], None))


def unequal(finder: PhoneFinder, presidio: PhoneRecognizer, texts: list[str]) -> list[str]:
    shut = Gate(finder.gates)
    # A shut gate means that the finder is not asked.
    return [
        text
        for text, mask in zip(texts, shut.masks(texts), strict=True)
        if (sorted(dedupe(finder.find(text))) if mask else []) != slow(presidio, text)
    ]


def test_no_number_that_a_region_accepts_is_shut_out_by_the_filter() -> None:
    digit_filter, source = DigitFilter(REGIONS), PhoneLike(1, examples())
    numbers = [source.digits() for _ in range(1_500)]
    taken = [(digits, index) for digits in numbers for index, region in enumerate(REGIONS) if accepted(digits, region)]
    assert len(taken) > 1_000
    assert [(digits, REGIONS[index]) for digits, index in taken if not digit_filter.regions(digits.replace("++", "+")) >> index & 1] == []


def test_a_plus_makes_no_number_of_up_to_four_digits() -> None:
    plus = ["+" + "".join(digits) for count in range(1, 5) for digits in product("0123456789", repeat=count)]
    assert [number for number in plus if accepted(number, "US")] == []


@pytest.mark.parametrize("seed", [1, 2])
def test_hard_texts_have_the_same_numbers(finder: PhoneFinder, presidio: PhoneRecognizer, seed: int) -> None:
    source = PhoneLike(seed, examples())
    assert unequal(finder, presidio, [source.text() for _ in range(700)]) == []


def test_extension_labels_between_few_digits_make_the_same_numbers(finder: PhoneFinder, presidio: PhoneRecognizer) -> None:
    source = PhoneLike(3, examples())
    assert unequal(finder, presidio, [source.labelled() for _ in range(1_500)]) == []


@pytest.mark.parametrize("text", ["732, INT08773842094", "731, int0292155", "(7205\n4699033713x988786//x7185345414 int 057 int é", "0575int 6703"])
def test_texts_that_broke_the_digit_filter_once_have_the_same_numbers(finder: PhoneFinder, presidio: PhoneRecognizer, text: str) -> None:
    assert slow(presidio, text)
    assert unequal(finder, presidio, [text]) == []


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 104))
def test_many_hard_texts_have_the_same_numbers(finder: PhoneFinder, presidio: PhoneRecognizer, seed: int) -> None:
    source = PhoneLike(seed, examples())
    assert unequal(finder, presidio, [source.text() if index % 2 else source.labelled() for index in range(5_000)]) == []


def test_a_text_with_too_many_tries_goes_to_the_real_recogniser(presidio: PhoneRecognizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phones, "_TRIES_MAX", 3)
    texts = ["call 512-555-0143 or 512-555-0199 or 1-2-3-4-5-6-7", "+49 30 123456 12 / 13"]
    assert unequal(PhoneFinder(presidio), presidio, texts) == []


def test_a_filter_that_shuts_too_much_is_caught(presidio: PhoneRecognizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DigitFilter, "_lacks_prefix", lambda self, index, digits: not digits.startswith("0"))
    source = PhoneLike(1, examples())
    assert unequal(PhoneFinder(presidio), presidio, [source.text() for _ in range(300)]) != []


def numbers_of(seed: int, count: int) -> list[tuple[str, str]]:
    """Digits and extensions, most of them of some region."""
    source, pick = PhoneLike(seed, examples()), random.Random(seed)
    digits = [source.digits().lstrip("+") for _ in range(count)]
    return [(number, pick.choice(("", "", "12", "0143", "99999"))) for number in digits if number.isascii() and number.isdigit()]


def misread(digit_filter: DigitFilter) -> list[tuple[str, str, str]]:
    return [
        (digits, extension, region)
        for digits, extension in numbers_of(7, 1_500)
        for index, region in enumerate(REGIONS)
        if (verdict := digit_filter.verdict(index, digits, extension)) is not None
        and verdict != accepted(f"{digits} x{extension}" if extension else digits, region)
    ]


def test_plain_digits_are_read_as_the_parser_reads_them() -> None:
    digit_filter = DigitFilter(REGIONS)
    told = [digit_filter.verdict(index, digits) for digits, _ in numbers_of(7, 1_500) for index in range(len(REGIONS))]
    assert told.count(True) > 200
    assert told.count(False) > 500
    assert misread(digit_filter) == []


def test_digits_with_a_prefix_taken_for_plain_ones_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Reading, "is_plain", lambda *_: True)
    assert misread(DigitFilter(REGIONS)) != []


def test_a_national_prefix_that_is_not_asked_for_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Reading, "needs_prefix", lambda *_: False)
    assert misread(DigitFilter(REGIONS)) != []


def going_on(seed: int, count: int) -> list[str]:
    """Numbers with an extension, and what may follow one."""
    pick = random.Random(seed)
    following = (" ", '"', ", ", " and", " at 5", "-0143", " 555-0143", " ext 7", "/x12", "x5", " int 4 12", "#", " (512) 555-0143", "\n030 1234")
    pieces = ("512-555-0143", "(512) 555-0143", "5125550143", "+1 512 555 0143", "030 123456", "98765 43210")
    labels = ("x", " x", " ext. ", " ext", "x ", ", ext ", " #", "xx", ";ext=", " int ", "~")
    return [
        pick.choice(("", "call ", '"', "a")) + pick.choice(pieces) + pick.choice(labels) + str(pick.randint(1, 99_999))
        + pick.choice(following) + pick.choice(("", *following)) + pick.choice(("", *pieces))
        for _ in range(count)
    ]  # fmt: skip


#: Texts in which one region takes the whole, and another a part from which it goes on past the extension.
PAST_THE_EXTENSION = ("11  512)7946-030 ext 1-555)030.0143", "7946  030/555 ext 030 123456/2", "030  0800/43210 ext 030.91 / 0800")


def test_what_follows_an_extension_is_found_as_well(finder: PhoneFinder, presidio: PhoneRecognizer) -> None:
    assert unequal(finder, presidio, [*PAST_THE_EXTENSION, *going_on(1, 700)]) == []


def test_an_extension_that_goes_on_unnoticed_is_caught(finder: PhoneFinder, presidio: PhoneRecognizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phones, "_GOES_ON", lambda *_: None)
    assert unequal(finder, presidio, [*PAST_THE_EXTENSION]) != []


def test_memos_hold_no_digits(finder: PhoneFinder) -> None:
    finder.find("call (512) 555-0143 ext. 77 today")
    assert finder._slices
    assert all(not any(char in "123456789" for char in shape) for shape in finder._slices)
    assert all(isinstance(key, bytes) for key in finder._accepted)
