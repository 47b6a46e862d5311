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
from governance.pii import PERSON_ID, FixedText, PartialMask
from operators.pii.allow import NOTHING_ALLOWED, AllowList
from operators.pii.hashes import UserHash
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
        replacements: What ``mask`` puts in the place of values of single entities, where it is not ``<ENTITY>``.
        allowed: Values that are left as they are.
    """

    key: bytes
    by_entity: Mapping[str, Action] = field(default_factory=lambda: MappingProxyType({}))
    default: Action = Action.MASK
    kid: str | None = None
    sealer: Sealer | None = None
    replacements: Mapping[str, PartialMask | FixedText] = field(default_factory=lambda: MappingProxyType({}))
    allowed: AllowList = NOTHING_ALLOWED

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
            return UserHash(self.key, self.kid).of(raw) if entity == PERSON_ID else f"<{entity}:{self._kid}{self.name(entity, raw)}>"
        if action in SEALING:
            sealed = self.sealer.sealed(entity, raw) if self.sealer is not None else None
            if self.sealer is None or sealed is None:  # nothing to seal, or too long for it
                return f"<{entity}>"
            return f"<{entity}:{'e' if action is Action.ENCRYPT else 's'}:{self.sealer.kid}:{sealed}>"
        written = self.replacements.get(entity)
        if isinstance(written, FixedText):
            return written.text
        # What holds a placeholder already is more than one value: which of its characters may be shown is not known.
        return f"<{entity}>" if written is None or "<" in raw else _partly_hidden(raw, written)

    def standing(self, entity: str, raw: str) -> str:
        """The placeholder that stands for a value until its leaf is masked to the end.

        What takes its place in the end may show a part of the value, or look like personal data: it must not be examined again.
        """
        shown = entity in self.replacements or (entity == PERSON_ID and self.of(entity) is Action.HASH)
        return f"<{entity}:{self.name(entity, raw)}>" if shown and self.of(entity) is not Action.DROP else self.replacement(entity, raw)

    @property
    def shows(self) -> bool:
        """Whether any placeholder is only standing."""
        return bool(self.replacements) or self.of(PERSON_ID) is Action.HASH

    def settled(self, text: str, gone: Sequence[Span]) -> dict[str, str]:
        """What takes the place of the standing placeholders of spans of a text in the end."""
        values = {(span.entity, text[span.start : span.end]) for span in gone}
        pairs = {self.standing(entity, raw): self.replacement(entity, raw) for entity, raw in values}
        return {standing: final for standing, final in pairs.items() if standing != final}

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


def _partly_hidden(raw: str, written: PartialMask) -> str:
    hidden = min(written.characters, len(raw))
    signs = written.with_character * hidden
    return raw[: len(raw) - hidden] + signs if written.from_end else signs + raw[hidden:]


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

    def settled(self, text: str, final: Mapping[str, str]) -> str:
        """The text with what takes the place of its standing placeholders in the end."""
        return self._pattern.sub(lambda match: final.get(match.group(), match.group()), text)

    def spared(self, text: str, spans: Sequence[Span]) -> list[Span]:
        """The spans without those inside a placeholder; others that overlap one are widened to hold it whole."""
        held = [match.span() for match in self._pattern.finditer(text)] if "<" in text else []
        if not held:
            return list(spans)
        kept = []
        for span in spans:
            start, end = span.start, span.end
            if not any(low <= start and end <= high for low, high in held):
                touched = [place for place in held if place[0] < end and start < place[1]]
                wide = (min(start, *(low for low, _ in touched)), max(end, *(high for _, high in touched))) if touched else (start, end)
                kept.append(span._replace(start=wide[0], end=wide[1]))
        return kept


def replaced(text: str, spans: Sequence[Span], actions: Actions) -> tuple[str, list[Span]]:
    """The text with standing placeholders in the place of its personal data, and the disjoint spans that were.

    Args:
        text: The raw text.
        spans: What was found; they may overlap. Those of kept entities are left out first, so that they shield nothing.
        actions: What becomes of each. What they allow is left, with what was found inside of it.
    """
    gone = resolve(span for span in actions.allowed.without(text, spans) if actions.of(span.entity) is not Action.KEEP)
    pieces: list[str] = []
    position = 0
    for span in gone:
        pieces += (text[position : span.start], actions.standing(span.entity, text[span.start : span.end]))
        position = span.end
    pieces.append(text[position:])
    return "".join(pieces), gone
