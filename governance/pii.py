"""The section ``pii`` of a policy: what is personal data, where it hides, and what takes its place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from governance.data_classes import Handling
from governance.patterns import PatternSpec

#: Entities that Presidio's English pattern recognisers find (2.2.366).
PATTERN_ENTITIES: Final = (
    "CREDIT_CARD",
    "CRYPTO",
    "DATE_TIME",
    "EMAIL_ADDRESS",
    "IBAN_CODE",
    "IP_ADDRESS",
    "MAC_ADDRESS",
    "MEDICAL_LICENSE",
    "PHONE_NUMBER",
    "UK_NHS",
    "URL",
    "US_BANK_NUMBER",
    "US_DRIVER_LICENSE",
    "US_ITIN",
    "US_PASSPORT",
    "US_SSN",
    "UUID",
)

#: Entities that no pattern can know: a key name or the name tagger gives them away.
KEY_ENTITIES: Final = ("LOCATION", "NRP", "ORGANIZATION", "PERSON", "PERSON_ID")

#: The id of a person, such as ``mia_li_3668``. Hashed, it is the same hash in the column ``user_id``, in every other id and in every text.
PERSON_ID: Final = "PERSON_ID"

#: What the name tagger finds.
NAME_ENTITIES: Final = ("PERSON", "LOCATION", "ORGANIZATION")


@dataclass(frozen=True, slots=True)
class ExtraRecogniser:
    """A recogniser beside Presidio's own.

    Attributes:
        entity: What its spans are called; several recognisers may share an entity.
        name: Unique among recognisers.
        patterns: Expressions in the syntax of the ``regex`` module.
        context: Words near a match that lift its score.
        deny_list: Words that are always found, whole and regardless of case.
        deny_list_score: 0 to 1, how sure a word of that list is.
    """

    entity: str
    name: str
    patterns: tuple[PatternSpec, ...]
    context: tuple[str, ...] = ()
    deny_list: tuple[str, ...] = ()
    deny_list_score: float = 1.0


@dataclass(frozen=True, slots=True)
class KeyName:
    """A JSON key whose value is personal whatever it looks like, e.g. ``date_of_birth`` -> ``DATE_TIME``."""

    name: str
    entity: str


@dataclass(frozen=True, slots=True)
class PartialMask:
    """Characters of a value that are hidden, the others shown, e.g. ``************1111``.

    Source: the operator ``mask`` of ``presidio_anonymizer``.

    Attributes:
        entity: Whose values.
        characters: How many are hidden; all of a value that has no more.
        with_character: What stands in the place of each.
        from_end: Whether the last ones are hidden, not the first.
    """

    entity: str
    characters: int
    with_character: str = "*"
    from_end: bool = False


@dataclass(frozen=True, slots=True)
class FixedText:
    """A text of the policy that takes the place of every value of an entity.

    Source: the operator ``replace`` of ``presidio_anonymizer``.
    """

    entity: str
    text: str


@dataclass(frozen=True, slots=True)
class Allowed:
    """Values that are left as they are although a recogniser finds them, such as the address of the own support.

    Attributes:
        texts: Whole values, as written.
        patterns: Expressions that must match a whole value.
        entities: Entities it holds for; empty for all.
    """

    texts: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    entities: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SplitValue:
    """A value that stands in parts under neighbouring keys, such as a first and a last name, and is looked for as a whole in the same event.

    Attributes:
        entity: What the whole is.
        keys: Names of the keys, in the order in which the parts are written.
        has_telling_parts: Whether each part alone is looked for too.
    """

    entity: str
    keys: tuple[str, ...]
    has_telling_parts: bool = False


@dataclass(frozen=True, slots=True)
class PiiPolicy:
    """What is personal data and what is done with it.

    Attributes:
        score_threshold: Findings below it are dropped, after context words were counted; above 0, at most 1.
        entities: Entity and its handling; an entity that is not named is not looked for.
        user_id: Handling of the ``user_id`` column (hash, drop or keep).
        identifier_entities: Entities that turn an identifier (event_id, agent_id, ...) into a keyed hash when found inside it.
        key_names: Keys whose values are masked as the entity without looking at them.
        recognisers: Recognisers beside Presidio's own.
        replacements: What stands in the place of values of entities whose handling is ``mask``, where it is not ``<ENTITY>``; one an entity.
        allowed: Values that are left as they are.
        locales: Countries whose own recognisers of Presidio run too.
        split_values: Values in parts under neighbouring keys.
    """

    score_threshold: float
    entities: tuple[tuple[str, Handling], ...]
    user_id: Handling
    identifier_entities: tuple[str, ...]
    key_names: tuple[KeyName, ...]
    recognisers: tuple[ExtraRecogniser, ...]
    replacements: tuple[PartialMask | FixedText, ...] = ()
    allowed: tuple[Allowed, ...] = ()
    locales: tuple[str, ...] = ()
    split_values: tuple[SplitValue, ...] = ()

    def handling_of(self, entity: str) -> Handling:
        """Gives what is done with a finding; an entity that the policy does not name is kept, for it is not looked for."""
        return dict(self.entities).get(entity, Handling.KEEP)

    @property
    def tokenises(self) -> bool:
        """Whether values go to the vault."""
        return any(handling is Handling.TOKENISE for _, handling in self.entities)

    @property
    def seals(self) -> bool:
        """Whether a key ring is needed: something is encrypted or goes to the vault."""
        return any(handling in (Handling.ENCRYPT, Handling.TOKENISE) for _, handling in self.entities)
