"""``headrace reveal``: what a token or a ciphertext in a masked text stands for, for a purpose and on record."""

from __future__ import annotations

import json
import os
import pwd
from typing import TYPE_CHECKING, Annotated, Final

import typer

from schemas.errors import ConfigError, FatalError
from streams.cli.say import ConfigOption, complain
from streams.config import Config, load_config, load_key_ring
from streams.policy_file import load_policy

if TYPE_CHECKING:
    from sinks.reveals import Revealed, Sealed

_DEADLINE_S: Final = 30.0


def reveal(
    tokens: Annotated[list[str], typer.Argument(metavar="TOKEN...", help="Tokens <ENTITY:t:...> or ciphertexts <ENTITY:e:...>, each in quotes.")],
    purpose: Annotated[str, typer.Option("--purpose", help="One of the purposes that the policy lists (purposes).")],
    config: ConfigOption = None,
) -> None:
    """Show what tokens and ciphertexts of masked texts stand for. Who asks for what and why is recorded first; without the record nothing is shown.

    Prints a line for each that was revealed: the token, a tab, and the value as a JSON string. Exit status 1 where one was not.
    """
    from sinks.reveals import Result, parse_sealed

    wanted = parse_sealed(tokens)
    answers = _revealed(load_config(config), wanted, purpose)
    for number, answer in enumerate(answers, 1):
        if answer.result is Result.REVEALED:
            print(f"{answer.sealed.recorded}\t{json.dumps(answer.value, ensure_ascii=True)}")
        else:
            complain(f"token {number} of {len(answers)}: {answer.result}: {answer.advice}")
    if any(answer.result is not Result.REVEALED for answer in answers):
        raise typer.Exit(1)


def _revealed(config: Config, wanted: tuple[Sealed, ...], purpose: str) -> list[Revealed]:
    """Asks for each in turn, on one connection."""
    import time

    import psycopg

    from sinks.bounded_connection import check_dsn, connect
    from sinks.errors import postgres_failure
    from sinks.reveals import Reveals

    secret = config.privacy.reveal_dsn or (None if config.timescale is None else config.timescale.dsn)
    if secret is None:
        raise ConfigError("timescale: the section is absent, and reveals are recorded in PostgreSQL; add timescale.dsn or privacy.reveal_dsn")
    policy, ring, dsn = load_policy(config.pipeline.policy).policy, load_key_ring(config), check_dsn(secret.get_secret_value(), "headrace reveal")
    failure: Exception | None = None
    try:
        with connect(dsn, "reveal", time.monotonic() + _DEADLINE_S) as connection:
            reveals = Reveals(connection, ring, policy)
            return [reveals.reveal(sealed, purpose, _os_user()) for sealed in wanted]
    except psycopg.Error as error:
        failure = postgres_failure(error, "headrace reveal")
    raise failure


def _os_user() -> str:
    """Gives the name of the account that runs the command.

    Raises:
        FatalError: It has none.
    """
    try:
        return pwd.getpwuid(os.getuid()).pw_name  # not from the environment, which anybody can set
    except KeyError:
        raise FatalError("headrace reveal: this account has no name, so nothing can be recorded; run it as a named user") from None
