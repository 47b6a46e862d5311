"""``headrace contracts``: holds the contracts of topics against files or Kafka, and says what broke them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from governance.contracts import OnBreach
from schemas.errors import ConfigError
from schemas.topics import INPUTS, OUTPUTS
from streams.cli.engine import signals_stop
from streams.cli.say import ConfigOption, tell
from streams.config import Config, load_config
from streams.stop import Stop

if TYPE_CHECKING:
    from governance.drift import Profile
    from governance.policy import Policy
    from streams.contracts.judge import Result

contracts_app = typer.Typer(
    name="contracts", help="Hold data contracts against topics: Great Expectations on windows of records.", no_args_is_help=True
)
_ROWS_MAX: Final = 20_000
_PATH_HELP: Final = "A folder of <topic>.jsonl files, as `headrace run --output` writes it, or a JSONL file whose lines name their topic."

PagesOption = Annotated[Path | None, typer.Option("--pages", help="Write the data docs, HTML pages for people, into this folder.")]
ReferenceOption = Annotated[Path | None, typer.Option("--reference", help="Measure drift from this file (`headrace contracts reference`).")]
RowsOption = Annotated[int, typer.Option("--rows-max", min=1, max=1_000_000, help="Records of one window at most.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object a line for every result, also for what held.")]


@contracts_app.command("check")
def check(
    path: Annotated[Path, typer.Argument(help=_PATH_HELP)],
    pages: PagesOption = None,
    reference: ReferenceOption = None,
    rows_max: RowsOption = _ROWS_MAX,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Check files. Exit status 1 where a contract is broken."""
    from streams.contracts.expect import Contracts
    from streams.contracts.judge import Judge
    from streams.contracts.window import windows_of_files

    policy = _policy(load_config(config))
    contracts = Contracts(policy, pages)
    judge = Judge(policy, contracts, _reference(reference))
    results = [result for window in windows_of_files(path, rows_max) for result in judge.results(window)]
    _say(results, as_json)
    _say_pages(contracts.write_pages())
    if any(result.breach is not None for result in results):
        raise typer.Exit(1)


@contracts_app.command("reference")
def reference_of(
    path: Annotated[Path, typer.Argument(help=_PATH_HELP)], output: Annotated[Path, typer.Option("--output", help="File to write.")]
) -> None:
    """Count enriched events that are as they should be: what drift is measured from. The file holds counts alone."""
    from governance.drift import profile_of
    from streams.contracts.judge import DRIFTING
    from streams.contracts.window import merged, windows_of_files

    profile = profile_of(merged(window for window in windows_of_files(path, _ROWS_MAX) if window.topic == DRIFTING))
    if not profile.rows:
        raise ConfigError(f"contracts: {path} holds no {DRIFTING}; name the output of a run")
    output.write_text(profile.to_json(), encoding="utf-8")
    tell(f"{profile.rows} events counted into {output}")


@contracts_app.command("watch")
def watch(
    topic: Annotated[list[str] | None, typer.Option("--topic", help="Only these, without prefix; absent: every input and output.")] = None,
    window_s: Annotated[int, typer.Option("--window-s", min=1, max=86_400, help="Length of a window, by Kafka timestamps.")] = 60,
    until_end: Annotated[bool, typer.Option("--until-end", help="End when all that is in the topics now was checked.")] = False,
    metrics_port: Annotated[int | None, typer.Option("--metrics-port", min=1, max=65_535, help="Serve metrics on this port of 127.0.0.1.")] = None,
    pages: PagesOption = None,
    reference: ReferenceOption = None,
    rows_max: RowsOption = _ROWS_MAX,
    config: ConfigOption = None,
) -> None:
    """Follow topics of Kafka; results go to topic contract_results, to the database and to Prometheus, and policy says what a breach leads to."""
    from streams.contracts.expect import Contracts
    from streams.contracts.follow import Follower
    from streams.contracts.judge import Judge
    from streams.contracts.watch import Watch
    from streams.patience import Patience
    from streams.registry import open_registry

    found = load_config(config)
    kafka, registry, policy = found.require_kafka(), open_registry(found), _policy(found)
    if found.http is None and any(breach is OnBreach.STOP for _, breach in policy.contracts.on_breach):
        raise ConfigError("http: the section is absent, and a contract of the policy stops the pipeline over its page /stop; add http.port")
    contracts = Contracts(policy, pages)
    follower = Follower(found, Judge(policy, contracts, _reference(reference)), registry, metrics_port)
    watched = Watch(kafka, f"{found.pipeline.name}-contracts", topic or [*kafka.inputs, *OUTPUTS], registry, window_s * 1000, rows_max)
    stop = Stop()
    try:
        with signals_stop(stop):
            Patience().persist(watched.begin, stop, lambda error: tell(str(error)))
            for window in watched.windows(until_end, lambda: stop.requested):
                follower.judge(window)
                watched.done(window)
    finally:
        watched.close()
    tell(f"checked {follower.records} records of {len(INPUTS) + len(OUTPUTS) if topic is None else len(topic)} topics; {follower.broken} breaches")
    _say_pages(contracts.write_pages())
    if until_end and follower.broken:
        raise typer.Exit(1)


def _policy(config: Config) -> Policy:
    from streams.policy_file import load_policy

    return load_policy(config.pipeline.policy).policy


def _reference(path: Path | None) -> Profile | None:
    from governance.drift import profile_from

    if path is None:
        return None
    try:
        return profile_from(path.read_text(encoding="utf-8"), str(path))
    except OSError as error:
        raise ConfigError(f"--reference: {path} cannot be read ({error.strerror}); make it with headrace contracts reference") from None


def _say(results: list[Result], as_json: bool) -> None:
    from streams.contracts.report import as_lines

    if as_json:
        print("\n".join(as_lines(results)))
        return
    for result in results:
        if result.breach is not None:
            said = result.record
            how = (
                f"{said['unexpected']} of {said['records']} records"
                if said["size_ppm"] is None
                else f"{said['size_ppm'] / 1e6:.3f} off, {said['why']}"
            )
            print(f"{said['about']}.{said['field']}: {said['expectation']} did not hold: {how}; {said['action']}")
    held = sum(result.breach is None for result in results)
    print(f"{len(results)} expectations, {held} held, {len(results) - held} broken")


def _say_pages(page: Path | None) -> None:
    if page is not None:
        tell(f"data docs: {page}")
