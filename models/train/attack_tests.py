"""Test sets of the guard, out of packages that no model learns from. Files are read as data; none of the packages is imported."""

from __future__ import annotations

import ast
import gzip
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import yaml

from models.train.sources import TEST, UNKNOWN, LabelledText, Source

_ATTACK: Final = (1.0, UNKNOWN, UNKNOWN)
_JAILBREAK: Final = (UNKNOWN, 1.0, UNKNOWN)
_HARMLESS: Final = (0.0, 0.0, 0.0)
_DOJO: Final = "agentdojo"
_TAU: Final = "inspect_evals/tau2/data/domains"
_SLOT: Final = re.compile(r"\{(\w+)\}")
#: Shorter strings of an environment say nothing: ids, dates, words.
_LENGTH_LEAST: Final = 25


class _Loader(yaml.SafeLoader):
    """Reads a suite of agentdojo with what it includes."""


def _included(loader: yaml.SafeLoader, node: yaml.nodes.Node) -> Any:
    assert isinstance(node, yaml.ScalarNode), "an include names one file"
    path = Path(loader.name).parent / str(loader.construct_scalar(node))
    return read_yaml(path)


def read_yaml(path: Path) -> Any:
    """Gives what a file of YAML holds, with the files that it includes."""
    with path.open(encoding="utf-8") as file:
        return yaml.load(file, _Loader)


_Loader.add_constructor("!include", _included)


def _strings(value: Any) -> Iterator[str]:
    """Gives every string in nested values."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)


def _constants(path: Path) -> Iterator[tuple[str, str]]:
    """Gives (name, text) of what a module assigns as a string; what stands in braces of an f-string becomes a word."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            text = _text(node.value)
            if text is not None:
                yield node.targets[0].id, text


def _text(node: ast.expr) -> str | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        parts = [_text(value) if isinstance(value, ast.Constant) else "X4711" for value in node.values]
        return "".join(part or "" for part in parts)
    return None


#: How agentdojo's published attacks wrap a goal: found in its modules, so that nothing of it stands here.
def _dojo_wrappers(folder: Path) -> dict[str, str]:
    wrappers = {"direct": "{goal}"}
    for path in sorted((folder / "attacks").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            text = _text(node) if isinstance(node, ast.expr) else None
            if text is not None and "{goal}" in text and text not in wrappers.values():
                wrappers[f"{path.stem} {len(wrappers)}"] = text
    return wrappers


def _dojo(packages: Path) -> Iterator[LabelledText]:
    folder = packages / _DOJO
    wrappers = _dojo_wrappers(folder)
    for suite in ("banking", "slack", "travel", "workspace"):
        data = folder / "data/suites" / suite
        defaults = {key: str(value.get("default", "")) for key, value in read_yaml(data / "injection_vectors.yaml").items()}
        leaves = list(_strings(read_yaml(data / "environment.yaml")))
        tasks = folder / "default_suites/v1" / suite / "injection_tasks.py"
        goals = [text for name, text in _constants(tasks) if name == "GOAL"]
        carriers = [leaf for leaf in leaves if set(_SLOT.findall(leaf)) & set(defaults)]
        for leaf in leaves:
            text = _filled(leaf, defaults)
            if len(text) >= _LENGTH_LEAST:
                yield LabelledText(text, _HARMLESS, "agentdojo tool results")
        for number, goal in enumerate(goals):
            for step, (name, wrapper) in enumerate(wrappers.items()):
                attack = wrapper.replace("{goal}", goal).replace("{user}", "Emma Johnson").replace("{model}", "AI assistant")
                carrier = carriers[(number * len(wrappers) + step) % len(carriers)]
                slots = [slot for slot in _SLOT.findall(carrier) if slot in defaults]
                kind = "agentdojo direct" if name == "direct" else "agentdojo wrapped"
                yield LabelledText(_filled(carrier, {**defaults, slots[0]: attack}), _ATTACK, kind)


def _filled(text: str, values: dict[str, str]) -> str:
    return _SLOT.sub(lambda found: values.get(found[1], found[0]), text).strip()


def _bastion(packages: Path) -> Iterator[LabelledText]:
    with (packages / "bastioncorpus/corpus/injections.jsonl").open(encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            if row["label"] == "benign":
                yield LabelledText(row["text"], _HARMLESS, "bastioncorpus harmless")
            else:
                jailbreak = row["category"].startswith("jailbreak")
                yield LabelledText(
                    row["text"], _JAILBREAK if jailbreak else _ATTACK, "bastioncorpus jailbreaks" if jailbreak else "bastioncorpus attacks"
                )


def _aib(packages: Path) -> Iterator[LabelledText]:
    with (packages / "aib/data/attacks.jsonl").open(encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            yield LabelledText(row["injected"], _ATTACK, "agent-injection-bench")
            yield LabelledText(row["task"], _HARMLESS, "agent-injection-bench tasks")


def _pyrit(packages: Path) -> Iterator[LabelledText]:
    """Gives every fourth template: they are long, and many are of one author."""
    for path in sorted((packages / "pyrit/datasets/jailbreak/templates").rglob("*.yaml"))[::4]:
        value = read_yaml(path).get("value")
        if isinstance(value, str):
            yield LabelledText(re.sub(r"\{\{.*?\}\}|\{%.*?%\}", "Tell me how to do it.", value), _JAILBREAK, "pyrit jailbreaks")


def _threat_bench(packages: Path) -> Iterator[LabelledText]:
    """Gives the mails; the file's indices of attacks do not fit its mails, so an attack is what names the forbidden action."""
    folder = packages / "inspect_evals/agent_threat_bench/data"
    for row in json.loads((folder / "autonomy_hijack.json").read_text(encoding="utf-8")):
        yield from (
            LabelledText(mail["body"], _HARMLESS, "inspect-evals mails")
            for mail in row["inbox"]
            if not _names_forbidden(mail["body"], row["forbidden_actions"])
        )
        yield from (
            LabelledText(mail["body"], _ATTACK, "inspect-evals attacks")
            for mail in row["inbox"]
            if _names_forbidden(mail["body"], row["forbidden_actions"])
        )


def _names_forbidden(text: str, forbidden: list[str]) -> bool:
    return any(word in text for word in forbidden)


def _coding(packages: Path) -> Iterator[LabelledText]:
    for row in json.loads((packages / "inspect_evals/ipi_coding_agent/dataset/samples.json").read_text(encoding="utf-8")):
        files = [text for text in row["repo_files"].values() if text.strip()]
        texts = [row["issue_text"], *files]
        indicator = re.compile(row["payload_indicator"]) if row.get("payload_indicator") else None
        for text in texts:
            if row["is_benign"]:
                yield LabelledText(text, _HARMLESS, "inspect-evals code and issues")
            elif indicator is not None and indicator.search(text):
                yield LabelledText(text, _ATTACK, "inspect-evals attacks")


def _policies(packages: Path) -> Iterator[LabelledText]:
    """Gives policies, instructions and knowledge of tau2: orders to agents by their owner, in pieces of a few paragraphs."""
    folder = packages / _TAU
    for path in sorted([*folder.rglob("*.txt"), *folder.rglob("*.md")]):
        parts = [part.strip() for part in path.read_text(encoding="utf-8").split("\n\n") if len(part.strip()) >= _LENGTH_LEAST]
        yield from (LabelledText("\n\n".join(parts[at : at + 3]), _HARMLESS, "tau2 policies") for at in range(0, len(parts), 3))
    documents = json.loads(gzip.decompress((folder / "banking_knowledge/documents.json.gz").read_bytes()))
    texts = [text for text in _strings(documents) if len(text) >= 200]
    yield from (LabelledText(text, _HARMLESS, "tau2 documents") for text in texts[:120])
    for row in json.loads((folder / "retail/tasks.json").read_text(encoding="utf-8")):
        yield from (
            LabelledText(text, _HARMLESS, "tau2 requests") for text in _strings(row["user_scenario"]["instructions"]) if len(text) >= _LENGTH_LEAST
        )


#: Read for the report only.
ATTACK_TESTS: Final = (
    Source("bastioncorpus", "bastioncorpus", "MIT", ("bastioncorpus/corpus/injections.jsonl",), TEST, _bastion, "with its own hard negatives"),
    Source("agent-injection-bench", "agent-injection-bench", "MIT", ("aib/data/attacks.jsonl",), TEST, _aib),
    Source(
        "agentdojo",
        "agentdojo",
        "MIT",
        ("agentdojo/data/suites/**", "agentdojo/attacks/*.py", "agentdojo/default_suites/v1/*/injection_tasks.py"),
        TEST,
        _dojo,
        "every goal in every published wrapper, in a tool result; the same results untouched are harmless",
    ),
    Source("pyrit", "pyrit", "MIT", ("pyrit/datasets/jailbreak/templates/**",), TEST, _pyrit),
    Source(
        "inspect-evals: agent threat bench",
        "inspect-evals",
        "MIT",
        ("inspect_evals/agent_threat_bench/data/autonomy_hijack.json",),
        TEST,
        _threat_bench,
    ),
    Source("inspect-evals: coding agent", "inspect-evals", "MIT", ("inspect_evals/ipi_coding_agent/dataset/samples.json",), TEST, _coding),
    Source("inspect-evals: tau2", "inspect-evals", "MIT", (f"{_TAU}/**",), TEST, _policies, "hard negatives: orders of an owner to its agent"),
)


def attack_tests(packages: Path) -> list[LabelledText]:
    """Gives every text of the test sets once."""
    readers: list[Callable[[Path], Iterator[LabelledText]]] = [source.read for source in ATTACK_TESTS]
    return list({text.text: text for read in readers for text in read(packages)}.values())
