"""The recognisers of all countries find exactly what plain Presidio finds with the same ones."""

from __future__ import annotations

import pytest
from presidio_analyzer import PatternRecognizer, predefined_recognizers

from governance.locales import LOCALE_ENTITIES
from operators.pii.recognise import Recogniser
from operators.pii.reference import reference
from operators.pii.spec import RecogniserSpec
from tests.corpora.noisy_pii import NoisyPii

SPEC = RecogniserSpec(locales=tuple(LOCALE_ENTITIES))
TEXTS = (
    "NIF 12345678Z y NIE X1234567L", "PESEL 44051401359", "codice fiscale RSSMRA85T10A562S", "Steuer-ID 12345678911, Personalausweis L01X00T471",
    "aadhaar 2345 6789 0124 pan ABCDE1234F", "ABN 51 824 753 556, TFN 876 543 210, Medicare 2123 45670 1", "nric S1234567D UEN 53125226D",
    "NINO AB123456C, postcode SW1A 1AA", "henkilötunnus 131052-308T", "주민등록번호 880101-1234568", "เลขประจำตัวประชาชน 1101700230708",
    "TC kimlik 10000000146 34 ABC 123", "personnummer 811228-9874", "SIN 046 454 286 K1A 0B1", "id number 8001015009087", "NPI 1234567893",
)  # fmt: skip


@pytest.mark.parametrize("noisy", [3, pytest.param(60, marks=pytest.mark.slow)])
def test_noisy_texts_have_the_same_spans(noisy: int) -> None:
    recogniser, oracle = Recogniser(SPEC), reference(SPEC)
    texts = [*TEXTS, *NoisyPii(77).texts(noisy)]
    expected = [oracle(text) for text in texts]
    entities = {span.entity for spans in expected for span in spans}
    assert len(entities & {entity for of_country in LOCALE_ENTITIES.values() for entity in of_country}) > 15, "the texts must hold them"
    assert [text for text, fast, slow in zip(texts, recogniser.spans(texts), expected, strict=True) if fast != slow] == []


def test_every_country_of_presidio_is_known() -> None:
    kinds = [kind for kind in vars(predefined_recognizers).values() if isinstance(kind, type) and issubclass(kind, PatternRecognizer)]
    default = Recogniser(RecogniserSpec()).entities
    theirs: dict[str, set[str]] = {}
    for kind in kinds:
        country = getattr(kind, "COUNTRY_CODE", None)
        if country is not None:
            theirs.setdefault(country, set()).add(kind().supported_entities[0])  # type: ignore[call-arg]
    assert {country: tuple(sorted(entities - default)) for country, entities in theirs.items()} == {
        country: tuple(sorted(entities)) for country, entities in LOCALE_ENTITIES.items()
    }
