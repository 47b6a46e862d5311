"""Secrets in texts by the rules of a scanner: some 480 shapes of keys and tokens, with the least entropy of each.

The rules are those of Kingfisher (betterleaks and veles among them), as data: ``scripts/secret_rules.py`` writes the file. The scanner itself
compiles them for ten seconds in each process, or reads a cache from disk, and would scan every text; here one Hyperscan scan tells which rules
could match, and only these are run.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from importlib import resources
from math import log2
from typing import Any, Final

import hyperscan
import msgspec
import regex

from operators.multipattern import CompiledStore, multipattern
from operators.pii.spans import Finding, Span, dedupe
from operators.pii.superset import superset

ENTITY: Final = "SECRET"
_FILE: Final = "secret_rules.json"
_FLAGS: Final = hyperscan.HS_FLAG_CASELESS | hyperscan.HS_FLAG_DOTALL | hyperscan.HS_FLAG_MULTILINE | hyperscan.HS_FLAG_PREFILTER
_SCORES: Final = {"high": 0.9, "medium": 0.6, "low": 0.3}
#: What stands where a secret would: a character over and over, a reference to a variable, a slot of a template.
_PLACEHOLDER: Final = re.compile(r"(.)\1*|\$\{?\w+\}?|\$?\{\{.*\}\}|%\w+%|<.*>", re.DOTALL).fullmatch


class SecretRule(msgspec.Struct, frozen=True):
    """One rule of the scanner.

    Attributes:
        id: Its name at the scanner.
        regex: In the syntax of the ``regex`` module.
        group: Which group is the secret; 0 means the first that matched, or the whole.
        entropy_min: Bits a character; a secret with no more is none.
        confidence: ``high``, ``medium`` or ``low``.
    """

    id: str
    regex: str
    group: int
    entropy_min: float
    confidence: str


class _File(msgspec.Struct):
    rules: list[SecretRule]


@lru_cache(maxsize=1)
def secret_rules() -> tuple[SecretRule, ...]:
    """The rules that come with headrace."""
    return tuple(msgspec.json.decode(resources.files("operators.pii").joinpath(_FILE).read_bytes(), type=_File).rules)


class SecretScanner:
    """Finds secrets. Not for use by several threads at once (Hyperscan's scratch space).

    Rules see ASCII: any other character stands for a question mark, which is part of no secret.

    Args:
        timeout_s: Seconds that one rule may take on one text.
        store: Where the compiled database is kept.
    """

    def __init__(self, timeout_s: float, store: CompiledStore | None = None) -> None:
        self._timeout_s = timeout_s
        gates = {index: superset(rule.regex, ascii_text=True) for index, rule in enumerate(secret_rules())}
        held = {index: gate.encode() for index, gate in gates.items() if gate is not None}
        assert len(held) == len(gates), "every rule has a gate; scripts/secret_rules.py writes no other"
        self._database = multipattern(held, _FLAGS | hyperscan.HS_FLAG_SINGLEMATCH, _Remembering(store))
        self._searches: dict[int, Any] = {}

    def masks(self, texts: Sequence[str]) -> list[int]:
        """For each text the rules that could match in it: bit ``n`` stands for rule ``n``."""
        scan = self._database.scan
        hits: list[int] = []

        def on_match(index: int, start: int, end: int, flags: int, context: Any) -> None:
            hits.append(index)

        masks = []
        for text in texts:
            scan(text.encode("ascii", "replace"), match_event_handler=on_match)
            mask = 0
            if hits:
                for index in hits:
                    mask |= 1 << index
                hits.clear()
            masks.append(mask)
        return masks

    def spans(self, text: str, mask: int) -> list[Span]:
        """The secrets of a text, by the rules of its mask; each names its rule as recogniser.

        Raises:
            TimeoutError: A rule took too long.
        """
        seen = text.encode("ascii", "replace").decode()
        found: dict[Finding, str] = {}
        while mask:
            index = mask.bit_length() - 1
            mask ^= 1 << index
            rule = secret_rules()[index]
            for match in self._search(index).finditer(seen, timeout=self._timeout_s):
                group = rule.group or next((number for number, held in enumerate(match.groups(), 1) if held), 0)
                start, end = match.span(group)
                if start < end and is_secret(seen[start:end], rule.entropy_min):
                    found.setdefault((start, end, _SCORES[rule.confidence]), rule.id)
        return [Span(ENTITY, *finding, found[finding]) for finding in dedupe(found)]

    def _search(self, index: int) -> Any:
        """The rule's expression, compiled when it is first asked for: most never are."""
        search = self._searches.get(index)
        if search is None:
            search = self._searches[index] = regex.compile(secret_rules()[index].regex)
        return search


def is_secret(text: str, entropy_min: float) -> bool:
    """Whether what matched is random enough and no placeholder."""
    if entropy_min and entropy(text) <= entropy_min:
        return False
    return _PLACEHOLDER(text) is None


def entropy(text: str) -> float:
    """Shannon entropy of the characters, in bits a character."""
    size = len(text)
    return -sum(count / size * log2(count / size) for count in Counter(text).values()) if text else 0.0


@lru_cache(maxsize=1)
def _remembered() -> dict[str, bytes]:
    """What this process compiled: the rules are the same for every policy."""
    return {}


class _Remembering:
    """A store that remembers the one database within the process too."""

    def __init__(self, store: CompiledStore | None) -> None:
        self._store = store

    def get(self, name: str) -> bytes | None:
        """Gives what was put under the name."""
        return _remembered().get(name) or (self._store.get(name) if self._store is not None else None)

    def put(self, name: str, data: bytes) -> None:
        """Keeps data under the name."""
        _remembered()[name] = data
        if self._store is not None:
            self._store.put(name, data)
