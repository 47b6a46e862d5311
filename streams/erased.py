"""The persons who were erased, as a start of the pipeline finds them: nothing is read before the list is there."""

from __future__ import annotations

from schemas.errors import RetryableError
from sinks.erasure_log import ErasureLog
from streams.client_log import with_log
from streams.config import Config
from streams.log import log
from streams.patience import Patience
from streams.stop import Abandoned, Stop


def erasure_log(config: Config) -> ErasureLog:
    """Gives the list on the cluster that the configuration names."""
    kafka = config.require_kafka()
    return ErasureLog(with_log(kafka.client_settings()), kafka.topic_prefix)


def erased_persons(config: Config, stop: Stop) -> frozenset[str]:
    """Gives the hashes of all erased persons; waits for a cluster that is away.

    Raises:
        Abandoned: Told to stop before the list was read.
        FatalError: The cluster refuses.
    """

    def away(error: RetryableError) -> None:
        if stop.requested:
            raise Abandoned(f"stopped before the list of erased persons was read: {error}") from error
        log().warning("run.waiting", problem=str(error))

    patience = Patience(config.sink.retry.wait_first_ms / 1000, config.sink.retry.wait_longest_ms / 1000)
    found = frozenset(patience.persist(erasure_log(config).read, stop, away))
    if found:
        log().info("run.erased_persons", persons=len(found))
    return found
