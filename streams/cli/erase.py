"""``headrace erase``: removes a person, and proves it."""

from __future__ import annotations

import getpass
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from schemas.errors import ConfigError
from streams.cli.say import ConfigOption, tell
from streams.config import load_config, load_hash_key


def erase(
    config: ConfigOption = None,
    user: Annotated[
        str | None, typer.Option("--user", help="The person's raw user id; others on this machine may see it in the list of processes.")
    ] = None,
    stdin: Annotated[bool, typer.Option("--stdin", help="Read the raw user id from standard input, one line.")] = False,
    by: Annotated[str | None, typer.Option("--by", help="Who asks, for the proof; default: the user of this machine.")] = None,
    files: Annotated[Path | None, typer.Option("--files", help="Directory of `run --output` files to clean too.")] = None,
    proof: Annotated[Path | None, typer.Option("--proof", help="Write the proof to this file too.")] = None,
) -> None:
    """Remove a person from every configured place: delete rows and points, destroy keys, put tombstones; prints what was found and what stays.

    Events of the person never pass again: pipelines read the list of erased persons at their start. Stop a running one first.
    """
    from streams.erasing import Request, erase_person

    if (user is None) is not stdin:
        raise ConfigError("erase: name the person by --user ID or, unseen by others, by --stdin")
    named = sys.stdin.readline().rstrip("\n") if user is None else user
    if not named:
        raise ConfigError("erase: the user id is empty; give the id as producers send it")
    found = load_config(config)
    request = Request(named, by or getpass.getuser(), datetime.now(UTC), files)
    done = erase_person(found, request, tell)
    if proof is not None:
        proof.write_text(f'{{"proof":{done.text},"mark":"{done.mark(load_hash_key(found)).hex()}"}}\n', encoding="utf-8")
    stays = [place for place in done.left if place.stays]
    print(f"erased: {sum(place.before for place in done.places)} found, {sum(place.after for place in done.places)} stay, proof {done.uid}")
    for place in stays:
        print(f"  {place.name}: {place.after} {place.stays}")
