"""The plain Presidio engine that the fast recogniser must equal: the oracle of tests and benchmarks, and the source of its patterns."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, cast

import spacy
import tldextract
from presidio_analyzer import AnalyzerEngine, Pattern, PatternRecognizer, RecognizerRegistry, RecognizerResult, predefined_recognizers
from presidio_analyzer.nlp_engine import NlpArtifacts, SpacyNlpEngine
from presidio_analyzer.predefined_recognizers import EmailRecognizer

from governance.locales import LOCALE_ENTITIES
from operators.pii.spans import Span
from operators.pii.spec import ExtraRecogniser, RecogniserSpec

LANGUAGE = "en"


class TokenEngine(SpacyNlpEngine):
    """Tokens of a blank English spaCy pipeline, each its own lemma.

    A blank pipeline has no lemmatizer: its lemmas are empty strings, with which Presidio's context words never match. Here the lemma of a
    token is its text, so that context enhancement works (on the words as written, not on their dictionary form).
    """

    def __init__(self) -> None:
        super().__init__(models=[{"lang_code": LANGUAGE, "model_name": "blank"}])
        self.nlp: Any = {LANGUAGE: spacy.blank(LANGUAGE)}

    def _doc_to_nlp_artifact(self, doc: Any, language: str) -> NlpArtifacts:
        return NlpArtifacts(
            entities=[],
            tokens=doc,
            tokens_indices=[token.idx for token in doc],
            lemmas=[token.text for token in doc],
            nlp_engine=self,
            language=language,
            scores=[],
        )


class PackagedSuffixEmailRecognizer(EmailRecognizer):
    """Presidio's e-mail recogniser, on the public suffix list that is packaged with tldextract.

    Presidio's own downloads the list on first use and caches it on disk: a pure operator does neither, and its results must not depend on
    the day.
    """

    def __init__(self) -> None:
        super().__init__(name="EmailRecognizer")
        self._suffixes = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)

    def validate_result(self, pattern_text: str) -> bool:
        return bool(self._suffixes(pattern_text).fqdn != "")


def _presidio(extra: ExtraRecogniser) -> PatternRecognizer:
    return PatternRecognizer(
        supported_entity=extra.entity,
        name=extra.name,
        patterns=[Pattern(p.name, p.regex, p.score) for p in extra.patterns],
        deny_list=list(extra.deny_list),
        context=list(extra.context),
        deny_list_score=extra.deny_list_score,
    )


def _of_locales(locales: Collection[str]) -> list[PatternRecognizer]:
    """Presidio's recognisers for some countries, told that texts are English: their words of context are their country's all the same."""
    wanted = {entity for locale in locales for entity in LOCALE_ENTITIES[locale]}
    kinds = [kind for _, kind in sorted(vars(predefined_recognizers).items()) if isinstance(kind, type) and issubclass(kind, PatternRecognizer)]
    made: list[Any] = [cast(Any, kind)(supported_language=LANGUAGE) for kind in kinds if getattr(kind, "COUNTRY_CODE", None) in locales]
    return [recogniser for recogniser in made if recogniser.supported_entities[0] in wanted]


def engine(spec: RecogniserSpec) -> AnalyzerEngine:
    """A Presidio engine with its default English pattern recognisers and those of the spec.

    Of the recognisers in Presidio's ``default_recognizers.yaml`` only spaCy's named entities are left out: a blank pipeline has none.
    """
    tokens = TokenEngine()
    registry = RecognizerRegistry()
    registry.load_predefined_recognizers(languages=[LANGUAGE], nlp_engine=tokens)
    registry.remove_recognizer("SpacyRecognizer")
    registry.remove_recognizer("EmailRecognizer")
    registry.add_recognizer(PackagedSuffixEmailRecognizer())
    for recogniser in _of_locales(spec.locales):
        registry.add_recognizer(recogniser)
    for extra in spec.extra:
        registry.add_recognizer(_presidio(extra))
    return AnalyzerEngine(registry=registry, nlp_engine=tokens, supported_languages=[LANGUAGE])


def reference(spec: RecogniserSpec) -> Callable[[str], list[Span]]:
    """A function from a text to what plain Presidio finds in it, sorted: slow, and right by definition."""
    analyzer = engine(spec)

    def spans(text: str) -> list[Span]:
        results = analyzer.analyze(text, LANGUAGE, score_threshold=spec.score_threshold)
        return sorted(
            Span(r.entity_type, r.start, r.end, r.score, r.recognition_metadata[RecognizerResult.RECOGNIZER_NAME_KEY])
            for r in results
            if spec.entities is None or r.entity_type in spec.entities
        )

    return spans
