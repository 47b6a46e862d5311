"""A sample of events, searched a second time by plain Presidio: what it finds in the raw text may not stand in the published one.

Presidio looks at each string by itself, without the policy's own recognisers, a model's names, or what stands under telling keys: it finds less than
the pipeline, and each of its finds counts.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from governance.data_classes import Handling
from governance.pii import PiiPolicy
from streams.verify.findings import Findings, Kind
from streams.verify.plain.event import Event, Place
from streams.verify.published import Published

_LANGUAGE: Final = "en"
#: A shorter find may stand in a text by chance.
_CHARS_MIN: Final = 6

#: Gives (entity, value) of each find in a text.
Search = Callable[[str], Iterable[tuple[str, str]]]


def presidio(policy: PiiPolicy) -> Search:
    """Gives a search by Presidio's own patterns and validators, for what the policy does not keep."""
    import spacy
    import tldextract
    from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
    from presidio_analyzer.nlp_engine import SpacyNlpEngine
    from presidio_analyzer.predefined_recognizers import EmailRecognizer

    class Email(EmailRecognizer):
        """With the list of suffixes that is packaged: Presidio's own fetches one."""

        suffixes = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)

        def validate_result(self, pattern_text: str) -> bool:
            return bool(self.suffixes(pattern_text).fqdn)

    tokens = SpacyNlpEngine(models=[{"lang_code": _LANGUAGE, "model_name": "blank"}])
    setattr(tokens, "nlp", {_LANGUAGE: spacy.blank(_LANGUAGE)})  # noqa: B010 - its type says None until it is loaded
    registry = RecognizerRegistry()
    registry.load_predefined_recognizers(languages=[_LANGUAGE], nlp_engine=tokens)
    registry.remove_recognizer("SpacyRecognizer")
    registry.remove_recognizer("EmailRecognizer")
    registry.add_recognizer(Email(name="EmailRecognizer"))
    analyzer = AnalyzerEngine(registry=registry, nlp_engine=tokens, supported_languages=[_LANGUAGE])
    wanted = {entity for entity, handling in policy.entities if handling is not Handling.KEEP}

    def search(text: str) -> Iterator[tuple[str, str]]:
        for found in analyzer.analyze(text, _LANGUAGE, score_threshold=policy.score_threshold):
            if found.entity_type in wanted:
                yield found.entity_type, text[found.start : found.end]

    return search


def check_masks(events: Mapping[Place, Event], published: Published, policy: PiiPolicy, search: Search, findings: Findings) -> dict[str, int]:
    """Searches the sample; gives how many events and finds there were."""
    told = {"events whose masks were sampled": 0, "values that Presidio found in them": 0}
    allowed = {text for one in policy.allowed for text in one.texts}
    for place, texts in sorted(published.sample.texts.items()):
        event = events.get(place)
        if event is None:
            continue
        told["events whose masks were sampled"] += 1
        for column, text in texts.items():
            if text is None or column not in event.content:
                continue
            for raw, left in _pairs(event.content[column], json.loads(text)):
                finds = [(entity, value) for entity, value in search(raw) if len(value) >= _CHARS_MIN and value not in allowed]
                told["values that Presidio found in them"] += len(finds)
                for entity in sorted({entity for entity, value in finds if value in left}):
                    row = published.events[place][0]
                    findings.add(Kind.UNMASKED, "enriched_events", f"{column}: a value of {entity} stands there as it came", row.place, place)
    return told


def _pairs(raw: Any, left: Any) -> Iterator[tuple[str, str]]:
    """Gives each raw string with the published one in its place; where the shapes part, everything below as one text."""
    if isinstance(raw, str):
        yield raw, left if isinstance(left, str) else json.dumps(left, ensure_ascii=False)
    elif isinstance(raw, list):
        same = isinstance(left, list) and len(left) == len(raw)
        for index, one in enumerate(raw):
            yield from _pairs(one, left[index] if same else left)
    elif isinstance(raw, dict):
        for name, one in raw.items():
            yield from _pairs(one, left[name] if isinstance(left, dict) and name in left else left)
