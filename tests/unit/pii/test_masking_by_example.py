"""Masking by example: keys, numbers, inner JSON, identifiers, rules on raw text, and what becomes of texts that cannot be masked."""

from __future__ import annotations

import json

import pytest

from operators.pii.mask import LeafHit, MaskSpec, TextMasker
from operators.pii.memo import DigestMemo
from operators.pii.replace import Action, Actions
from operators.pii.spec import ExtraRecogniser, PatternSpec, RecogniserSpec
from schemas.errors import ConfigError

KEY = b"a key for tests only"


@pytest.fixture(scope="module")
def masker() -> TextMasker:
    def rules(leaves: list[str]) -> list[tuple[str, ...]]:
        return [("secret",) if "hunter2" in leaf else () for leaf in leaves]

    return TextMasker(MaskSpec(Actions(KEY)), rules)


def one(masker: TextMasker, text: str) -> str | None:
    return masker.mask_json([text]).values[0]


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ('{"to": "mail mia.li3818@example.com now"}', '{"to":"mail <EMAIL_ADDRESS> now"}'),
        ('{"zip": "78750", "Zip-Code": 78701, "n": 78750}', '{"zip":"<US_ZIP>","Zip-Code":"<US_ZIP>","n":78750}'),
        ('{"dob": "5.4.90", "address1": "975 Sunset Drive"}', '{"dob":"<DATE_OF_BIRTH>","address1":"<STREET_ADDRESS>"}'),
        ('{"email": ["a", "b"], "phone": {"x": "y"}}', '{"email":["<EMAIL_ADDRESS>","<EMAIL_ADDRESS>"],"phone":{"x":"y"}}'),
        ('{"card": 4111111111111111, "big": 12345678901234567890123}', '{"card":"<CREDIT_CARD>","big":12345678901234567890123}'),
        ('{"x": "{\\"dob\\": \\"1990\\", \\"k\\": 1.10}"}', '{"x":"{\\"dob\\":\\"<DATE_OF_BIRTH>\\",\\"k\\":1.10}"}'),
        ('{"a@b.com": 1, "c@d.com": 2}', '{"<EMAIL_ADDRESS>":1,"<EMAIL_ADDRESS><2>":2}'),
        ('{"a":  1,   "b": [1e5, -0.0]}', '{"a":  1,   "b": [1e5, -0.0]}'),
        ('"call +1 512 555 0143 \\ud800"', '"call <PHONE_NUMBER> \\ud800"'),
        ('{"email": "", "phone": null, "ssn": false}', '{"email": "", "phone": null, "ssn": false}'),
        ('"Austin, TX, 78750, born April 5, 1990, card ending in 7447"', '"Austin, TX, <US_ZIP>, born <DATE_TIME>, card ending in <CARD_LAST_FOUR>"'),
        ('"grüße an müller@example.de"', '"grüße an <EMAIL_ADDRESS>"'),
    ],
)
def test_json_is_masked_leaf_by_leaf(masker: TextMasker, text: str, masked: str) -> None:
    assert one(masker, text) == masked


def test_what_was_found_is_told_without_the_value(masker: TextMasker) -> None:
    masked = masker.mask_json(['{"m": [{"content": "{\\"email\\": \\"x\\", \\"t\\": \\"1990-04-05\\"}"}], "a/b": "a@b.com"}', None, "1"])
    assert masked.hits[0] == (
        LeafHit("EMAIL_ADDRESS", "/m/0/content/$/email", 1.0, "KeyNames"),
        LeafHit("DATE_TIME", "/m/0/content/$/t", 0.6, "DateRecognizer"),
        LeafHit("EMAIL_ADDRESS", "/a~1b", 1.0, "EmailRecognizer"),
    )
    assert dict(masked.counts[0]) == {"EMAIL_ADDRESS": 2, "DATE_TIME": 1}
    assert masked.values[1:] == [None, "1"]
    assert masked.hits[1:] == [(), ()]


def test_rules_see_raw_leaves_keys_and_personal_values_also_when_texts_repeat(masker: TextMasker) -> None:
    texts = [
        '{"password": "hunter2"}',
        '{"hunter2 is a key": 1}',
        '{"q": "nothing here at all, and long enough to remember"}',
        '["hunter2, long enough to be remembered"]',
    ]
    for _ in range(2):
        masked = masker.mask_json([*texts, texts[3], json.dumps({"password": "hunter2", "more": 1})])
        assert masked.rules == [("secret",), ("secret",), (), ("secret",), ("secret",), ("secret",)]
    assert masked.values[0] == '{"password":"<PASSWORD>"}'


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{bad", "json_invalid"), ("NaN", "json_invalid"), ("", "json_invalid"), ("[" * 100 + "]" * 100, "nesting_too_deep"),
        ("[" * 100_000, "nesting_too_deep"),
        (json.dumps("[" * 3_000), "nesting_too_deep"), ('{"a":' * 65 + "1" + "}" * 65, "nesting_too_deep"),
    ],
)  # fmt: skip
def test_a_text_that_cannot_be_taken_apart_fails_alone_and_names_no_value(masker: TextMasker, text: str, code: str) -> None:
    masked = masker.mask_json(['{"to":"a@b.com"}', text])
    assert masked.values == ['{"to":"<EMAIL_ADDRESS>"}', None]
    assert masked.failures[1].code == code
    assert text == "" or text not in str(masked.failures[1])
    assert masked.failures[1].__context__ is None


def test_a_leaf_whose_patterns_do_not_finish_fails_its_row_only() -> None:
    endless = ExtraRecogniser("ENDLESS", "Endless", (PatternSpec("endless", r"(?:(\w)|(\w\w))+\1\2!\d", 0.9),))
    masker = TextMasker(MaskSpec(Actions(KEY), RecogniserSpec((endless,), regex_timeout_s=0.05)))
    hostile = json.dumps("abcdefgh" * 12 + " abcd!7")
    masked = masker.mask_json([hostile, '"a@b.com"', hostile])
    assert masked.values == [None, '"<EMAIL_ADDRESS>"', None]
    assert {row: error.code for row, error in masked.failures.items()} == {0: "masking_failed", 2: "masking_failed"}


def test_plain_texts_are_masked_and_json_among_them_by_leaf(masker: TextMasker) -> None:
    masked = masker.mask_plain(["call 512-555-0143", '{"zip": "1"}', None, "{no json: a@b.com}", "ok"])
    assert masked.values == ["call <PHONE_NUMBER>", '{"zip":"<US_ZIP>"}', None, "{no json: <EMAIL_ADDRESS>}", "ok"]


def test_identifiers_that_name_someone_become_stable_hashes(masker: TextMasker) -> None:
    ids = ["evt-1", "mia.li3818@example.com", None, "mia.li3818@example.com", "+15125550143", "5125550143", "1990-04-05", "card:4111111111111111"]
    masked = masker.mask_ids(ids)
    assert masked[0] == "evt-1"
    assert masked[2] is None
    assert masked[5:7] == ["5125550143", "1990-04-05"]
    hashed = [masked[1], masked[4], masked[7]]
    assert all(value is not None and value.startswith("h_") and len(value) == 18 for value in hashed)
    assert len(set(hashed)) == 3
    assert masked[1] == masked[3]
    assert masker.mask_ids(masked) == masked
    assert TextMasker(MaskSpec(Actions(b"another key, as long"))).mask_ids(ids)[1] != masked[1]


def test_each_entity_gets_its_action() -> None:
    actions = Actions(KEY, {"EMAIL_ADDRESS": Action.HASH, "URL": Action.KEEP, "US_ZIP": Action.KEEP, "DATE_TIME": Action.DROP})
    masker = TextMasker(MaskSpec(actions))
    first, second = masker.mask_json(['{"zip":"78750","t":"a@b.com, http://x.com on 1990-04-05"}', '"a@b.com"']).values
    assert first is not None
    assert second is not None
    name = second.removeprefix('"<EMAIL_ADDRESS:').removesuffix('>"')
    assert len(name) == 12
    assert set(name) <= set("abcdefghijklmnop")
    assert first == '{"zip":"78750","t":"<EMAIL_ADDRESS:' + name + '>, http://x.com on "}'


def test_a_short_key_is_refused() -> None:
    with pytest.raises(ConfigError, match="16 bytes"):
        Actions(b"short")


def test_a_memo_forgets_the_oldest_and_holds_no_text() -> None:
    memo: DigestMemo[str] = DigestMemo(KEY, 1_000)
    names = [memo.digest(f"text {number}") for number in range(50)]
    for name in names:
        memo.put(name, "masked", 100)
        assert memo.get(names[0]) == "masked", "what is used stays"
    assert len(memo) < 10
    assert memo.get(names[1]) is None
    assert DigestMemo[str](b"another key, as long", 1).digest("text 0") != names[0]


def test_nothing_of_a_recorded_user_survives(masker: TextMasker) -> None:
    user = {
        "name": {"first_name": "Mia"},
        "address": {"address1": "975 Sunset Drive", "address2": "Suite 217", "city": "Austin", "state": "TX", "zip": "78750"},
        "email": "mia.li3818@example.com",
        "dob": "1990-04-05",
        "payment_methods": {"credit_card_4421486": {"brand": "visa", "last_four": "7447", "id": "credit_card_4421486"}},
    }
    turn = "I live at 975 Sunset Drive, Austin, TX 78750. My zip code is 78750, born 1990-04-05, visa ending in 7447, mia.li3818@example.com"
    text = json.dumps([{"role": "tool", "content": json.dumps(user)}, {"role": "user", "content": turn}, {"arguments": json.dumps({"user": user})}])
    masked = one(masker, text)
    assert masked is not None
    assert [value for value in ("78750", "1990-04-05", "7447", "mia.li3818", "Suite 217") if value in masked] == []
    assert "credit_card_4421486" in masked
