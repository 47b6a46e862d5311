"""Where Avro schemas get their ids: a schema registry, or a file that stands in for one.

Subjects are named ``<topic>-value``, as Confluent's serializers do by default. This is the one module of the lower layers that does input and
output; everything above it asks through the ``SchemaRegistry`` protocol.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, Protocol

from confluent_kafka.schema_registry import Schema, SchemaRegistryClient, SchemaRegistryError

# The client speaks through httpx2 where that is installed and httpx where not; only its own choice has the errors that it raises.
from confluent_kafka.schema_registry.common._httpx_compat import httpx

from schemas import avro
from schemas.compatibility import full_transitive
from schemas.errors import ConfigError, RetryableError, SchemaUnknown
from schemas.topics import SCHEMAS

_RETRY_AFTER_MS: Final = 1_000
#: HTTP statuses: no such schema; unauthorized, forbidden; incompatible with the subject, no valid schema.
_NOT_FOUND: Final = 404
_NO_RIGHTS: Final = (401, 403)
_REFUSED: Final = (409, 422)
_FILE_NAME: Final = "registry.json"


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a subject.

    Attributes:
        id: Id of the schema, unique in the registry.
        version: Counted from 1 inside the subject.
        text: The schema as JSON.
    """

    id: int
    subject: str
    version: int
    text: str


class SchemaRegistry(Protocol):
    """What headrace needs of a registry.

    Every method raises RetryableError while the registry is away, and ConfigError where it refuses the credentials.
    """

    def schema(self, schema_id: int) -> str:
        """Gives the text of a schema; SchemaUnknown where the registry has no Avro schema of that id."""
        ...

    def register(self, subject: str, text: str) -> int:
        """Gives the id of a schema, registered as the next version where it is new; ConfigError where it breaks the subject's compatibility."""
        ...

    def latest(self, subject: str) -> Version:
        """Gives the latest version of a subject; SchemaUnknown where there is none."""
        ...

    def id_of(self, schema: str) -> int:
        """Gives the id of a shipped schema (by its name), registered under its topic's subject where it is new."""
        ...


def subject_of(schema: str) -> str:
    """Gives the subject of a shipped schema; KeyError where no topic carries it."""
    return f"{ {carried: topic for topic, carried in SCHEMAS.items()}[schema] }-value"


class FileRegistry:
    """A registry in one JSON file: stable ids without a server.

    Args:
        path: The file, or a folder that holds ``registry.json``. It need not exist: it then begins with every version that ships with headrace, so
            that shipped ids are the same everywhere, and is written at the first registration. None: the shipped versions, read only.

    Processes may share a file: writers hold a lock beside it and replace it whole, readers look again when an id is new to them.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path / _FILE_NAME if path is not None and path.suffix != ".json" else path
        self._versions = self._read()

    def schema(self, schema_id: int) -> str:
        """Gives the text of a schema by its id."""
        for _ in range(2):
            for version in self._versions:
                if version.id == schema_id:
                    return version.text
            self._versions = self._read()
        raise SchemaUnknown(f"schema id {schema_id}: not in the registry; register the schema that the producer writes with")

    def register(self, subject: str, text: str) -> int:
        """Gives the id of a schema under a subject; new ones must be fully compatible with all earlier versions."""
        known = _id_of_equal(self._versions, subject, text)
        if known is not None:
            return known
        if self._path is None:
            raise ConfigError(f"registry: {subject}: the shipped registry is read only, got a new schema; set registry.path to a file of your own")
        with self._locked(self._path):
            self._versions = self._read()
            known = _id_of_equal(self._versions, subject, text)
            if known is not None:
                return known
            added = next_version(self._versions, subject, text)
            self._write(self._path, (*self._versions, added))
            self._versions = (*self._versions, added)
        return added.id

    def latest(self, subject: str) -> Version:
        """Gives the latest version of a subject."""
        self._versions = self._read()
        versions = [version for version in self._versions if version.subject == subject]
        if not versions:
            raise SchemaUnknown(f"subject {subject}: not in the registry; register its schema")
        return max(versions, key=lambda version: version.version)

    def id_of(self, schema: str) -> int:
        """Gives the id of a shipped schema."""
        return self.register(subject_of(schema), avro.text(schema))

    def _read(self) -> tuple[Version, ...]:
        if self._path is None or not self._path.exists():
            return shipped_versions()
        try:
            return parse_versions(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError, KeyError, TypeError) as error:
            problem = type(error).__name__
            raise ConfigError(f"registry: {self._path}: want a registry file that can be read, got {problem}; repair or remove it") from None

    @contextmanager
    def _locked(self, path: Path) -> Iterator[None]:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _write(self, path: Path, versions: tuple[Version, ...]) -> None:
        """Replaces the file whole, so that a reader or a crash never sees half of it."""
        new = path.with_suffix(".new")
        with new.open("w", encoding="utf-8") as file:
            file.write(format_versions(versions))
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)


def shipped_versions() -> tuple[Version, ...]:
    """Gives every version of every shipped schema that was ever published, the current ones included."""
    return parse_versions((files(avro) / _FILE_NAME).read_text(encoding="utf-8"))


def parse_versions(text: str) -> tuple[Version, ...]:
    """Gives the versions in a registry file; ValueError, KeyError or TypeError where it is none."""
    entries: list[dict[str, Any]] = json.loads(text)["schemas"]
    versions = tuple(
        Version(int(entry["id"]), str(entry["subject"]), int(entry["version"]), json.dumps(entry["schema"], ensure_ascii=False)) for entry in entries
    )
    if len({version.id for version in versions}) < len(versions):
        raise ValueError("an id occurs twice")
    return versions


def format_versions(versions: tuple[Version, ...]) -> str:
    """Gives the text of a registry file: one version a line, so that a change shows as added lines."""
    lines = [
        json.dumps({"id": version.id, "subject": version.subject, "version": version.version, "schema": json.loads(version.text)}, ensure_ascii=False)
        for version in versions
    ]
    return '{"schemas": [\n' + ",\n".join(lines) + "\n]}\n"


def next_version(versions: tuple[Version, ...], subject: str, text: str) -> Version:
    """Gives the version that a new schema becomes; ConfigError where it and an earlier version cannot read each other."""
    earlier = sorted((version for version in versions if version.subject == subject), key=lambda version: version.version)
    problems = full_transitive(text, [version.text for version in earlier])
    if problems:
        raise ConfigError(*(f"registry: {subject}: want a schema that is fully compatible, got: {problem}" for problem in problems))
    return Version(max((version.id for version in versions), default=0) + 1, subject, len(earlier) + 1, text)


def _id_of_equal(versions: tuple[Version, ...], subject: str, text: str) -> int | None:
    wanted = json.loads(text)
    for version in versions:
        if version.subject == subject and json.loads(version.text) == wanted:
            return version.id
    return None


class ConfluentRegistry:
    """A schema registry over HTTP, by Confluent's client, which keeps what it has read.

    Args:
        url: ``http(s)://host:port``, several separated by commas.
        basic_auth: ``user:password``, None without.
        timeout_ms: Deadline of one request. The client does not retry: the pipeline pauses and comes again.
    """

    def __init__(self, url: str, basic_auth: str | None = None, timeout_ms: int = 10_000) -> None:
        settings: dict[str, Any] = {"url": url, "timeout": timeout_ms / 1_000, "max.retries": 0}
        if basic_auth is not None:
            settings["basic.auth.user.info"] = basic_auth
        try:
            self._client = SchemaRegistryClient.new_client(settings)
        except (ValueError, TypeError):
            # The client's own message quotes the URL and the credentials.
            raise ConfigError("registry: want a URL http(s)://host:port and credentials as user:password, got something else") from None

    def schema(self, schema_id: int) -> str:
        """Gives the text of a schema by its id."""
        with _translated(f"schema id {schema_id}"):
            found = self._client.get_schema(schema_id)
        return _avro_text(found, f"schema id {schema_id}")

    def register(self, subject: str, text: str) -> int:
        """Gives the id of a schema under a subject; the server checks compatibility as it is configured to."""
        with _translated(f"subject {subject}"):
            return int(self._client.register_schema(subject, Schema(text, "AVRO")))

    def latest(self, subject: str) -> Version:
        """Gives the latest version of a subject."""
        with _translated(f"subject {subject}"):
            found = self._client.get_latest_version(subject)
            return Version(_number(found.schema_id), subject, _number(found.version), _avro_text(found.schema, f"subject {subject}"))

    def id_of(self, schema: str) -> int:
        """Gives the id of a shipped schema."""
        return self.register(subject_of(schema), avro.text(schema))


def _number(given: int | None) -> int:
    if given is None:
        raise ValueError("a number is missing in the answer")
    return given


def _avro_text(schema: Schema, place: str) -> str:
    if schema.schema_type not in (None, "AVRO") or schema.schema_str is None:
        raise SchemaUnknown(f"{place}: want an Avro schema, got {schema.schema_type}; write the topic with Avro or JSON")
    if schema.references:
        raise SchemaUnknown(f"{place}: want a schema in one piece, got one with references; register it with its parts inlined")
    return str(schema.schema_str)


@contextmanager
def _translated(place: str) -> Iterator[None]:
    """Turns the client's errors into ours, most specific first; its texts are left behind, as they quote URLs and schemas."""
    try:
        yield
    except SchemaRegistryError as error:
        status = error.http_status_code
        if status == _NOT_FOUND:
            raise SchemaUnknown(f"{place}: not in the registry; register the schema that the producer writes with") from None
        if status in _NO_RIGHTS:
            raise ConfigError(f"registry: {place}: refused with status {status}; check the credentials and their rights") from None
        if status in _REFUSED:
            raise ConfigError(f"registry: {place}: the schema was refused with status {status}; it breaks the subject's compatibility") from None
        raise RetryableError(f"registry: {place}: answered with status {status}; check the schema registry", _RETRY_AFTER_MS) from None
    except (httpx.HTTPError, OSError, ValueError, TypeError) as error:
        # ValueError and TypeError: an answer that is no JSON or has not the promised fields, as a proxy in between may give.
        raise RetryableError(f"registry: {place}: no answer ({type(error).__name__}); check that it runs and its address", _RETRY_AFTER_MS) from None
