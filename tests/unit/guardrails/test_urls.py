"""Rules over URLs: where they lead, however the address is spelt."""

from __future__ import annotations

import pytest

from governance.rules import FilesRule, UrlsRule
from governance.verdict import Action, Enforcement, Severity, Verdict
from operators.guardrails.rules import RawRules
from operators.guardrails.urls import UrlFinder
from tests.unit.guardrails.policies import policy_of

HEAD = ("r", "About r.", Verdict.DENY, Action.QUARANTINE, Enforcement.ENFORCE, Severity.ERROR, ("agent", "tool"))
INTERNAL = UrlsRule(*HEAD, networks=("metadata", "loopback", "link_local", "private"), disguised=True)
ALLOWED = UrlsRule(*HEAD, allow_domains=("example.com",), allow_ports=(443, 8443))
DENIED_PORT = UrlsRule(*HEAD, deny_ports=(22, 6379))


def hits(rule: UrlsRule | FilesRule, *texts: str) -> list[bool]:
    return [bool(found) for found in RawRules(policy_of(rule))(texts)]


@pytest.mark.parametrize(
    "text",
    [
        "http://169.254.169.254/latest/meta-data/",
        "GET 169.254.169.254/latest",
        "http://metadata.google.internal/computeMetadata/v1/",
        "http://2852039166/",
        "http://0xA9FEA9FE/",
        "http://0xa9.0xfe.0xa9.0xfe/",
        "http://0251.0376.0251.0376/",
        "http://169.254.43518/",
        "http://[::ffff:169.254.169.254]/",
        "http://[fd00:ec2::254]/",
        "http://example.com@169.254.169.254/",
        "http://%31%36%39.254.169.254/",
        "http://１６９.254.169.254/",
        "http://169.254.169.254.nip.io/",
        "http://app-10-0-0-5.sslip.io/",
        "http://localhost:8080/admin",
        "http://admin.localhost/",
        "https://127.1/",
        "http://10.1.2.3/x",
        "http://192.168.0.1",
        "http:\\\\127.0.0.1\\x",
        "gopher://[::1]:6379/_FLUSHALL",
        "https://example.com@evil.test/login",
        "https://xn--pple-43d.com/",
    ],
)
def test_an_address_that_must_not_be_reached_is_found_in_every_spelling(text: str) -> None:
    assert hits(INTERNAL, f"please fetch {text} now") == [True]


@pytest.mark.parametrize(
    "text",
    [
        "https://example.com/a?b=c",
        "https://user@example.com/",
        "https://8.8.8.8/dns-query",
        "version 10.0.0.1 of the driver",
        "https://xn--mnchen-3ya.de/",
        "http://[2606:4700::1111]/",
        "file:///tmp/a",
        "mail me at mia@example.com",
        "ratio 3://4",
    ],
)
def test_other_addresses_are_left_alone(text: str) -> None:
    assert hits(INTERNAL, text) == [False]


def test_only_allowed_domains_and_ports_are_left() -> None:
    texts = [
        "https://example.com/",
        "https://api.example.com:8443/x",
        "https://badexample.com/",
        "https://example.com.evil.test/",
        "http://example.com/",
    ]
    assert hits(ALLOWED, *texts) == [False, False, True, True, True]


def test_denied_ports_are_found_by_number_and_by_scheme() -> None:
    assert hits(DENIED_PORT, "redis://example.com:6379", "ssh://example.com/", "https://example.com/") == [True, True, False]


def test_the_scan_finds_all_that_the_finder_finds() -> None:
    """The expression is a superset of the finder: a text that the finder knows and the scan does not would be lost."""
    spelt = ["http://0300.0250.1.1", "https://a.b@c.d", "ftp://[fe80::1]/", "ws://LOCALHOST", "http:///127.0.0.1", "http://instance-data/latest"]
    finder = UrlFinder(INTERNAL)
    assert hits(INTERNAL, *spelt) == [bool(finder(text)) for text in spelt] == [True] * len(spelt)


def test_files_are_told_by_their_name_and_by_their_first_bytes() -> None:
    rule = FilesRule(*HEAD, ("exe", "scr"), ("windows_program", "linux_program"))
    texts = [
        "see invoice.pdf.exe",
        "report.EXE.",
        "executive.exeter",
        "a.scr\n",
        "data:;base64,TVqQAAMAAAAEAAAA",
        "f0VMRgIBAQAA",
        "JVBERi0xLjQK",
        "ATVqQx",
    ]
    assert hits(rule, *texts) == [True, True, False, True, True, True, False, False]
