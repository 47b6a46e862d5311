"""Secrets: the scanner's rules and the policy's expressions together find what vendors hand out, and nothing in harmless text."""

from __future__ import annotations

import json

import polars as pl
import pytest
import regex

from benchmarks.secrets_found import harmless, recall, ways
from governance.parse import default_policy
from operators.pii import secret_scan
from operators.pii.recognise import Recogniser
from operators.pii.secret_scan import SecretScanner, entropy, is_secret, secret_rules
from operators.pii.spans import Span, dedupe
from operators.pii.spec import RecogniserSpec
from operators.pii.step import Mask
from schemas.errors import MaskingFailed
from schemas.events import EVENT, ROW_WATERMARK
from tests.corpora.secret_formats import secrets

#: Shares found, from below; docs/masking-secrets.md has the table. Of the others every one is found.
RECALL_MIN: dict[str, float] = {}
SECRET = frozenset({"SECRET"})


@pytest.fixture(scope="module")
def found_by() -> dict[str, Recogniser]:
    return ways()


@pytest.fixture(scope="module")
def families() -> dict[str, list[tuple[str, str]]]:
    return secrets(7, 40)


def test_both_together_find_every_family(found_by: dict[str, Recogniser], families: dict[str, list[tuple[str, str]]]) -> None:
    found = {family: recall(found_by["both"], held) for family, held in families.items()}
    assert {family: share for family, share in found.items() if share < RECALL_MIN.get(family, 1.0)} == {}


def test_neither_would_do_alone(found_by: dict[str, Recogniser], families: dict[str, list[tuple[str, str]]]) -> None:
    for way, least in (("policy", 0.85), ("rules", 0.8)):
        shares = [recall(found_by[way], held) for held in families.values()]
        assert least < sum(shares) / len(shares) < 0.95


@pytest.mark.parametrize(
    "text",
    [
        "password: required",
        "Password: ********",
        "password=${DB_PASSWORD_1}",
        "PASSWORD=$DB_PASSWORD1 ./run",
        "password: {{ vault.db_password_2 }}",
        "password = os.environ['DB_PASSWORD_1']",
        "password: <your password, 12 characters>",
        "Password: at least 8 characters, 1 digit",
        "password = getpass(prompt1)",
        "passwd: (unchanged1)",
        "pwd: *****",
    ],
)
def test_what_stands_after_the_word_password_is_not_always_one(text: str, found_by: dict[str, Recogniser]) -> None:
    assert found_by["both"].spans([text], SECRET) == [[]]


def test_no_harmless_text_holds_a_secret(found_by: dict[str, Recogniser]) -> None:
    for texts in harmless(None).values():
        some = texts[:4_000]
        assert [text for text, spans in zip(some, found_by["both"].spans(some, SECRET), strict=True) if spans] == []


def by_every_rule(text: str) -> set[tuple[int, int, float]]:
    """What the rules find when all of them are run."""
    seen = text.encode("ascii", "replace").decode()
    found = []
    for rule in secret_rules():
        for match in regex.finditer(rule.regex, seen):
            group = rule.group or next((number for number, held in enumerate(match.groups(), 1) if held), 0)
            if match.group(group) and is_secret(match.group(group), rule.entropy_min):
                found.append((*match.span(group), {"high": 0.9, "medium": 0.6}[rule.confidence]))
    return set(dedupe(found))


def shut_out(scanner: SecretScanner, texts: list[str]) -> list[str]:
    """Texts in which the scanner finds other secrets than all rules do."""
    found = [{span[1:4] for span in scanner.spans(text, mask)} for text, mask in zip(texts, scanner.masks(texts), strict=True)]
    return [text for text, spans in zip(texts, found, strict=True) if spans != by_every_rule(text)]


def surrounded(families: dict[str, list[tuple[str, str]]]) -> list[str]:
    """Every family among other signs: those of other scripts, and no sign at all."""
    texts = [text for held in families.values() for text, _ in held[:3]]
    bare = [secret for held in families.values() for _, secret in held[3:5]]
    return [*texts, *(f"é{secret}ß" for secret in bare), *(secret.upper() for secret in bare), *(f"{secret}\ud800" for secret in bare)]


def test_the_gate_shuts_no_rule_out(families: dict[str, list[tuple[str, str]]]) -> None:
    assert shut_out(SecretScanner(5), surrounded(families)) == []


def test_a_gate_that_shuts_too_much_is_caught(families: dict[str, list[tuple[str, str]]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secret_scan, "superset", lambda pattern, ascii_text: pattern.replace("(?i)", "") if "\\z" not in pattern else "never")
    monkeypatch.setattr(secret_scan, "_FLAGS", secret_scan._FLAGS & ~secret_scan.hyperscan.HS_FLAG_CASELESS)
    assert shut_out(SecretScanner(5), surrounded(families)) != []


def test_a_rule_that_cannot_finish_fails_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    recogniser = Recogniser(RecogniserSpec(secret_rules=True, regex_timeout_s=0.05))
    assert recogniser._secrets is not None
    monkeypatch.setattr(recogniser._secrets, "_search", lambda _: regex.compile(r"(?:(\w)|(\w\w))+\1\2!\d"))
    with pytest.raises(MaskingFailed, match=r"0\.05 s"):
        recogniser.spans(["ghp_16C7e42F292c6912E7710c838347Ae178B4a " + "abcdefgh" * 12 + " abcd!7"])


def test_only_where_the_spec_asks_for_it() -> None:
    text = "token ghp_16C7e42F292c6912E7710c838347Ae178B4a"
    assert Recogniser(RecogniserSpec()).spans([text]) == [[]]
    assert Recogniser(RecogniserSpec(secret_rules=True)).spans([text]) == [[Span("SECRET", 6, 46, 0.9, "betterleaks.github-pat")]]
    without = RecogniserSpec(secret_rules=True, entities=frozenset({"EMAIL_ADDRESS"}))
    assert Recogniser(without).spans([text]) == [[]]


def test_nothing_of_a_private_key_is_left() -> None:
    ((text, key),) = secrets(3, 1)["OpenSSH private key"]
    row = {"topic": "agent_events", "partition": 0, "offset": 0, "kind": "agent", "event_type": "x", "event_time": 1_700_000_000_000, "agent_id": "a"}
    rows = [{**row, "event_id": "e0", "input": json.dumps({"note": text})}]
    outcome = Mask(default_policy(), b"a key of thirty-two bytes or so.")(pl.DataFrame(rows, schema={**EVENT, **ROW_WATERMARK}))
    (masked,) = outcome.batch["input"]
    assert "<SECRET>" in masked
    assert not any(line in masked for line in key.split("\n"))


@pytest.mark.parametrize("text", ["a" * 40, "${GITHUB_TOKEN}", "{{ secrets.token }}", "%API_KEY%", "<your-api-key>"])
def test_what_stands_for_a_secret_is_none(text: str) -> None:
    assert not is_secret(text, 0)


def test_entropy_is_in_bits_a_character() -> None:
    assert (entropy(""), entropy("aaaa"), entropy("abab"), entropy("abcd")) == (0, 0, 1, 2)
