"""What foreign errors become: one table for PostgreSQL, one for Kafka, one for files; those of Qdrant are in ``sinks.vector_errors``.

A foreign error becomes a RetryableError (the same batch may be written again) or a FatalError (it would fail again). The most specific
rule wins. A test walks psycopg's and confluent-kafka's own lists and fails when one grows an error that no rule names; what is met at run
time without a rule is fatal.

Foreign texts are not passed on: PostgreSQL's messages and details can hold row values (``Key (x)=(value)``). A message is built from the
code and from names of tables, columns and constraints only. Callers raise the result outside of the ``except`` block, so that the foreign
error does not travel with it as its context::

    failure = None
    try:
        ...
    except psycopg.Error as error:
        failure = postgres_failure(error, "timescale lane 0")
    if failure is not None:
        raise failure
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import psycopg
from confluent_kafka import KafkaError, KafkaException

from schemas.errors import FatalError, RetryableError

SinkError = RetryableError | FatalError

#: How long to wait, in ms, by what has to happen meanwhile.
CONFLICT_MS: Final = 50  # another transaction commits
RECONNECT_MS: Final = 1_000  # a server restarts or a leader is elected
RELIEF_MS: Final = 5_000  # somebody frees memory, disk or connections; a standby is promoted


@dataclass(frozen=True, slots=True)
class Rule:
    """What becomes of one kind of foreign error.

    Attributes:
        advice: What it means and what to do, as the end of a sentence.
        retry_after_ms: Milliseconds until the next try; None where the error is fatal.
    """

    advice: str
    retry_after_ms: int | None = None


_BUG = Rule("the statement does not fit this server or its data; please report it with this code")
_MIGRATE = Rule("the schema is missing or old: run `headrace migrate`")
_DATA = Rule("a value does not fit its column: run `headrace migrate`, and report it with this code if that changes nothing")
_GRANT = Rule("the role lacks a right: grant it INSERT, SELECT and UPDATE on headrace's tables and TEMPORARY on the database")
_TLS = Rule("TLS was not agreed on as the connection string wants it: check sslmode, sslrootcert and the server's certificate")
_LOGIN = Rule("the server refuses this role: check user, password and pg_hba.conf")
_AWAY = Rule("the server is away or restarts", RECONNECT_MS)
_SLOW = Rule("the statement was cancelled: the server is slow or a lock is held", RECONNECT_MS)
_CONFLICT = Rule("another transaction was in the way", CONFLICT_MS)
_FULL = Rule("the server lacks disk, memory or connections: free some", RELIEF_MS)
_STANDBY = Rule("the server is read-only: it is a standby, or default_transaction_read_only is on", RELIEF_MS)

#: Classes that no statement of a sink should meet.
_NEVER_EXPECTED: Final = (
    "02",
    "03",
    "09",
    "0A",
    "0B",
    "0F",
    "0L",
    "0P",
    "0Z",
    "10",
    "20",
    "21",
    "24",
    "25",
    "26",
    "27",
    "2B",
    "2D",
    "2F",
    "34",
    "38",
    "39",
    "3B",
    "3D",
    "3F",
    "42",
    "44",
    "54",
    "55",
    "58",
    "F0",
    "HV",
    "P0",
    "TS",
    "XX",  # TS: TimescaleDB
)

#: By SQLSTATE (five characters) or class (two), https://www.postgresql.org/docs/current/errcodes-appendix.html
POSTGRES: Final = MappingProxyType(
    {
        "08P01": _BUG,
        "25006": _STANDBY,
        "25P03": _AWAY,  # idle in transaction for too long
        "25P04": _SLOW,  # transaction_timeout
        "3D000": Rule("the database does not exist: create it"),
        "3F000": _MIGRATE,
        "42501": _GRANT,
        "42703": _MIGRATE,
        "42704": _MIGRATE,
        "42883": _MIGRATE,
        "42P01": _MIGRATE,
        "42P10": _MIGRATE,  # no unique constraint fits ON CONFLICT
        "55006": _CONFLICT,
        "55P03": _CONFLICT,
        "57P04": Rule("the database was dropped: create it and run `headrace migrate`"),
        "58030": _FULL,  # I/O error
        "08": _AWAY,
        "22": _DATA,
        "23": _DATA,
        "28": _LOGIN,
        "40": _CONFLICT,
        "53": _FULL,
        "57": _AWAY,
        "72": _CONFLICT,
        "57014": _SLOW,
        **dict.fromkeys(_NEVER_EXPECTED, _BUG),
    }
)

#: Errors that psycopg or libpq raise without a SQLSTATE, most specific first. A lost connection has none.
POSTGRES_CLIENT: Final[tuple[tuple[type[BaseException], Rule], ...]] = (
    (psycopg.errors.ConnectionTimeout, _AWAY),
    (psycopg.errors.CancellationTimeout, _SLOW),
    (psycopg.errors.PipelineAborted, _BUG),
    (psycopg.errors._WaitTimeout, Rule("no answer within the deadline: the server is slow or a lock is held", RECONNECT_MS)),
    (psycopg.OperationalError, _AWAY),
    (psycopg.DataError, _DATA),
    (psycopg.NotSupportedError, _BUG),
    (psycopg.ProgrammingError, Rule("the connection string or the use of the connection is wrong: check the DSN")),
    (psycopg.IntegrityError, _DATA),
    (psycopg.InternalError, _BUG),
    (psycopg.InterfaceError, _BUG),
    (psycopg.DatabaseError, _BUG),
    (psycopg.Error, _BUG),
)

#: A refused login has no SQLSTATE either: libpq gives only text. These parts of it are fatal; in another language they are retried.
_REFUSED: Final = (
    ("password authentication failed", _LOGIN),
    ("no password supplied", _LOGIN),
    ("no pg_hba.conf entry", _LOGIN),
    ("role ", _LOGIN),  # role "x" does not exist, is not permitted to log in
    ("permission denied for database", _GRANT),
    ("database ", POSTGRES["3D000"]),  # database "x" does not exist
)

#: Parts of what libpq says where TLS cannot be had as the connection string wants it; libpq gives no code for it.
_NO_TLS: Final = ("certificate", "SSL was required", "server does not support SSL", "SSL error")


def postgres_failure(error: psycopg.Error, where: str) -> SinkError:
    """Gives our error for one of psycopg's.

    Args:
        error: As psycopg raised it; its text goes nowhere.
        where: Begins the message, e.g. ``timescale lane 3``.
    """
    diag = error.diag
    names = (("table", diag.table_name), ("column", diag.column_name), ("constraint", diag.constraint_name))
    place = "".join(f", {label} {name}" for label, name in names if name)
    kind = type(error).__name__
    if error.sqlstate:
        return made(f"{where}: PostgreSQL said {error.sqlstate} ({kind}){place}", postgres_rule(error.sqlstate))
    return made(f"{where}: no connection to PostgreSQL ({kind}){place}", _client_rule(error))


def postgres_rule(sqlstate: str) -> Rule:
    """Gives the rule of a SQLSTATE: its own, or its class's; one that is not named is fatal."""
    return POSTGRES.get(sqlstate) or POSTGRES.get(sqlstate[:2]) or _BUG


def _client_rule(error: psycopg.Error) -> Rule:
    if isinstance(error, psycopg.OperationalError):
        text = str(error)
        if any(part in text for part in _NO_TLS):
            return _TLS
        for part, rule in _REFUSED:
            # Of a failed login only: "FATAL:  role "x" does not exist".
            if f"FATAL:  {part}" in text:
                return rule
    return next(rule for kind, rule in POSTGRES_CLIENT if isinstance(error, kind))


_BROKER = Rule("a broker, coordinator or leader is away or changes", RECONNECT_MS)
_BACKLOG = Rule("the producer's queue or a quota is full", RECONNECT_MS)
_ABORT = Rule("the transaction was aborted; it is safe to write the batch again", CONFLICT_MS)
_KAFKA_FULL = Rule("a broker's disk or its in-sync replicas do not suffice: check the cluster", RELIEF_MS)
_FENCED = Rule("a newer producer with the same transactional id took over this lane: another run of this pipeline is alive")
_KAFKA_TLS = Rule("TLS was not agreed on: check ssl.ca.location against the authority of the broker's certificate, and that this port speaks TLS")
_KAFKA_RIGHTS = Rule("the broker refuses this client: check its credentials and ACLs")
_TOPIC = Rule("the topic or its partition is not there or not as configured: create it, or check the topic settings")
_SIZE = Rule("a message is larger than the topic takes: raise max.message.bytes or lower headrace's limit on a record")
_STOPPED = Rule("the producer cannot go on: open the lane again")
_LOST = Rule("the position is no longer in the log: retention passed it")
_KAFKA_BUG = Rule("the client and the broker do not understand each other: check versions and settings, and report it with this code")

_KAFKA_NAMES: Final[tuple[tuple[Rule, str], ...]] = (
    (
        _BROKER,
        "BROKER_NOT_AVAILABLE COORDINATOR_LOAD_IN_PROGRESS COORDINATOR_NOT_AVAILABLE ELIGIBLE_LEADERS_NOT_AVAILABLE FENCED_LEADER_EPOCH "
        "LEADER_NOT_AVAILABLE LISTENER_NOT_FOUND NETWORK_EXCEPTION NOT_CONTROLLER NOT_COORDINATOR NOT_LEADER_FOR_PARTITION "
        "OFFSET_NOT_AVAILABLE PREFERRED_LEADER_NOT_AVAILABLE REASSIGNMENT_IN_PROGRESS REBOOTSTRAP_REQUIRED REPLICA_NOT_AVAILABLE "
        "REQUEST_TIMED_OUT STALE_BROKER_EPOCH STALE_CTRL_EPOCH UNKNOWN_LEADER_EPOCH UNSTABLE_OFFSET_COMMIT FETCH_SESSION_ID_NOT_FOUND "
        "INVALID_FETCH_SESSION_EPOCH _ALL_BROKERS_DOWN _DESTROY_BROKER _FAIL _INTR _MSG_TIMED_OUT _NODE_UPDATE _RESOLVE _RETRY _TIMED_OUT "
        "_TIMED_OUT_QUEUE _TRANSPORT _UNKNOWN_BROKER _WAIT_CACHE _WAIT_COORD _PARTIAL",
    ),
    (_BACKLOG, "THROTTLING_QUOTA_EXCEEDED _QUEUE_FULL _IN_PROGRESS _PREV_IN_PROGRESS"),
    (
        _ABORT,
        "CONCURRENT_TRANSACTIONS TRANSACTION_ABORTABLE OPERATION_NOT_ATTEMPTED REBALANCE_IN_PROGRESS _PURGE_INFLIGHT _PURGE_QUEUE _ASSIGNMENT_LOST "
        "_ASSIGN_PARTITIONS _REVOKE_PARTITIONS",
    ),
    (_KAFKA_FULL, "KAFKA_STORAGE_ERROR LOG_DIR_NOT_FOUND NOT_ENOUGH_REPLICAS NOT_ENOUGH_REPLICAS_AFTER_APPEND _ISR_INSUFF _CRIT_SYS_RESOURCE"),
    (
        _FENCED,
        "FENCED_INSTANCE_ID FENCED_MEMBER_EPOCH FENCED_STATE_EPOCH INVALID_PRODUCER_EPOCH INVALID_PRODUCER_ID_MAPPING PRODUCER_FENCED "
        "STALE_MEMBER_EPOCH STREAMS_TOPOLOGY_FENCED TRANSACTION_COORDINATOR_FENCED UNRELEASED_INSTANCE_ID _FENCED",
    ),
    (
        _KAFKA_RIGHTS,
        "CLUSTER_AUTHORIZATION_FAILED DELEGATION_TOKEN_AUTHORIZATION_FAILED DELEGATION_TOKEN_AUTH_DISABLED DELEGATION_TOKEN_EXPIRED "
        "DELEGATION_TOKEN_NOT_FOUND DELEGATION_TOKEN_OWNER_MISMATCH DELEGATION_TOKEN_REQUEST_NOT_ALLOWED GROUP_AUTHORIZATION_FAILED "
        "ILLEGAL_SASL_STATE INVALID_PRINCIPAL_TYPE POLICY_VIOLATION PRINCIPAL_DESERIALIZATION_FAILURE SASL_AUTHENTICATION_FAILED "
        "SECURITY_DISABLED TOPIC_AUTHORIZATION_FAILED TRANSACTIONAL_ID_AUTHORIZATION_FAILED UNACCEPTABLE_CREDENTIAL "
        "UNSUPPORTED_SASL_MECHANISM _AUTHENTICATION",
    ),
    (_KAFKA_TLS, "_SSL"),
    (
        _TOPIC,
        "INCONSISTENT_TOPIC_ID INVALID_CONFIG INVALID_PARTITIONS INVALID_REPLICATION_FACTOR INVALID_REPLICA_ASSIGNMENT TOPIC_ALREADY_EXISTS "
        "TOPIC_DELETION_DISABLED TOPIC_EXCEPTION UNKNOWN_TOPIC_ID UNKNOWN_TOPIC_OR_PART _UNKNOWN_PARTITION _UNKNOWN_TOPIC",
    ),
    (_SIZE, "INVALID_MSG_SIZE MSG_SIZE_TOO_LARGE RECORD_LIST_TOO_LARGE TELEMETRY_TOO_LARGE OFFSET_METADATA_TOO_LARGE INVALID_COMMIT_OFFSET_SIZE"),
    (_LOST, "OFFSET_OUT_OF_RANGE _AUTO_OFFSET_RESET _LOG_TRUNCATION _NO_OFFSET UNKNOWN_PRODUCER_ID"),
    (
        _KAFKA_BUG,
        "DUPLICATE_RESOURCE DUPLICATE_SEQUENCE_NUMBER DUPLICATE_VOTER ELECTION_NOT_NEEDED FEATURE_UPDATE_FAILED GROUP_ID_NOT_FOUND "
        "GROUP_MAX_SIZE_REACHED GROUP_SUBSCRIBED_TO_TOPIC ILLEGAL_GENERATION INCONSISTENT_GROUP_PROTOCOL INCONSISTENT_VOTER_SET "
        "INVALID_GROUP_ID INVALID_MSG INVALID_RECORD INVALID_RECORD_STATE INVALID_REGISTRATION INVALID_REGULAR_EXPRESSION INVALID_REQUEST "
        "INVALID_REQUIRED_ACKS INVALID_SESSION_TIMEOUT INVALID_SHARE_SESSION_EPOCH INVALID_TIMESTAMP INVALID_TRANSACTION_TIMEOUT "
        "INVALID_TXN_STATE INVALID_UPDATE_VERSION INVALID_VOTER_KEY MEMBER_ID_REQUIRED MISMATCHED_ENDPOINT_TYPE NON_EMPTY_GROUP "
        "NO_REASSIGNMENT_IN_PROGRESS OUT_OF_ORDER_SEQUENCE_NUMBER RESOURCE_NOT_FOUND SHARE_SESSION_LIMIT_REACHED SHARE_SESSION_NOT_FOUND "
        "STREAMS_INVALID_TOPOLOGY STREAMS_INVALID_TOPOLOGY_EPOCH UNKNOWN UNKNOWN_CONTROLLER_ID UNKNOWN_MEMBER_ID UNKNOWN_SUBSCRIPTION_ID "
        "UNSUPPORTED_ASSIGNOR UNSUPPORTED_COMPRESSION_TYPE UNSUPPORTED_ENDPOINT_TYPE UNSUPPORTED_FOR_MESSAGE_FORMAT UNSUPPORTED_VERSION "
        "VOTER_NOT_FOUND _APPLICATION _BAD_COMPRESSION _BAD_MSG _CONFLICT _DESTROY _EXISTING_SUBSCRIPTION _FATAL _FS _GAPLESS_GUARANTEE "
        "_INCONSISTENT _INVALID_ARG _INVALID_DIFFERENT_RECORD _INVALID_TYPE _KEY_DESERIALIZATION _KEY_SERIALIZATION _MAX_POLL_EXCEEDED _NOENT "
        "_NOOP _NOT_CONFIGURED _NOT_IMPLEMENTED _OUTDATED _PARTITION_EOF _READ_ONLY _STATE _UNDERFLOW _UNKNOWN_GROUP _UNKNOWN_PROTOCOL "
        "_UNSUPPORTED_FEATURE _VALUE_DESERIALIZATION _VALUE_SERIALIZATION",
    ),
)

#: By librdkafka's name of the error code.
KAFKA: Final = MappingProxyType({name: rule for rule, names in _KAFKA_NAMES for name in names.split()})


def kafka_failure(error: KafkaError | KafkaException, where: str) -> SinkError:
    """Gives our error for one of confluent-kafka's; an error that librdkafka marks fatal is fatal whatever its code.

    Args:
        error: As it was raised or reported by a delivery callback; its text goes nowhere.
        where: Begins the message, e.g. ``kafka lane 3``.
    """
    cause: KafkaError = error.args[0] if isinstance(error, KafkaException) else error
    rule = KAFKA.get(cause.name(), _KAFKA_BUG)
    if cause.fatal() and rule.retry_after_ms is not None:
        rule = _STOPPED
    elif cause.txn_requires_abort() and rule is _KAFKA_BUG:
        rule = _ABORT
    return made(f"{where}: Kafka said {cause.name()} ({cause.code()})", rule)


_DISK = Rule("the file system is full, over quota or busy: free some space", RELIEF_MS)
_PATH = Rule("the directory is missing or not writable: check the path and its permissions")
_DISK_NAMES: Final = "ENOSPC EDQUOT EFBIG EIO EMFILE ENFILE ENOMEM EAGAIN EINTR"
_PATH_NAMES: Final = "EACCES EPERM EROFS ENOENT ENOTDIR EISDIR ENAMETOOLONG"
#: By the operating system's name of the error number.
FILES: Final = MappingProxyType({**dict.fromkeys(_DISK_NAMES.split(), _DISK), **dict.fromkeys(_PATH_NAMES.split(), _PATH)})


def file_failure(error: OSError, where: str) -> SinkError:
    """Gives our error for one of the operating system's; a number without a rule is fatal."""
    name = errno.errorcode.get(error.errno or 0, "an error without a number")
    return made(f"{where}: the operating system said {name}", FILES.get(name, _PATH))


def made(what: str, rule: Rule) -> SinkError:
    """Gives the error that a rule says, with what happened at the beginning of its message."""
    message = f"{what}; {rule.advice}"
    return FatalError(message) if rule.retry_after_ms is None else RetryableError(message, rule.retry_after_ms)
