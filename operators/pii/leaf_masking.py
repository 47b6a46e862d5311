"""Masking of single leaves, batch-wise, until nothing is left to mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from operators.pii.encodings import Decoded, EncodedTexts
from operators.pii.key_names import KeyNames
from operators.pii.key_pairs import KeyPairs
from operators.pii.recognise import Recogniser
from operators.pii.replace import Actions, Placeholders, replaced
from operators.pii.spans import Span
from schemas.errors import MaskingFailed, RecordError

#: Every round replaces a character outside of placeholders, so rounds end; a text that needs more than a few is hostile.
_ROUNDS_MAX: Final = 16


@dataclass(frozen=True, slots=True)
class MaskedLeaf:
    """What was made of one leaf.

    Attributes:
        value: The masked text; None means that it stays as it is.
        found: Entity, score and recogniser of each piece that was replaced.
        rules: Ids of rules that the raw leaf breaks.
    """

    value: str | None
    found: tuple[tuple[str, float, str], ...] = ()
    rules: tuple[str, ...] = ()


CLEAN_LEAF: Final = MaskedLeaf(None)

#: A leaf and the names that a model found in it. Two results of one text with other names are two results.
NamedLeaf = tuple[str, tuple[Span, ...]]


class LeafMasker:
    """Masks texts that are no longer taken apart.

    What is left of a text around a placeholder may match a pattern that the whole did not. So each masked text is examined again, its
    placeholders blanked, until nothing is found.

    Args:
        recogniser: Finds.
        actions: What becomes of findings.
        placeholders: What this program wrote itself.
        encodings: Undoes escapes: what is found in the decoded text is replaced too.
        keys: Keys whose values are personal, where they stand in a text beside their value.
    """

    def __init__(self, recogniser: Recogniser, actions: Actions, placeholders: Placeholders, encodings: EncodedTexts, keys: KeyNames) -> None:
        self._recogniser = recogniser
        self._actions = actions
        self._placeholders = placeholders
        self._encodings = encodings
        self._pairs = KeyPairs(keys)

    def masked(self, leaves: Sequence[NamedLeaf]) -> dict[NamedLeaf, MaskedLeaf | RecordError]:
        """Those of the distinct leaves in which something was replaced, or which could not be examined; the others are clean.

        Names join what the recogniser finds in the raw leaf; what is left of it is examined for patterns alone.
        """
        made: dict[NamedLeaf, MaskedLeaf | RecordError] = {}
        final: dict[NamedLeaf, dict[str, str]] = {}
        current = {leaf: leaf[0] for leaf in leaves}
        for turn in range(_ROUNDS_MAX):
            following: dict[NamedLeaf, str] = {}
            for (raw, text), found_spans in zip(current.items(), self._spans(list(current.values())), strict=True):
                if isinstance(found_spans, RecordError):
                    made[raw] = found_spans
                    continue
                spans = found_spans if turn else [*found_spans, *raw[1]]
                changed, gone = replaced(text, self._placeholders.spared(text, spans), self._actions) if spans else (text, [])
                if gone:
                    before = made.get(raw)
                    found = before.found if isinstance(before, MaskedLeaf) else ()
                    made[raw] = MaskedLeaf(changed, (*found, *((span.entity, span.score, span.recogniser) for span in gone)))
                    if self._actions.shows:
                        final.setdefault(raw, {}).update(self._actions.settled(text, gone))
                    following[raw] = changed
            current = following
            if not current:
                break
        for raw in current:
            made[raw] = MaskingFailed(f"pii.mask: a leaf must be masked within {_ROUNDS_MAX} rounds, one of {len(raw[0])} characters is not")
        for raw, texts in final.items():
            leaf = made[raw]
            if texts and isinstance(leaf, MaskedLeaf) and leaf.value is not None:
                made[raw] = replace(leaf, value=self._placeholders.settled(leaf.value, texts))
        return made

    def _spans(self, texts: list[str]) -> list[list[Span] | RecordError]:
        """Spans of each text, or why there are none."""
        try:
            return list(self._found(texts))
        except MaskingFailed as failure:
            if len(texts) == 1:
                return [failure]
        return [spans for text in texts for spans in self._spans([text])]

    def _found(self, texts: list[str]) -> list[list[Span]]:
        """What patterns and keys find in each text, as it is and with its escapes undone."""
        blanked = [self._placeholders.blanked(text) for text in texts]
        found = self._recogniser.spans(blanked)
        for spans, text in zip(found, blanked, strict=True):
            spans += self._pairs.spans(text)
        layers = {index: layer for index, text in enumerate(blanked) if (layer := self._encodings.layers(text))}
        inner = [(index, depth, self._placeholders.blanked(layer.text)) for index, of_text in layers.items() for depth, layer in enumerate(of_text)]
        if inner:
            decoded = self._recogniser.spans([text for _, _, text in inner])
            for (index, depth, text), spans in zip(inner, decoded, strict=True):
                found[index] += [_outer(span, layers[index][: depth + 1]) for span in (*spans, *self._pairs.spans(text))]
        return found


def _outer(span: Span, layers: Sequence[Decoded]) -> Span:
    """The span of a decoded text as it stands in the raw one."""
    start, end = span.start, span.end
    for layer in reversed(layers):
        start, end = layer.raw(start, end)
    return Span(span.entity, start, end, span.score, span.recogniser)
