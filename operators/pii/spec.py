"""What a recogniser is asked to find: plain values, so that a policy can say them.

The defaults are Presidio's English pattern recognisers plus ``DEFAULT_EXTRA``: shapes that agents write and Presidio does not know.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from governance.locales import LOCALE_ENTITIES
from schemas.errors import ConfigError


@dataclass(frozen=True, slots=True)
class PatternSpec:
    """One regular expression of a recogniser.

    Attributes:
        name: Shown in reports.
        regex: In the syntax of the ``regex`` module; matched with IGNORECASE, MULTILINE and DOTALL. The whole match is the span.
        score: 0 to 1; below the threshold it needs a context word near the match.
    """

    name: str
    regex: str
    score: float


@dataclass(frozen=True, slots=True)
class ExtraRecogniser:
    """A recogniser beside Presidio's own: what ``presidio_analyzer.PatternRecognizer`` takes, as a value.

    Attributes:
        entity: What its spans are called, e.g. ``US_ZIP``; several recognisers may share an entity.
        name: Unique among all recognisers.
        patterns: Its expressions.
        context: Words that lift the score when one occurs within five words before the match.
        deny_list: Words that are always found, whole and regardless of case.
        deny_list_score: Score of a word of the deny list.
    """

    entity: str
    name: str
    patterns: tuple[PatternSpec, ...] = ()
    context: tuple[str, ...] = ()
    deny_list: tuple[str, ...] = ()
    deny_list_score: float = 1.0


_STATES: Final = "A[KLRZ]|C[AOT]|D[CE]|FL|GA|HI|I[ADLN]|K[SY]|LA|M[ADEINOST]|N[CDEHJMVY]|O[HKR]|P[AR]|RI|S[CD]|T[NX]|UT|V[AIT]|W[AIVY]"
_MONTHS: Final = (
    "(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sept?(?:ember)?|Oct(?:ober)?|Nov(?:ember)?|Dec(?:ember)?)"
)
_DAY: Final = r"(?:0?[1-9]|[12]\d|3[01])(?:st|nd|rd|th)?"
_YEAR: Final = r"(?:1[89]|20)\d\d"

_ZIP: Final = r"\d{5}(?:-\d{4})?\b(?!-\d)"
_LABEL_END: Final = r"[\"'\\]{0,2}\s{0,4}(?:is\b|[:=#])?\s{0,4}[\"'\\]{0,2}"
_FOUR: Final = r"\d{4}\b(?![-/.]\d)"

# The labels are looked back for, so that the placeholder takes the place of the number alone.
US_ZIP: Final = ExtraRecogniser(
    entity="US_ZIP",
    name="UsZipRecogniser",
    patterns=(
        PatternSpec("State and ZIP", rf"(?<=(?-i:\b(?:{_STATES}))(?:,\s{{0,4}}|\s{{1,4}})){_ZIP}", 0.6),
        PatternSpec("Labelled ZIP", rf"(?<=\bzip(?:[ _-]?codes?)?{_LABEL_END}){_ZIP}", 0.7),
        PatternSpec("Labelled postal code", rf"(?<=\bpostal[ _-]?codes?{_LABEL_END}){_ZIP}", 0.7),
    ),
)
CARD_LAST_FOUR: Final = ExtraRecogniser(
    entity="CARD_LAST_FOUR",
    name="CardLastFourRecogniser",
    patterns=(
        PatternSpec(
            "Ending in",
            rf"(?<=\bend(?:ing|s)\s{{1,4}}(?:in|with)(?:\s{{1,4}}(?:the\s{{1,4}})?(?:digits|numbers?))?:?\s{{0,4}}[\"'(#*]{{0,4}}){_FOUR}",
            0.6,
        ),
        PatternSpec(
            "Last four digits",
            rf"(?<=\blast[ _-]?(?:four|4)(?:[ _-]?(?:digits|numbers))?(?:\s{{1,4}}(?:of|on)\s(?:\w{{1,20}}\s){{0,4}}(?:card|account)\b)?"
            rf"[\"'\\]{{0,2}}\s{{0,4}}(?:\b(?:is|are|being|as)\b|[:=])?\s{{0,4}}[\"'(#*\\]{{0,4}}){_FOUR}",
            0.6,
        ),
    ),
)
NAMED_MONTH_DATE: Final = ExtraRecogniser(
    entity="DATE_TIME",
    name="NamedMonthDateRecogniser",
    patterns=(
        # A month and a day without a year is no personal date by itself: "May 20th" is in every second travel plan.
        PatternSpec("Month day, year", rf"\b{_MONTHS}\.?[ \t]+{_DAY},?[ \t]+{_YEAR}\b", 0.6),
        PatternSpec("Day month year", rf"\b{_DAY}[ \t]+(?:of[ \t]+)?{_MONTHS}\.?,?[ \t]+{_YEAR}\b", 0.6),
    ),
    context=("date", "birth", "birthday", "born", "dob"),
)
DEFAULT_EXTRA: Final = (US_ZIP, CARD_LAST_FOUR, NAMED_MONTH_DATE)


@dataclass(frozen=True, slots=True)
class RecogniserSpec:
    """Which recognisers run and which of their findings count.

    Attributes:
        extra: Recognisers beside Presidio's English defaults.
        entities: Entities acted on; None means all. Others are never reported.
        score_threshold: Findings below it are dropped, after context words were counted.
        locales: Countries whose own recognisers of Presidio run too.
        secret_rules: Whether the rules of ``operators.pii.secret_scan`` are looked for too; what they find is a ``SECRET``.
        regex_timeout_s: Seconds one expression may take on one text; then the text fails to be masked, it is never skipped.
    """

    extra: tuple[ExtraRecogniser, ...] = DEFAULT_EXTRA
    entities: frozenset[str] | None = None
    score_threshold: float = 0.4
    regex_timeout_s: float = 5.0
    locales: tuple[str, ...] = ()
    secret_rules: bool = False

    def __post_init__(self) -> None:
        """Holds the values to their ranges.

        Raises:
            ConfigError: With every problem, before the first record.
        """
        problems = []
        if not 0 < self.score_threshold <= 1:
            problems.append(f"pii.score_threshold: must be above 0 and at most 1, is {self.score_threshold}")
        if not 0 < self.regex_timeout_s <= 600:
            problems.append(f"pii.regex_timeout_s: must be above 0 and at most 600, is {self.regex_timeout_s}")
        if unknown := sorted(set(self.locales) - set(LOCALE_ENTITIES)):
            problems.append(f"pii.locales: known are {', '.join(LOCALE_ENTITIES)}, came {', '.join(unknown)}")
        names = [extra.name for extra in self.extra]
        for extra in self.extra:
            if names.count(extra.name) > 1:
                problems.append(f"pii.extra.{extra.name}: the name is taken twice; choose another")
            if not extra.patterns and not extra.deny_list:
                problems.append(f"pii.extra.{extra.name}: needs a pattern or a deny list")
            if not extra.entity.replace("_", "").isalnum() or not extra.entity.isascii() or extra.entity != extra.entity.upper():
                problems.append(f"pii.extra.{extra.name}: the entity must be upper case letters, digits and '_'")
        if problems:
            raise ConfigError(*problems)
