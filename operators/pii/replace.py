"""What takes the place of personal data in a text: a placeholder that says what was there."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import blake2b
from types import MappingProxyType
from typing import Final

from governance.key_ring import KeyRing, KeyUse
from operators.pii.seal import Sealer
from operators.pii.spans import Span, resolve
from schemas.errors import ConfigError

_KEY_BYTES_MIN: Final = 16
_LETTERS: Final = str.maketrans("0123456789abcdef", "abcdefghijklmnop")


class Action(StrEnum):
    """What becomes of personal data."""

    MASK = "mask"  # <EMAIL_ADDRESS>
    HASH = "hash"  # <EMAIL_ADDRESS:kjdmgbpahcol>: equal values stay equal, under one key
    ENCRYPT = "encrypt"  # <EMAIL_ADDRESS:e:kid:letters>: a ciphertext that the key ring opens
    TOKENISE = "tokenise"  # <EMAIL_ADDRESS:s:kid:letters>, for which operators.pii.tokens puts <EMAIL_ADDRESS:t:kid:letters>
    DROP = "drop"  # nothing stands in its place
    KEEP = "keep"  # it is left as it is


#: What needs a key that opens again.
SEALING: Final = frozenset({Action.ENCRYPT, Action.TOKENISE})


@dataclass(frozen=True, slots=True)
class Actions:
    """Which action each entity gets.

    Attributes:
        by_entity: Actions of single entities.
        default: Action of all others.
        key: Secret of at least 16 bytes for hashes; equal values have equal hashes as long as it stays the same.
        kid: Id of that key in a key ring, named in every hash; None for a lone key.
        sealer: Encrypts; needed where an entity is encrypted or gets a token.
    """

    key: bytes
    by_entity: Mapping[str, Action] = field(default_factory=lambda: MappingProxyType({}))
    default: Action = Action.MASK
    kid: str | None = None
    sealer: Sealer | None = None

    def __post_init__(self) -> None:
        """Holds the key to its length, and sealing to a key.

        Raises:
            ConfigError: The key is too short, or there is none to seal with.
        """
        if self.sealer is None and not SEALING.isdisjoint((*self.by_entity.values(), self.default)):
            KeyRing().require(KeyUse.SEAL, "a policy that encrypts or tokenises")
        if len(self.key) < _KEY_BYTES_MIN:
            raise ConfigError(f"pii.key: must have at least {_KEY_BYTES_MIN} bytes, has {len(self.key)}")

    def of(self, entity: str) -> Action:
        """The action of an entity."""
        return self.by_entity.get(entity, self.default)

    def replacement(self, entity: str, raw: str) -> str:
        """What takes the place of a value of an entity whose action is not ``keep``."""
        action = self.of(entity)
        if action is Action.DROP:
            return ""
        if action is Action.HASH:
            return f"<{entity}:{self._kid}{self.name(entity, raw)}>"
        sealed = self.sealer.sealed(entity, raw) if self.sealer is not None and action in SEALING else None
        if self.sealer is None or sealed is None:  # nothing to seal, or too long for it
            return f"<{entity}>"
        return f"<{entity}:{'e' if action is Action.ENCRYPT else 's'}:{self.sealer.kid}:{sealed}>"

    def name(self, entity: str, raw: str) -> str:
        """Twelve letters (48 bits) that stand for a value. Letters, because digits could be taken for personal data once more."""
        return self._digest(b"headrace-value", f"{entity}\0{raw}", 6).translate(_LETTERS)

    def id_name(self, raw: str) -> str:
        """Sixteen hexadecimal digits (64 bits) that stand for an identifier, after the id of the key where it has one."""
        return ("" if self.kid is None else f"{self.kid}_") + self._digest(b"headrace-id", raw, 8)

    @property
    def _kid(self) -> str:
        return "" if self.kid is None else f"{self.kid}:"

    def _digest(self, purpose: bytes, text: str, size_bytes: int) -> str:
        key = blake2b(self.key, digest_size=32).digest()
        return blake2b(text.encode("utf-8", "surrogatepass"), key=key, person=purpose, digest_size=size_bytes).hexdigest()


class Placeholders:
    """Placeholders of the known entities, and texts in which they stand.

    Args:
        entities: All entities that can be replaced.
    """

    def __init__(self, entities: Collection[str]) -> None:
        # Only what this program writes counts as a placeholder: upper case names of known entities and letters that are no data.
        names = "|".join(sorted(map(re.escape, entities), key=len, reverse=True))
        self._pattern = re.compile(rf"<(?:{names})(?::(?:[a-p]{{6}}:)?[a-p]{{12}}|:t:[a-p]{{6}}:[a-p]{{24}}|:[es]:[a-p]{{6}}:(?:[a-p]{{32}})+)?>")

    def is_one(self, text: str) -> bool:
        """Whether the text is a placeholder and nothing else."""
        return self._pattern.fullmatch(text) is not None

    def blanked(self, text: str) -> str:
        """The text with its placeholders made meaningless, at the same offsets: a recogniser must not take their names for context words."""
        return self._pattern.sub(lambda match: f"<{'_' * (len(match.group()) - 2)}>", text) if "<" in text else text

    def spared(self, text: str, spans: Sequence[Span]) -> list[Span]:
        """The spans without those inside a placeholder; others that overlap one are widened to hold it whole."""
        held = [match.span() for match in self._pattern.finditer(text)] if "<" in text else []
        if not held:
            return list(spans)
        kept = []
        for entity, start, end, score in spans:
            if not any(low <= start and end <= high for low, high in held):
                touched = [place for place in held if place[0] < end and start < place[1]]
                wide = (min(start, *(low for low, _ in touched)), max(end, *(high for _, high in touched))) if touched else (start, end)
                kept.append(Span(entity, *wide, score))
        return kept


def replaced(text: str, spans: Sequence[Span], actions: Actions) -> tuple[str, list[Span]]:
    """The text with its personal data replaced, and the disjoint spans that were.

    Args:
        text: The raw text.
        spans: What was found; they may overlap. Those of kept entities are left out first, so that they shield nothing.
        actions: What becomes of each.
    """
    gone = resolve(span for span in spans if actions.of(span.entity) is not Action.KEEP)
    pieces: list[str] = []
    position = 0
    for entity, start, end, _ in gone:
        pieces += (text[position:start], actions.replacement(entity, text[start:end]))
        position = end
    pieces.append(text[position:])
    return "".join(pieces), gone
