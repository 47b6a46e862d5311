"""Finds addresses in a text that lead where they must not, however they are spelt."""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from collections.abc import Iterator
from typing import Final

from governance.rules import UrlsRule
from operators.guardrails.fold import fold

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

_AUTHORITY: Final = re.compile(r"[a-z][a-z0-9+.-]{0,30}:[/\\]{2,}([^\s/\\?#\"'<>`|]{1,512})", re.IGNORECASE)
_BARE: Final = re.compile(r"(?<![\w.:/@-])(?:\d{1,3}\.){3}\d{1,3}(?![\w.-])|\bmetadata\.google\.internal\b", re.IGNORECASE)
_ESCAPED: Final = re.compile(r"%([0-9a-f]{2})", re.IGNORECASE)
_DEFAULT_PORTS: Final = {"http": 80, "https": 443, "ws": 80, "wss": 443, "ftp": 21, "ssh": 22, "sftp": 22}
_METADATA: Final = frozenset(map(ipaddress.ip_address, ("169.254.169.254", "169.254.170.2", "100.100.100.200", "168.63.129.16", "fd00:ec2::254")))
_METADATA_NAMES: Final = frozenset({"metadata.google.internal", "metadata", "instance-data"})
_LOCAL_NAMES: Final = ("localhost", ".localhost", ".localdomain")
#: Names that resolve to the address that stands in them.
_WILDCARD_DNS: Final = (".nip.io", ".sslip.io", ".xip.io")
_EMBEDDED: Final = re.compile(r"(?:^|[.-])(\d{1,3}[.-]\d{1,3}[.-]\d{1,3}[.-]\d{1,3})(?:[.-]|$)")


class UrlFinder:
    """Finds URLs that break a rule, and bare addresses of metadata services.

    Args:
        rule: What is allowed and what is not.

    Example:
        >>> from governance.verdict import Action, Enforcement, Severity, Verdict
        >>> head = ("ssrf", "x", Verdict.DENY, Action.PASS, Enforcement.FLAG, Severity.ERROR, ("tool",))
        >>> find = UrlFinder(UrlsRule(*head, networks=("metadata",), disguised=True))
        >>> [bool(find(text)) for text in ("http://2852039166/latest", "https://example.com@10.0.0.1/", "https://example.com/")]
        [True, True, False]
    """

    def __init__(self, rule: UrlsRule) -> None:
        self._rule = rule

    def __call__(self, text: str) -> list[tuple[int, int]]:
        """Gives the places in a folded text."""
        places = [found.span() for found in _AUTHORITY.finditer(text) if self._breaks(found.group().partition(":")[0].lower(), found[1])]
        if "metadata" in self._rule.networks:
            places += [found.span() for found in _BARE.finditer(text) if "metadata" in _networks(found.group().lower(), _address(found.group()))]
        return places

    def _breaks(self, scheme: str, authority: str) -> bool:
        rule = self._rule
        userinfo, at, rest = authority.rpartition("@")
        host, port = _parted(rest, scheme)
        address = _address(host)
        if rule.disguised and (_is_disguised(host, address) or (at and "." in userinfo)):
            return True
        if set(rule.networks) & set(_networks(host, address)):
            return True
        if port is not None and (port in rule.deny_ports or (rule.allow_ports is not None and port not in rule.allow_ports)):
            return True
        return rule.allow_domains is not None and not any(host == domain or host.endswith(f".{domain}") for domain in rule.allow_domains)


def _parted(rest: str, scheme: str) -> tuple[str, int | None]:
    """Gives host and port; the scheme's own port where none is named."""
    host, colon, digits = rest.rpartition(":") if not rest.endswith("]") else (rest, "", "")
    if not colon:
        host, digits = rest, ""
    port = int(digits) if digits.isdigit() and len(digits) < 6 else _DEFAULT_PORTS.get(scheme)
    return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), host).strip("[]").rstrip(".,;)!").lower(), port


def _address(host: str) -> IpAddress | None:
    """Gives the address that a host names, as lenient resolvers read it: decimal, octal and hexadecimal, one to four parts."""
    embedded = _EMBEDDED.search(host) if host.endswith(_WILDCARD_DNS) else None
    if embedded is not None:
        host = embedded[1].replace("-", ".")
    try:
        address = ipaddress.ip_address(host)
        mapped = getattr(address, "ipv4_mapped", None)
        return mapped or address
    except ValueError:
        pass
    numbers = [_number(part) for part in host.split(".")]
    if not 1 <= len(numbers) <= 4 or None in numbers:
        return None
    known = [number for number in numbers if number is not None]
    *heads, last = known
    if any(head > 255 for head in heads) or last >= 256 ** (5 - len(known)):
        return None
    return ipaddress.IPv4Address(sum(head << (24 - 8 * index) for index, head in enumerate(heads)) + last)


def _number(part: str) -> int | None:
    for shape, radix in ((r"0x[0-9a-f]{1,16}", 16), (r"0[0-7]{1,20}", 8), (r"[0-9]{1,12}", 10)):
        if re.fullmatch(shape, part):
            return int(part, radix)
    return None


def _networks(host: str, address: IpAddress | None) -> Iterator[str]:
    if host in _METADATA_NAMES or address in _METADATA:
        yield "metadata"
    if host == _LOCAL_NAMES[0] or host.endswith(_LOCAL_NAMES[1:]):
        yield "loopback"
    if address is None:
        return
    if address.is_loopback or address.is_unspecified:
        yield "loopback"
    elif address.is_link_local:
        yield "link_local"
    elif address.is_private:
        yield "private"


def _is_disguised(host: str, address: IpAddress | None) -> bool:
    """An address that is not written as one, or a name in punycode that reads like plain letters."""
    if address is not None and ":" not in host and host != str(address):
        return True
    for label in host.split("."):
        if label.startswith("xn--"):
            try:
                shown = label[4:].encode("ascii").decode("punycode")
            except (UnicodeError, ValueError):
                return True
            accents_off = "".join(char for char in unicodedata.normalize("NFKD", shown) if not unicodedata.combining(char))
            if not accents_off.isascii() and re.fullmatch(r"[a-z0-9-]+", fold(shown).lower()):
                return True
    return False
