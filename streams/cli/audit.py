"""``headrace audit verify``: whether the audit log is whole."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from schemas.errors import ConfigError
from streams.cli.say import ConfigOption, complain
from streams.config import load_config, load_hash_key

_FINDINGS_SHOWN: Final = 20

audit_app = typer.Typer(name="audit", help="The audit log: who did what under which policy.", no_args_is_help=True, rich_markup_mode=None)


@audit_app.command("verify")
def verify(
    config: ConfigOption = None,
    topic: Annotated[bool, typer.Option("--topic/--no-topic", help="Walk the topic audit_log.")] = True,
    table: Annotated[bool, typer.Option("--table/--no-table", help="Walk the table audit_records.")] = True,
    may_begin_late: Annotated[
        bool, typer.Option("--may-begin-late", help="Retention may have removed the beginning of a chain; what is left must hold.")
    ] = False,
) -> None:
    """Walk the hash chains of the audit log and compare them with the anchors. Exit status 1 where an entry was edited, removed, moved or cut off."""
    from streams.audit_check import anchors_of, audit_database, check_table, check_topic

    found = load_config(config)
    kafka = found.kafka if topic else None
    if kafka is None and (found.timescale is None or not table):
        raise ConfigError("audit verify: neither kafka.bootstrap nor timescale.dsn is configured (or asked for); there is no audit log to walk")
    reports = []
    if found.timescale is not None:
        with audit_database(found.timescale.dsn.get_secret_value()) as connection:
            anchored = anchors_of(connection, load_hash_key(found))
            if table:
                reports.append(check_table(connection, anchored, may_begin_late=may_begin_late))
    else:
        anchored = []
        complain("audit verify: no database is configured, so there are no anchors; an end that was cut off cannot be told")
    if kafka is not None:
        reports += check_topic(kafka.client_settings(), kafka.topic_prefix, anchored, may_begin_late=may_begin_late)
    for report in reports:
        state = "intact" if not report.findings else f"{len(report.findings)} findings"
        head = "empty" if report.head.seq < 0 else f"head {report.head.seq} {report.head.hash.hex()[:16]}"
        print(f"{report.name}: {report.entries} entries, {head}, {report.anchors} anchors, {state}")
        for finding in report.findings[:_FINDINGS_SHOWN]:
            print(f"  {finding.flaw.value}: {finding.place}: {finding.words}")
    if any(report.findings for report in reports):
        raise typer.Exit(1)
