"""``headrace test``: the cases beside a policy, run through the pipeline as it runs in production."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from schemas.errors import ConfigError
from streams.cli.say import ConfigOption
from streams.config import load_config

if TYPE_CHECKING:
    from streams.cases.run import Result

EXIT_FAILED: Final = 1
_SUFFIX: Final = ".test.yaml"


def try_cases(
    path: Annotated[
        Path | None,
        typer.Argument(help="A file of cases (*.test.yaml), a policy with one beside it, or a folder; default: beside the policy in force."),
    ] = None,
    config: ConfigOption = None,
    policy: Annotated[Path | None, typer.Option("--policy", help="Run the cases on this policy in place of theirs.")] = None,
    name: Annotated[str, typer.Option("--name", help="Only cases whose name holds this text.")] = "",
    junit: Annotated[Path | None, typer.Option("--junit", help="Also write the results to this file as JUnit XML.")] = None,
) -> None:
    """Run the cases of a policy: events in, and what must come out. Needs neither Kafka nor a model server. Exit status 1 where a case fails."""
    from streams.cases.junit import junit as junit_of
    from streams.cases.parse import read_cases
    from streams.cases.run import Result, run_cases
    from streams.policy_file import load_policy

    found = load_config(config)
    files = [read_cases(one, policy) for one in _files(path or found.pipeline.policy)]
    results: dict[Path, list[Result]] = {}
    for file in files:
        print(file.path)
        of_file = results.setdefault(file.path, [])
        begin = time.perf_counter()
        for result in run_cases(file, load_policy(file.policy).policy, found, name):
            seconds, begin = time.perf_counter() - begin, time.perf_counter()
            of_file.append(Result(result.case, result.problems, seconds))
            print("\n".join(lines_of(file.path, result)))
    every = [result for of_file in results.values() for result in of_file]
    if not every:
        raise ConfigError(f"--name: no case in {', '.join(str(file.path) for file in files)} has '{name}' in its name; look at the names there")
    if junit is not None:
        junit.write_bytes(junit_of(results))
    failed = sum(bool(result.problems) for result in every)
    print(f"{len(every) - failed} passed, {failed} failed")
    if failed:
        raise typer.Exit(EXIT_FAILED)


def lines_of(path: Path, result: Result) -> Iterator[str]:
    """Gives what is printed of one case."""
    yield f"  {'FAIL' if result.problems else 'ok  '}  {result.case.name}"
    if result.problems:
        yield f"        {path}:{result.case.line}"
        yield from (f"        {problem}" for problem in result.problems)


def _files(named: Path | None) -> Sequence[Path]:
    """Gives the files of cases that a path means, in order."""
    if named is None:
        return [Path(str(resources.files("governance").joinpath("policies/default.test.yaml")))]
    if named.is_dir():
        found = sorted(named.rglob(f"*{_SUFFIX}"))
        if not found:
            raise ConfigError(f"{named}: must hold files of cases, came none; name them POLICY{_SUFFIX} beside the policy")
        return found
    beside = named if named.name.endswith(_SUFFIX) else named.with_name(named.stem + _SUFFIX)
    if not beside.is_file():
        raise ConfigError(f"{beside}: no such file of cases; write one (docs/policies.md), or name another")
    return [beside]
