"""Every error of psycopg, confluent-kafka and the file system has a rule, and no message repeats a foreign text."""

from __future__ import annotations

import errno
import inspect

import psycopg
import pytest
from confluent_kafka import KafkaError, KafkaException

from schemas.errors import FatalError, RetryableError
from sinks.errors import FILES, KAFKA, POSTGRES, POSTGRES_CLIENT, file_failure, kafka_failure, postgres_failure

FOREIGN = [kind for _, kind in inspect.getmembers(psycopg.errors, inspect.isclass) if issubclass(kind, psycopg.Error)]
KAFKA_NAMES = [name for name in dir(KafkaError) if name.lstrip("_").isupper() and name != "NO_ERROR"]
SECRET = "alice@example.org"


@pytest.mark.parametrize("kind", [kind for kind in FOREIGN if kind.sqlstate], ids=lambda kind: kind.sqlstate)
def test_every_sqlstate_that_psycopg_knows_has_a_rule(kind: type[psycopg.Error]) -> None:
    assert kind.sqlstate in POSTGRES or kind.sqlstate[:2] in POSTGRES


def test_every_class_of_psycopg_without_a_sqlstate_has_a_rule_of_its_own() -> None:
    assert {kind for kind in FOREIGN if not kind.sqlstate} == {kind for kind, _ in POSTGRES_CLIENT}


def test_no_rule_of_psycopgs_classes_hides_a_more_specific_one() -> None:
    kinds = [kind for kind, _ in POSTGRES_CLIENT]
    for place, kind in enumerate(kinds):
        assert not any(issubclass(later, kind) for later in kinds[place + 1 :])


def test_the_kafka_table_names_exactly_the_codes_of_librdkafka() -> None:
    assert set(KAFKA_NAMES) == set(KAFKA)
    assert all(KafkaError(getattr(KafkaError, name)).name() == name for name in KAFKA_NAMES)


@pytest.mark.parametrize(
    ("sqlstate", "kind"),
    [
        ("08006", RetryableError),
        ("08P01", FatalError),
        ("22003", FatalError),
        ("23502", FatalError),
        ("25006", RetryableError),
        ("25P02", FatalError),
        ("28P01", FatalError),
        ("3D000", FatalError),
        ("40001", RetryableError),
        ("40P01", RetryableError),
        ("42P01", FatalError),
        ("42501", FatalError),
        ("53100", RetryableError),
        ("53300", RetryableError),
        ("55P03", RetryableError),
        ("57014", RetryableError),
        ("57P01", RetryableError),
        ("57P03", RetryableError),
        ("57P04", FatalError),
        ("XX001", FatalError),
    ],
)
def test_a_sqlstate_decides_whether_to_retry(sqlstate: str, kind: type[Exception]) -> None:
    failure = postgres_failure(psycopg.errors.lookup(sqlstate)(f"key ({SECRET})"), "timescale lane 0")
    assert type(failure) is kind
    assert sqlstate in str(failure)
    assert SECRET not in str(failure)


def test_a_lost_connection_is_retryable_and_a_refused_login_is_not() -> None:
    lost = postgres_failure(psycopg.OperationalError("server closed the connection unexpectedly"), "x")
    refused = postgres_failure(psycopg.OperationalError('connection failed: FATAL:  password authentication failed for user "headrace"'), "x")
    assert isinstance(lost, RetryableError)
    assert isinstance(refused, FatalError)


@pytest.mark.parametrize(
    ("name", "flags", "kind"),
    [
        ("_TRANSPORT", {}, RetryableError),
        ("_TRANSPORT", {"fatal": True}, FatalError),
        ("NOT_ENOUGH_REPLICAS", {}, RetryableError),
        ("TRANSACTION_ABORTABLE", {"txn_requires_abort": True}, RetryableError),
        ("INVALID_TXN_STATE", {}, FatalError),
        ("INVALID_TXN_STATE", {"txn_requires_abort": True}, RetryableError),
        ("MSG_SIZE_TOO_LARGE", {"txn_requires_abort": True}, FatalError),
        ("PRODUCER_FENCED", {"txn_requires_abort": True}, FatalError),
        ("_FENCED", {"fatal": True}, FatalError),
        ("TOPIC_AUTHORIZATION_FAILED", {}, FatalError),
        ("OFFSET_OUT_OF_RANGE", {}, FatalError),
    ],
)
def test_a_kafka_code_with_its_flags_decides_whether_to_retry(name: str, flags: dict[str, bool], kind: type[Exception]) -> None:
    error = KafkaError(getattr(KafkaError, name), f"record {SECRET}", **flags)
    for form in (error, KafkaException(error)):
        failure = kafka_failure(form, "kafka lane 0")
        assert type(failure) is kind
        assert name in str(failure)
        assert SECRET not in str(failure)


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_full_disk_is_retryable_and_a_wrong_path_is_not(name: str) -> None:
    failure = file_failure(OSError(getattr(errno, name), "text", SECRET), "files lane 0")
    assert isinstance(failure, FatalError if name in ("EACCES", "EPERM", "EROFS", "ENOENT", "ENOTDIR", "EISDIR", "ENAMETOOLONG") else RetryableError)
    assert name in str(failure)
    assert SECRET not in str(failure)
