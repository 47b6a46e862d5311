"""``headrace verify``: whether what was delivered is what the input gives, by a second implementation."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Annotated, Final

import typer

from schemas.errors import HeadraceError
from streams.cli.say import ConfigOption, complain, tell
from streams.config import Config, load_config
from streams.times import millis_of

if TYPE_CHECKING:
    from streams.verify.findings import Report

EXIT_DIFFERENT: Final = 1
EXIT_UNVERIFIED: Final = 2
_SHOWN_MAX: Final = 20


def verify(
    since: Annotated[
        str | None, typer.Option("--from", help="Begin: ISO 8601 with a zone, or milliseconds since 1970, by Kafka's times; default: all.")
    ] = None,
    until: Annotated[str | None, typer.Option("--to", help="End; default: now.")] = None,
    complete: Annotated[
        bool, typer.Option("--complete", help="The pipeline has read all that is there: hold it to all of it, not to what it committed.")
    ] = False,
    masks: Annotated[int, typer.Option("--masks", min=0, help="Events whose texts are searched again by plain Presidio, which is slow.")] = 200,
    seed: Annotated[int, typer.Option("--seed", help="Chooses them.")] = 1,
    open_s: Annotated[int, typer.Option("--open-s", min=0, help="A transaction that is open for longer hangs.")] = 75,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole report as JSON.")] = False,
    config: ConfigOption = None,
) -> None:
    """Recompute what must be on topics, tables and in the vector store, and print what is lost, doubled, different, out of order, late or hanging.

    Reads only, while the pipeline runs or after. Exit status: 0 clean, 1 differences, 2 could not verify.
    """
    found = load_config(config)
    from streams.verify.check import Wish

    wish = Wish(
        None if since is None else millis_of("--from", since),
        None if until is None else millis_of("--to", until),
        complete,
        masks,
        seed,
        open_s * 1000,
        round(time.time() * 1000),
    )
    try:
        report = _verified(found, wish)
    except HeadraceError as error:
        complain(str(error))
        raise typer.Exit(EXIT_UNVERIFIED) from error
    if as_json:
        print(json.dumps(report.as_json(), indent=1))
    else:
        _print(report)
    if report.status != "clean":
        raise typer.Exit(EXIT_DIFFERENT if report.status == "different" else EXIT_UNVERIFIED)


def _verified(config: Config, wish: object) -> Report:
    from streams.erased import erasure_log
    from streams.policy_file import load_policy
    from streams.registry import open_registry
    from streams.verify.check import Deployment, Wish, verify
    from streams.verify.recorded import recorded_in

    assert isinstance(wish, Wish)
    policy = load_policy(config.pipeline.policy).policy
    erased = frozenset(erasure_log(config).read())
    return verify(Deployment(config, policy, open_registry(config), recorded_in(config.recovery.dir, policy), erased, tell), wish)


def _print(report: Report) -> None:
    for (topic, partition), one in sorted(report.accounts.items()):
        if one.records:
            parts = f"{one.out} out, {one.dead} dead, {one.duplicates} duplicates, {one.erased} erased, {one.ahead} not yet, {one.lost} lost"
            print(f"{topic}[{partition}]: {one.records} records = {parts}")
    for name, count in report.counts.items():
        print(f"{name}: {count}")
    for note in report.notes:
        print(f"note: {note}")
    for kind_and_what, count in sorted(report.findings.counts.items()):
        kind, what = kind_and_what
        print(f"{kind.value}: {what}: {count}")
        its = [finding for finding in report.findings.kept if (finding.kind, finding.what) == kind_and_what]
        for finding in its[:_SHOWN_MAX]:
            places = ", ".join(f"{topic}[{partition}]@{offset}" for topic, partition, offset in finding.places)
            print(f"  {places + ': ' if places else ''}{finding.words}")
        if count > _SHOWN_MAX:
            print(f"  and {count - _SHOWN_MAX} more; --json shows the first {len(its)}")
    for problem in report.unverified:
        print(f"not verified: {problem}")
    print({"clean": "clean", "different": f"{report.findings.counts.total()} differences", "unverified": "could not verify"}[report.status])
