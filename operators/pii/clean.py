"""Which JSON texts hold nothing to mask, told without taking them apart: a few scans of the text in place of a walk over its leaves.

In an ASCII text without a backslash every leaf stands as it is between two quotes, and every number between characters that are no word
characters. So what the gate, the key names or the rules could find in a leaf they find in the text too; they may also find what lies across leaves,
and then the text is taken apart after all. So is one that is no plain JSON: nested too deep, a key twice, a number with an exponent (leaves are
examined written out). Three of four texts of agents pass.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from operators.pii.encodings import EncodedTexts
from operators.pii.key_names import KeyNames
from operators.pii.key_pairs import KeyPairs
from operators.pii.recognise import Recogniser

#: Says of JSON texts (ASCII, without backslash) whether surely no leaf of it breaks a rule.
QuietHook = Callable[[list[str]], list[bool]]

_KEYS: Final = re.compile(r'"([^"]*)"\s*:').findall
_EXPONENT: Final = re.compile(r"(?:^|[:,\[\s])-?[0-9]+(?:\.[0-9]+)?[eE][+-]?[0-9]").search
_ENCODE: Final = msgspec.json.Encoder().encode
_DECODE: Final = msgspec.json.Decoder().decode


class CleanTexts:
    """Tells clean JSON texts. Not for use by several threads at once (Hyperscan's scratch space).

    Args:
        recogniser: Its gate is asked.
        keys: Keys whose values are personal.
        depth_max: How deep JSON may be nested.
        quiet: The rules' word; None where no rule looks at raw leaves.
        encodings: Tells texts with escapes, in which more can stand than can be read.
    """

    def __init__(self, recogniser: Recogniser, keys: KeyNames, depth_max: int, quiet: QuietHook | None, encodings: EncodedTexts) -> None:
        self._recogniser = recogniser
        self._keys = keys
        self._depth_max = depth_max
        self._quiet = quiet
        self._encodings = encodings
        self._pairs = KeyPairs(keys)

    def among(self, texts: Sequence[str]) -> set[str]:
        """Gives those of the JSON texts in which nothing is masked and no rule is broken; of the others nothing is said."""
        plain = [text for text in texts if text.isascii() and "\\" not in text]
        shut = [text for text, could in zip(plain, self._recogniser.gated(plain), strict=True) if not could]
        keyless = [text for text in shut if not self._has_key(text) and self._is_plain(text) and not self._encodings.is_encoded(text)]
        if self._quiet is None:
            return set(keyless)
        return {text for text, quiet in zip(keyless, self._quiet(keyless), strict=True) if quiet}

    def _has_key(self, text: str) -> bool:
        return (":" in text and any(map(self._keys.may_tell, _KEYS(text)))) or (("=" in text or "'" in text) and bool(self._pairs.spans(text)))

    def _is_plain(self, text: str) -> bool:
        """Whether it is compact JSON, not too deep, without exponents, in which no key stands twice: written again it is as long as it was."""
        if text.count("{") + text.count("[") > self._depth_max or _EXPONENT(text) is not None:
            return False
        try:
            return len(_ENCODE(_DECODE(text))) == len(text)
        except msgspec.DecodeError:
            return False
