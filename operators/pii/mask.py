"""Masking of the texts of a column: every leaf, each distinct text once, and what was found where, without the values.

Masking is idempotent: it goes on until a text's own result has nothing left to mask, and leaves its own placeholders alone.
"""

from __future__ import annotations

from collections import ChainMap, Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final

from governance.pii import PERSON_ID
from operators.multipattern import CompiledStore
from operators.pii.clean import CleanTexts, QuietHook
from operators.pii.encodings import EncodedTexts
from operators.pii.key_names import KEY_ENTITIES, KeyNames
from operators.pii.leaf_masking import CLEAN_LEAF, LeafMasker, MaskedLeaf, NamedLeaf
from operators.pii.leaves import Document, LeafReader, Place, string_of
from operators.pii.looks import NO_LOOKS, Looks, looked_up
from operators.pii.memo import DigestMemo
from operators.pii.names import NO_NAMES, Names, by_leaf
from operators.pii.recognise import Recogniser
from operators.pii.replace import Action, Actions, Placeholders
from operators.pii.spans import Span, resolve
from operators.pii.spec import RecogniserSpec
from schemas.errors import ConfigError, RecordError

#: From the distinct raw leaves of a batch to the ids of the rules that each breaks. Pure: its answers are remembered.
RawHook = Callable[[list[str]], list[tuple[str, ...]]]

#: Entities that turn an identifier into a hash. The others are too easily found in identifiers that are none.
ID_ENTITIES: Final = frozenset({"EMAIL_ADDRESS", "CREDIT_CARD", "IBAN_CODE", "US_SSN", "PHONE_NUMBER", "CRYPTO"})

#: Says of a finding that the key of its value decided.
KEY_NAMES: Final = "KeyNames"

_NO_COUNTS: Final[Mapping[str, int]] = MappingProxyType({})
_NO_DOCUMENTS: Final[Mapping[str, Document]] = MappingProxyType({})
_MEMO_LEAF_CHARS_MIN: Final = 32


@dataclass(frozen=True, slots=True)
class MaskSpec:
    """How texts are masked.

    Attributes:
        actions: What becomes of each entity, and the key of hashes.
        recogniser: What is looked for.
        keys: Entity of the values under a key, by name of the key.
        id_entities: Entities that turn an identifier into a hash when found inside it; phone numbers count only with a leading plus.
        names: Entities of names that a model finds and that are acted on; others of its findings are left out.
        nesting_depth_max: How deep JSON may be nested, JSON inside strings included.
        memo_chars_max: Characters of masked texts that are remembered, twice: for whole texts and for leaves.
    """

    actions: Actions
    recogniser: RecogniserSpec = field(default_factory=RecogniserSpec)
    keys: Mapping[str, str] = field(default_factory=lambda: KEY_ENTITIES)
    id_entities: frozenset[str] = ID_ENTITIES
    names: frozenset[str] = frozenset()
    nesting_depth_max: int = 64
    memo_chars_max: int = 12_000_000

    def __post_init__(self) -> None:
        """Holds the values to their ranges.

        Raises:
            ConfigError: With every problem.
        """
        problems = []
        if not 1 <= self.nesting_depth_max <= 200:
            problems.append(f"pii.nesting_depth_max: must be from 1 to 200, is {self.nesting_depth_max}")
        if self.memo_chars_max < 0:
            problems.append(f"pii.memo_chars_max: must not be negative, is {self.memo_chars_max}")
        if problems:
            raise ConfigError(*problems)


def leaf_reader(spec: MaskSpec) -> LeafReader:
    """Gives what takes texts apart under a spec."""
    keys = KeyNames({key: entity for key, entity in spec.keys.items() if spec.actions.of(entity) is not Action.KEEP})
    # A sealed value must stand where tokens are made of them: not inside of an encoding.
    return LeafReader(keys, spec.nesting_depth_max, decodes=spec.actions.sealer is None)


@dataclass(frozen=True, slots=True)
class LeafHit:
    """Personal data that was replaced in a leaf; never the value.

    Attributes:
        entity: What it was.
        path: Where: keys and indices after masking, ``$`` for JSON inside a string.
        score: The recogniser's confidence; 1.0 where the key decided.
        recogniser: Name of the recogniser that found it; ``KeyNames`` where the key of the value decided, ``KeyPairs`` where a key in the text did.
    """

    entity: str
    path: str
    score: float
    recogniser: str = ""


@dataclass(frozen=True, slots=True)
class MaskedTexts:
    """A column after masking; all sequences have one item a row.

    Attributes:
        values: Masked texts; None where the value was None or could not be masked.
        counts: Replaced pieces by entity.
        hits: The same one by one, with their places.
        rules: Ids of the raw hook's rules that some leaf breaks, sorted.
        failures: By row, why a value could not be masked; such a record must not go on.
    """

    values: list[str | None]
    counts: list[Mapping[str, int]]
    hits: list[tuple[LeafHit, ...]]
    rules: list[tuple[str, ...]]
    failures: Mapping[int, RecordError]


@dataclass(frozen=True, slots=True)
class _Result:
    """What was made of one text: None as value means that it stays as it is."""

    value: str | None
    counts: Mapping[str, int] = field(default_factory=lambda: _NO_COUNTS)
    hits: tuple[LeafHit, ...] = ()
    rules: tuple[str, ...] = ()


_CLEAN_RESULT: Final = _Result(None)
_Outcome = _Result | RecordError
#: A text, the names that were found in its leaves, and what else is looked for in them. What is remembered is remembered under all, so that a result
#: made without names never stands for one made with them.
_Named = tuple[str, Names, Looks]


class TextMasker:
    """Masks columns of texts. Not for use by several threads at once: give each worker its own.

    Args:
        spec: What is masked and how.
        raw_hook: Sees the raw leaves; only the ids that it answers leave the masker.
        quiet_hook: Says of whole JSON texts whether the raw hook has surely nothing to say of their leaves. With a raw hook and without this one
            every text is taken apart.
        store: Where compiled databases are kept.

    Raises:
        ConfigError: The spec, or an installed library, is not what the recogniser can work with.
    """

    def __init__(
        self, spec: MaskSpec, raw_hook: RawHook | None = None, quiet_hook: QuietHook | None = None, store: CompiledStore | None = None
    ) -> None:
        self._actions = spec.actions
        self._recogniser = recogniser = Recogniser(spec.recogniser, store)
        self._raw_hook = raw_hook
        self._id_entities = spec.id_entities
        self._reader = leaf_reader(spec)
        self._names = spec.names
        self._name_score_min = spec.recogniser.score_threshold
        can_tell = raw_hook is None or quiet_hook is not None
        encodings = EncodedTexts(store)
        self._clean = CleanTexts(recogniser, self._reader.keys, spec.nesting_depth_max, quiet_hook, encodings) if can_tell else None
        self._placeholders = Placeholders(recogniser.entities | set(spec.keys.values()) | spec.names)
        self._leaf_masker = LeafMasker(recogniser, spec.actions, self._placeholders, encodings, self._reader.keys)
        self._documents: DigestMemo[_Result] = DigestMemo(spec.actions.key, spec.memo_chars_max)
        self._leaves: DigestMemo[MaskedLeaf] = DigestMemo(spec.actions.key, spec.memo_chars_max)

    def mask_json(
        self,
        values: Sequence[str | None],
        names: Sequence[Names] | None = None,
        looks: Sequence[Looks] | None = None,
        documents: Mapping[str, Document] = _NO_DOCUMENTS,
    ) -> MaskedTexts:
        """Masks every string leaf, key and long number of JSON texts, and of JSON inside their strings.

        A text in which nothing is masked comes back as it is; others are written compactly, with keys in their order. Equal keys, before or
        after masking, are told apart by ``<2>``. Masked numbers become strings.

        Args:
            values: The texts.
            names: For each, the names that were found in its leaves; None where there are none.
            looks: For each, what else is looked for in its leaves; None where that is nothing.
            documents: Texts that were taken apart before, by a reader of the same spec.
        """
        nothing: list[tuple[()]] = [()] * len(values)
        return self._mask(values, list(zip(values, names or nothing, looks or nothing, strict=True)), documents, is_json=True)

    def mask_plain(self, values: Sequence[str | None]) -> MaskedTexts:
        """Masks plain texts; one that is a JSON object or array is masked as such."""
        return self._mask(values, [(value, NO_NAMES, NO_LOOKS) for value in values], _NO_DOCUMENTS, is_json=False)

    def mask_ids(self, values: Sequence[str | None]) -> list[str | None]:
        """Identifiers, those that hold personal data replaced by ``h_`` and 16 hexadecimal digits: equal ids stay equal, so joins still work.

        Only the spec's ``id_entities`` count, and phone numbers only with a leading plus: an order number is no phone number.

        Raises:
            MaskingFailed: An identifier could not be examined.
        """
        distinct = self._recogniser.suspects(list(dict.fromkeys(value for value in values if value is not None)), self._id_entities)
        dialled = [raw for raw in distinct if "+" in raw]
        others = [raw for raw in distinct if "+" not in raw]
        found = zip(dialled, self._recogniser.spans(dialled, self._id_entities), strict=True)
        more = zip(others, self._recogniser.spans(others, self._id_entities - {"PHONE_NUMBER"}), strict=True)
        names = {
            raw: self._id_name(raw, personal) for raw, spans in (*found, *more) if (personal := [span for span in spans if _is_named(raw, span)])
        }
        return [None if value is None else names.get(value, value) for value in values] if names else list(values)

    def _id_name(self, raw: str, spans: Sequence[Span]) -> str:
        """What stands for an identifier. Where only ids of persons are personal in it, each is hashed as it is anywhere else."""
        if any(span.entity != PERSON_ID for span in spans) or self._actions.of(PERSON_ID) is not Action.HASH:
            return f"h_{self._actions.id_name(raw)}"
        pieces: list[str] = []
        position = 0
        for span in resolve(spans):
            pieces += (raw[position : span.start], self._actions.replacement(PERSON_ID, raw[span.start : span.end]))
            position = span.end
        return "".join((*pieces, raw[position:]))

    def _mask(
        self, values: Sequence[str | None], named: Sequence[tuple[str | None, Names, Looks]], documents: Mapping[str, Document], *, is_json: bool
    ) -> MaskedTexts:
        distinct = [(text, names, looks) for text, names, looks in dict.fromkeys(named) if text is not None]
        outcomes = self._outcomes(distinct, documents, is_json=is_json)
        masked = MaskedTexts([], [], [], [], failures := {})
        for row, value in enumerate(values):
            outcome = _CLEAN_RESULT if value is None else outcomes[value, named[row][1], named[row][2]]
            if isinstance(outcome, RecordError):
                failures[row] = outcome
                value, outcome = None, _CLEAN_RESULT
            masked.values.append(value if outcome.value is None else outcome.value)
            masked.counts.append(outcome.counts)
            masked.hits.append(outcome.hits)
            masked.rules.append(outcome.rules)
        return masked

    def _outcomes(self, texts: Sequence[_Named], taken: Mapping[str, Document], *, is_json: bool) -> dict[_Named, _Outcome]:
        """What becomes of each text; known ones are not looked at again."""
        outcomes: dict[_Named, _Outcome] = {}
        if is_json and self._clean is not None:
            clean = self._clean.among([text for text, names, looks in texts if not names and not looks])
            outcomes = {(text, NO_NAMES, NO_LOOKS): _CLEAN_RESULT for text in clean}
            texts = [named for named in texts if named not in outcomes]
        documents: dict[_Named, tuple[bytes, Document, dict[str, tuple[Span, ...]]]] = {}
        for named in texts:
            text, names, looks = named
            digest = self._documents.digest((text if is_json else f"\0{text}") + (f"\0{names!r}{looks!r}" if names or looks else ""))
            known = self._documents.get(digest)
            if known is not None:
                outcomes[named] = known
                continue
            try:
                document = taken.get(text) or (self._reader.document(text) if is_json else self._reader.string(text))
                if looks:
                    names = (*names, *looked_up(document.distinct, looks))
                documents[named] = digest, document, by_leaf(document.distinct, names, self._names, self._name_score_min) if names else {}
            except RecordError as error:
                outcomes[named] = error
        leaves = self._examined([(document, names) for _, document, names in documents.values()])
        changes = {leaf[0]: made.value for leaf, made in leaves.items() if not leaf[1] and isinstance(made, MaskedLeaf) and made.value is not None}
        for named, (digest, document, names_by_leaf) in documents.items():
            outcome = self._result(document, names_by_leaf, leaves, changes, is_json=is_json)
            outcomes[named] = outcome
            if isinstance(outcome, _Result):
                self._documents.put(digest, outcome, len(outcome.value or ""))
        return outcomes

    def _result(
        self,
        document: Document,
        names: Mapping[str, tuple[Span, ...]],
        leaves: Mapping[NamedLeaf, MaskedLeaf | RecordError],
        changes: dict[str, str],
        *,
        is_json: bool,
    ) -> _Outcome:
        rules: set[str] = set()
        for raw in (*document.texts, *(raw for raw, _ in document.known)):
            leaf = leaves.get((raw, names.get(raw, ())))
            if isinstance(leaf, RecordError):
                return leaf
            if leaf is not None:
                rules.update(leaf.rules)
        known = {(raw, entity): self._actions.replacement(entity, raw) for raw, entity in document.known if self._must_go(raw, entity)}
        named = {raw: made.value for raw, of in names.items() if isinstance(made := leaves.get((raw, of)), MaskedLeaf) and made.value is not None}
        value, places = document.rebuilt(ChainMap(named, changes) if names else changes, known)
        if not places and value is document.text:
            return _Result(None, rules=tuple(sorted(rules))) if rules else _CLEAN_RESULT
        hits = tuple(hit for place in places for hit in _hits(place, leaves.get((place.text, names.get(place.text, ())))))
        counts = MappingProxyType(Counter(hit.entity for hit in hits))
        return _Result(value if is_json else string_of(value), counts, hits, tuple(sorted(rules)))

    def _must_go(self, raw: str, entity: str) -> bool:
        """Whether a value that is personal by its key is replaced: not one that was, nor one that is allowed."""
        return not self._placeholders.is_one(raw) and not self._actions.allowed.allows(entity, raw)

    def _examined(self, documents: Iterable[tuple[Document, Mapping[str, tuple[Span, ...]]]]) -> dict[NamedLeaf, MaskedLeaf | RecordError]:
        """What becomes of the leaves of the documents; clean ones may be missing."""
        masked: dict[NamedLeaf, bool] = {}
        for document, names in documents:
            for raw, _ in document.known:
                masked.setdefault((raw, ()), False)
            for raw in document.texts:
                masked[raw, names.get(raw, ())] = True
        results: dict[NamedLeaf, MaskedLeaf | RecordError] = {}
        digests: dict[NamedLeaf, bytes] = {}
        for leaf, recognise in masked.items():
            # A value that its key gives away is only shown to the hook; it must not be remembered as a leaf without personal data.
            if recognise and len(leaf[0]) >= _MEMO_LEAF_CHARS_MIN:
                digest = digests[leaf] = self._leaves.digest(f"{leaf[0]}\0{leaf[1]!r}" if leaf[1] else leaf[0])
                known = self._leaves.get(digest)
                if known is not None:
                    results[leaf] = known
        new = [leaf for leaf in masked if leaf not in results]
        results |= self._leaf_masker.masked([leaf for leaf in new if masked[leaf]])
        if self._raw_hook is not None and new:
            for leaf, broken in zip(new, self._raw_hook([raw for raw, _ in new]), strict=True):
                made = results.get(leaf, CLEAN_LEAF)
                if broken and isinstance(made, MaskedLeaf):
                    results[leaf] = replace(made, rules=broken)
        for leaf, digest in digests.items():
            made = results.get(leaf, CLEAN_LEAF)
            if isinstance(made, MaskedLeaf):
                self._leaves.put(digest, made, len(made.value or ""))
        return results


def _hits(place: Place, leaf: MaskedLeaf | RecordError | None) -> list[LeafHit]:
    if place.entity is not None:
        return [LeafHit(place.entity, place.path, 1.0, KEY_NAMES)]
    assert isinstance(leaf, MaskedLeaf), "what was replaced was examined"
    return [LeafHit(entity, place.path, score, recogniser) for entity, score, recogniser in leaf.found]


def _is_named(raw: str, span: Span) -> bool:
    return span.entity != "PHONE_NUMBER" or raw[span.start] == "+"
