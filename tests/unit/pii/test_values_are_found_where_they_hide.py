"""Personal data in structure: escapes, base64, keys in texts, nested keys, values in parts, ids that carry names; and hostile texts."""

from __future__ import annotations

import base64
import json
from typing import Any

import polars as pl
import pytest

from governance.parse import default_policy
from governance.pii import Allowed, FixedText, PartialMask
from operators.pii.allow import AllowList
from operators.pii.encodings import EncodedTexts, base64_text, percent_encoded
from operators.pii.hashes import UserHash
from operators.pii.key_names import KEY_ENTITIES
from operators.pii.mask import MaskSpec, TextMasker
from operators.pii.replace import Action, Actions
from operators.pii.spec import ExtraRecogniser, RecogniserSpec
from operators.pii.step import Mask
from schemas.events import EVENT

KEY = b"a key for tests only"
MAIL = "mia.li3818@example.com"


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.fixture(scope="module")
def masker() -> TextMasker:
    actions = Actions(
        KEY,
        replacements={"CREDIT_CARD": PartialMask("CREDIT_CARD", 12), "PHONE_NUMBER": FixedText("PHONE_NUMBER", "[phone]")},
        allowed=AllowList([Allowed(texts=("help@example.com",), entities=("EMAIL_ADDRESS",)), Allowed(patterns=(r".+@headrace\.example\.com",))]),
    )
    deny = ExtraRecogniser("CODE_NAME", "CodeNames", deny_list=("Blue Heron",))
    keys = {**KEY_ENTITIES, "address.*": "STREET_ADDRESS", "contact.name": "PERSON"}
    return TextMasker(MaskSpec(actions, RecogniserSpec((*RecogniserSpec().extra, deny)), keys=keys))


def one(masker: TextMasker, value: Any) -> Any:
    (text,) = masker.mask_json([json.dumps(value)]).values
    assert text is not None
    return json.loads(text)


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("to mia.li3818%40example.com now", "to <EMAIL_ADDRESS> now"),
        ("to mia.li3818%2540example.com now", "to <EMAIL_ADDRESS> now"),
        ("to mia.li3818&#64;example.com &amp; co", "to <EMAIL_ADDRESS> &amp; co"),
        (r"to mia.li3818\u0040example.com now", "to <EMAIL_ADDRESS> now"),
        (r"to mia.li3818\x40example.com now", "to <EMAIL_ADDRESS> now"),
        (b64(f"write to {MAIL}"), "<EMAIL_ADDRESS>"),
        (f"data: {b64(f'write to {MAIL} today')} end", "data: <EMAIL_ADDRESS> end"),
        (base64.urlsafe_b64encode(f"??>>{MAIL}".encode()).decode().rstrip("="), "<EMAIL_ADDRESS>"),
        (b64(b64(f"write to {MAIL}")), "<EMAIL_ADDRESS>"),
        ("/find?first=1&dob=5.4.90&page=2", "/find?first=1&dob=<DATE_TIME>&page=2"),
        ("/find?zip=1234x&page=2", "/find?zip=<US_ZIP>&page=2"),
        ("got {'address1': '975 Sunset Drive', 'n': 1}", "got {'address1': '<STREET_ADDRESS>', 'n': 1}"),
        ('got {"address1": "975 Sunset Drive", "n": 1}', 'got {"address1": "<STREET_ADDRESS>", "n": 1}'),
        ("def send(email=email, phone=None): ...", "def send(email=email, phone=None): ..."),
        ("mail help@example.com, bot@headrace.example.com or me@example.com", "mail help@example.com, bot@headrace.example.com or <EMAIL_ADDRESS>"),
        ("card 4111111111111111, call +1 512 555 0143", "card ************1111, call [phone]"),
        ("the blue heron flies", "the <CODE_NAME> flies"),
        ("100%25 of 7%20days, x &lt; y, C:\\users\\new", "100%25 of 7%20days, x &lt; y, C:\\users\\new"),
    ],
)
def test_escapes_keys_and_lists_in_a_text(masker: TextMasker, text: str, masked: str) -> None:
    assert one(masker, text) == masked
    assert one(masker, {"k": [text]}) == {"k": [masked]}


def test_encoded_json_is_taken_apart_and_encoded_again(masker: TextMasker) -> None:
    secret = json.dumps({"password": "hunter two", "n": [1]}, separators=(",", ":"))
    clear = secret.replace("hunter two", "<PASSWORD>")
    assert one(masker, b64(secret)) == b64(clear)
    assert one(masker, b64(secret).rstrip("=")) == b64(clear).rstrip("=")
    assert one(masker, percent_encoded(secret)) == percent_encoded(clear)
    wrapped, unwrapped = (b64(json.dumps({"inner": b64(text)}, separators=(",", ":"))) for text in (secret, clear))
    assert one(masker, wrapped) == unwrapped


def test_keys_tell_of_what_lies_below_them(masker: TextMasker) -> None:
    value = {"address": {"City": "Austin", "zip": "78750", "geo": {"lat": "30.2"}}, "city": "Austin", "contact": {"name": "Mia"}, "name": "x"}
    assert one(masker, value) == {
        "address": {"City": "<STREET_ADDRESS>", "zip": "<US_ZIP>", "geo": {"lat": "<STREET_ADDRESS>"}},
        "city": "Austin",
        "contact": {"name": "<PERSON>"},
        "name": "x",
    }


@pytest.mark.parametrize("value", ["deadbeef" * 8, "4a245f3c-c0c4-41ba-9966-009a502a57a3", "Internationalization", "a" * 64, "AAAA" * 20, "=" * 40])
def test_what_is_no_text_in_base64_is_left(value: str) -> None:
    found = base64_text(value)
    assert found is None or MAIL not in found.text
    assert not EncodedTexts().is_encoded(value)


def test_a_gate_that_sees_no_escape_is_right() -> None:
    encodings = EncodedTexts()
    for text in ("a%40b", "a&#64;b", "a&commat;b", r"a\u0040b", r"a\x40b", b64("write to mia@x.org"), f"x{{{b64('card 4111 1111 1111 1111')}}}"):
        assert encodings.is_encoded(text)
        assert encodings.layers(text)[0].text != text


def _row(user: str | None, **columns: Any) -> pl.DataFrame:
    base: dict[str, Any] = dict.fromkeys(EVENT.names())
    base |= {"topic": "agent_events", "partition": 0, "offset": 1, "kind": "agent", "event_id": "e", "event_type": "agent.executed"}
    base |= {"event_time": 1, "agent_id": "a", "user_id": user, "value_bytes": 1, "content_digest": 1}
    return pl.DataFrame([base | {name: json.dumps(value) for name, value in columns.items()}], schema=EVENT)


@pytest.fixture(scope="module")
def mask() -> Mask:
    return Mask(default_policy(), KEY)


def test_a_name_in_parts_is_masked_as_a_whole_in_the_same_event_alone(mask: Mask) -> None:
    told = {"name": {"firstName": "Mia", "last_name": "Li"}}
    batch = pl.concat([_row(None, input=told, output="I am Mia Li. (LI, mia)", error="Mia Lin, Mia and Li"), _row(None, output="I am Mia Li.")])
    rows = mask(batch).batch
    assert rows["output"].to_list() == ['"I am <PERSON>. (<PERSON>)"', '"I am Mia Li."']
    assert rows["error"][0] == '"Mia Lin, Mia and Li"'
    listed = rows["masked_spans"][0].to_list()
    assert {"entity": "PERSON", "column": "output", "path": "", "score": 1.0, "recogniser": "SplitValues"} in listed
    assert "Mia" not in str(listed)


def test_an_id_of_a_person_has_one_hash_wherever_it_stands(mask: Mask) -> None:
    told = {"user_id": "mia_li_3668", "note": "user mia_li_3668 called, not mia_li_36688"}
    rows = mask(_row("mia_li_3668", input=told, attributes={"path": "/users/mia_li_3668/orders"})).batch
    name = UserHash(KEY).of("mia_li_3668")
    assert rows["user_id"][0] == name
    assert json.loads(rows["input"][0]) == {"user_id": name, "note": f"user {name} called, not mia_li_36688"}
    assert json.loads(rows["attributes"][0]) == {"path": f"/users/{name}/orders"}


def test_the_list_of_what_was_masked_is_bounded_and_says_so(mask: Mask) -> None:
    rows = mask(_row(None, input=[f"a{index}@example.com" for index in range(400)], output="b@example.com")).batch
    listed = rows["masked_spans"][0].to_list()
    assert rows["masked_count"][0] == 401
    assert len(listed) == 257
    assert listed[-1] == {"entity": "TRUNCATED", "column": "", "path": "", "score": 0.0, "recogniser": ""}


HOSTILE = (
    "%" * 1_000_000,
    "%41" * 333_000,
    "&#64;" * 200_000,
    "\\u0041" * 160_000,
    "A" * 1_000_000,
    "QUJD" * 250_000,
    "a=" * 500_000,
    "'a': '" * 160_000,
    '"a":"' * 200_000,
    "%25" * 300_000 + "40",
    "/".join(["QUJDREVGR0hJSktM"] * 50_000),
)


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:6])
def test_a_megabyte_of_escapes_is_answered(masker: TextMasker, text: str) -> None:
    masked = masker.mask_json([json.dumps(text)])
    assert len(masked.values) == 1


def test_base64_in_base64_ends() -> None:
    small = TextMasker(MaskSpec(Actions(KEY), nesting_depth_max=8))
    text = json.dumps({"password": "x"})
    for _ in range(20):
        text = json.dumps({"v": b64(text)})
    masked = small.mask_json([text])
    assert masked.failures[0].code == "nesting_too_deep"


# Mutants: what each precaution is for.


def test_without_decoding_an_escape_hides_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EncodedTexts, "layers", lambda self, text: [])
    blind = TextMasker(MaskSpec(Actions(KEY)))
    assert one(blind, "to mia.li3818%40example.com now") != "to <EMAIL_ADDRESS> now"


def test_a_partly_shown_value_that_is_examined_again_would_be_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = MaskSpec(Actions(KEY, replacements={"EMAIL_ADDRESS": PartialMask("EMAIL_ADDRESS", 3)}))
    assert one(TextMasker(spec), f"x {MAIL}") == f"x ***{MAIL[3:]}"
    monkeypatch.setattr(Actions, "standing", Actions.replacement)
    assert TextMasker(spec).mask_json([json.dumps(f"x {MAIL}")]).values != [json.dumps(f"x ***{MAIL[3:]}")]


def test_every_action_has_a_writing() -> None:
    for action in (Action.MASK, Action.HASH, Action.DROP):
        assert MAIL not in Actions(KEY, default=action).replacement("EMAIL_ADDRESS", MAIL)
