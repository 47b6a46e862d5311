"""What the docs say can be done: commands exist with the options they name, links lead somewhere, examples in Python run."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import typer
import typer.core

from streams.cli.main import app

from docs_text import Block, anchors, blocks, commands, links, pages
from source_tree import ROOT, read

_COMMANDS = typer.main.get_group(app).commands
_TARGETS = set(re.findall(r"^([a-z-]+):.*## ", read("Makefile"), flags=re.MULTILINE))


def all_blocks() -> list[Block]:
    return [block for page in pages() for block in blocks(page, read(page))]


def problems(words: list[str]) -> Iterator[str]:
    """Finds what a command line names and the project does not have; other programs are left alone."""
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words = words[1:]
    if not words:
        return
    if words[0] == "make":
        targets = [word for word in words[1:] if "=" not in word]
        yield from (f"make {target}: no such target" for target in targets if target not in _TARGETS)
    if words[0].rpartition("/")[2] == "headrace":
        yield from _cli_problems(words[1:])


def _cli_problems(words: list[str]) -> Iterator[str]:
    if words and words[0].startswith("["):  # usage, not a command line: headrace [OPTIONS] COMMAND
        return
    command, path = _command(words)
    if path.endswith(" [OPTIONS]"):  # usage of a group
        return
    if command is None:
        yield f"headrace {path}: no such command"
        return
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    used = [word.partition("=")[0] for word in words[1:] if word.startswith("-") and word != "-"]
    yield from (f"headrace {path} {option}: no such option" for option in used if option not in known and option != "--help")


def _command(words: list[str]) -> tuple[typer.core.TyperCommand | None, str]:
    """Gives the command that words name, through groups (``models serve``), and its path."""
    known, path = _COMMANDS, []
    for word in words:
        path.append(word)
        command = known.get(word)
        if not isinstance(command, typer.core.TyperGroup):
            return command, " ".join(path)
        known = command.commands
    return None, " ".join(path)


def _paths(known: Mapping[str, Any], before: str = "") -> Iterator[str]:
    """Gives every command that is shown, as it is typed."""
    for name, command in known.items():
        if isinstance(command, typer.core.TyperGroup):
            yield from _paths(command.commands, f"{before}{name} ")
        elif not command.hidden:
            yield before + name


def test_every_command_in_the_docs_exists() -> None:
    found = [
        f"{block.place}: {problem}"
        for block in all_blocks()
        if block.language == "console"
        for words in commands(block)
        for problem in problems(words)
    ]
    assert "\n".join(found) == ""


def test_the_docs_show_how_to_start() -> None:
    shown = [words for block in all_blocks() if block.path == "README.md" and block.language == "console" for words in commands(block)]
    assert ["make", "demo"] in shown


@pytest.mark.parametrize(
    "line",
    [
        "make nothing",
        "headrace nothing",
        "headrace models nothing",
        "headrace models",
        "headrace models serve --nothing",
        "headrace run --nothing",
        ".venv/bin/headrace run --nothing=1",
        "A=1 headrace nothing",
    ],
)
def test_a_command_that_does_not_exist_is_caught(line: str) -> None:
    assert list(problems(line.split())) != []


def test_every_command_is_in_the_docs() -> None:
    text = "".join(read(page) for page in pages())
    assert [path for path in _paths(_COMMANDS) if f"headrace {path}" not in text] == []


def test_every_link_leads_somewhere() -> None:
    lost = []
    for page in pages():
        for link in links(read(page)):
            target, _, anchor = link.partition("#")
            if target.startswith(("http:", "https:", "mailto:")):
                continue
            path = (ROOT / page).parent / target if target else ROOT / page
            if not path.exists() or (anchor and path.suffix == ".md" and anchor not in anchors(path.read_text())):
                lost.append(f"{page}: {link}")
    assert lost == []


@pytest.mark.parametrize("block", [block for block in all_blocks() if block.language == "python"], ids=lambda block: block.place)
def test_an_example_in_python_runs(block: Block) -> None:
    exec(compile(block.text, block.place, "exec"), {"__name__": "__example__"})


def test_no_page_names_a_file_that_is_not_there() -> None:
    """Paths in backticks that begin with one of our folders must exist."""
    folders = "schemas|governance|operators|models|sinks|streams|tests|benchmarks|deploy|docs|scripts|requirements"
    lost = []
    for page in pages():
        for path in re.findall(rf"`((?:{folders})/[\w./*-]+)`", re.sub(r"```.*?```", "", read(page), flags=re.DOTALL)):
            if not list(ROOT.glob(path.rstrip("/"))):
                lost.append(f"{page}: {path}")
    assert lost == []
