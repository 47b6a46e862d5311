"""``headrace review``: the events that policy holds until a person decides."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from schemas.errors import ConfigError
from streams.cli.say import ConfigOption
from streams.config import Config, load_config

if TYPE_CHECKING:
    from sinks.kafka import KafkaSink

review_app = typer.Typer(name="review", help="Events that policy holds until a person decides.", no_args_is_help=True, rich_markup_mode=None)

Id = Annotated[str, typer.Argument(metavar="ID", help="Id of the review, from `headrace review list`.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; kept in the history.")]


class State(StrEnum):
    """Which reviews are listed."""

    OPEN = "open"
    APPROVED = "approved"
    DENIED = "denied"
    EXPIRED = "expired"
    ALL = "all"


@review_app.command("list")
def list_reviews(config: ConfigOption = None, state: Annotated[State, typer.Option("--state", help="Which ones.")] = State.OPEN) -> None:
    """List reviews, the oldest first. Reviews whose time has passed are closed as expired."""
    from streams.reviews import expire, listed, review_database

    with review_database(_dsn(load_config(config))) as connection:
        expire(connection)
        for one in listed(connection, None if state is State.ALL else state.value):
            place = one["tool_name"] or one["kind"]
            when = one["event_time"].isoformat(timespec="seconds")
            until = one["expires_at"].isoformat(timespec="seconds")
            print(
                f"{one['review_uid']}  {one['state']}  {when}  {one['agent_id']}  {place}  {one['action']}  {','.join(one['rules'])}  until {until}"
            )


@review_app.command("show")
def show(review: Id, config: ConfigOption = None) -> None:
    """Show a review as JSON: what is held (masked), why, and who closed it."""
    from streams.reviews import review_database, shown

    with review_database(_dsn(load_config(config))) as connection:
        found, history = shown(connection, review)
    found["held"] = None if found["held"] is None else json.loads(found["held"])
    print(json.dumps(found | {"history": history}, indent=1, ensure_ascii=False, default=str))


@review_app.command("approve")
def approve_review(review: Id, reason: Reason, config: ConfigOption = None) -> None:
    """Close a review and put the held event out on enriched_events, once. Where that is cut off, `headrace review release` goes on."""
    from streams.failpoints import Failpoints
    from streams.reviews import approve, expire, release, review_database

    found = load_config(config)
    failpoints = Failpoints(found.testing.failpoint)
    sink = _sink(found)
    with review_database(_dsn(found)) as connection:
        expire(connection)
        approve(connection, review, reason, sink.begin())
        failpoints.hit("after_approval")
        print(f"approved {review}, released {release(connection, sink, failpoints)}")


@review_app.command("deny")
def deny_review(review: Id, reason: Reason, config: ConfigOption = None) -> None:
    """Close a review; what was held stays held."""
    from streams.reviews import deny, expire, review_database

    with review_database(_dsn(load_config(config))) as connection:
        expire(connection)
        deny(connection, review, reason)
        print(f"denied {review}")


@review_app.command("release")
def release_approved(config: ConfigOption = None) -> None:
    """Put out what was approved and is not out yet: after an approval that was cut off. Does nothing where all is out."""
    from streams.failpoints import Failpoints
    from streams.reviews import release, review_database

    found = load_config(config)
    with review_database(_dsn(found)) as connection:
        print(f"released {release(connection, _sink(found), Failpoints(found.testing.failpoint))}")


def _dsn(config: Config) -> str:
    if config.timescale is None:
        raise ConfigError("review: timescale.dsn is not configured; reviews are kept in PostgreSQL")
    return config.timescale.dsn.get_secret_value()


def _sink(config: Config) -> KafkaSink:
    """The sink of releases: transactional ids and topics of its own, so that it fences no lane of the pipeline."""
    from streams.failpoints import Failpoints
    from streams.registry import open_registry
    from streams.reviews import RELEASED
    from streams.run import kafka_sink

    return kafka_sink(config, open_registry(config), Failpoints(config.testing.failpoint), name=f"{config.pipeline.name}.review", topics=RELEASED)
