"""The sections of the configuration: frozen models with their bounds. Units stand in the names; a part that is absent is off."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict
from pydantic import Field, SecretStr, field_validator, model_validator

from governance.rules import KINDS
from models.endpoint import is_loopback
from models.router import PPM, RouteMode
from models.spec import MODELS
from schemas.errors import ConfigError
from schemas.events import CONTENT
from schemas.topics import INPUTS
from streams.config_flink import FlinkConfig
from streams.config_http import HttpConfig
from streams.config_part import Section, did_you_mean
from streams.hash_key import HASH_KEY_BYTES_MIN

#: librdkafka settings that headrace sets itself: another value would break what delivery promises.
KAFKA_OWNED: Final = frozenset(
    {
        "bootstrap.servers",
        "group.id",
        "enable.auto.commit",
        "enable.auto.offset.store",
        "auto.offset.reset",
        "isolation.level",
        "acks",
        "request.required.acks",
        "enable.idempotence",
        "transactional.id",
        "partitioner",
    }
)


class PipelineConfig(Section):
    """Which pipeline runs, and its windows."""

    name: str = Field(default="headrace", pattern=r"^[a-z][a-z0-9_-]{0,62}$", description="Prefix of transactional ids and snapshots.")
    lanes: int = Field(default=2, ge=1, le=64, description="Lanes of the exchange and of each sink; fixed for the life of the state.")
    workers: int = Field(default=1, ge=1, le=64, description="Worker threads.")
    stop_grace_ms: int = Field(
        default=20_000, ge=0, le=600_000, description="How long a stop waits for sinks that do not answer; the next start replays what they lack."
    )
    policy: Path | None = Field(default=None, description="Policy file; absent: the policy that is packaged.")
    window_s: int = Field(default=10, ge=1, le=86_400, description="Length of a metric window.")
    lateness_s: int = Field(default=60, ge=0, le=86_400, description="How long after its end a window takes late events, in event time.")
    dedup_ttl_s: int = Field(default=600, ge=1, le=604_800, description="How long an event id is remembered, in event time.")

    @model_validator(mode="after")
    def _ids_outlive_windows(self) -> PipelineConfig:
        if self.dedup_ttl_s <= self.window_s + self.lateness_s:
            raise ValueError(
                f"dedup_ttl_s must be more than window_s + lateness_s = {self.window_s + self.lateness_s}, came {self.dedup_ttl_s}: "
                "a duplicate of a late event would be counted twice; raise dedup_ttl_s"
            )
        return self


class KafkaConfig(Section):
    """The cluster, and the topics read from it."""

    bootstrap: str = Field(pattern=r"^[^\s,:]+:\d+(,[^\s,:]+:\d+)*$", description="host:port, several separated by commas.")
    inputs: tuple[str, ...] = Field(default=tuple(INPUTS), min_length=1, description="Input topics.")
    topic_prefix: str = Field(
        default="", pattern=r"^[A-Za-z0-9._-]{0,100}$", description="Stands before every topic's name: several pipelines on one cluster."
    )
    output_partitions: int = Field(default=4, ge=1, le=1_024, description="Partitions of each output topic when headrace creates it.")
    security: Mapping[str, SecretStr] = Field(
        default_factory=dict, description="Extra librdkafka settings (security.protocol, sasl.*, ssl.*); secrets as ${NAME}."
    )

    @field_validator("inputs")
    @classmethod
    def _inputs_are_known(cls, topics: tuple[str, ...]) -> tuple[str, ...]:
        for topic in topics:
            if topic not in INPUTS:
                raise ValueError(f"each must be one of {', '.join(INPUTS)}{did_you_mean(topic, INPUTS)}")
        if len(set(topics)) != len(topics):
            raise ValueError("a topic stands twice; name each once")
        return topics

    @field_validator("security")
    @classmethod
    def _guarantees_are_ours(cls, settings: Mapping[str, SecretStr]) -> Mapping[str, SecretStr]:
        taken = sorted(KAFKA_OWNED.intersection(settings))
        if taken:
            raise ValueError(f"{', '.join(taken)} is set by headrace, because delivery depends on it; remove it")
        return settings

    @property
    def is_encrypted(self) -> bool:
        """Whether the connection to the brokers is over TLS."""
        protocol = self.security.get("security.protocol")
        return protocol is not None and protocol.get_secret_value().upper() in ("SSL", "SASL_SSL")

    def client_settings(self) -> dict[str, str]:
        """Gives librdkafka settings with secrets in the clear: for a client's constructor, never for a log."""
        return {"bootstrap.servers": self.bootstrap, **{name: value.get_secret_value() for name, value in self.security.items()}}


class StartEarliest(Section):
    """Begin at the oldest record that Kafka still has."""

    type: Literal["earliest"] = "earliest"


class StartLatest(Section):
    """Begin at records written after the first start."""

    type: Literal["latest"] = "latest"


class StartTimestamp(Section):
    """Begin at the first record whose Kafka timestamp is not before a time."""

    type: Literal["timestamp"] = "timestamp"
    at_ms: int = Field(ge=0, description="Milliseconds since 1970, UTC.")


class SourceConfig(Section):
    """How records are read. The start counts only where no snapshot holds an offset."""

    batch_rows_max: int = Field(default=4_096, ge=1, le=65_536, description="Rows of one batch at most.")
    linger_ms: int = Field(default=20, ge=0, le=10_000, description="How long a batch waits to fill.")
    start: Annotated[StartEarliest | StartLatest | StartTimestamp, Field(discriminator="type")] = StartEarliest()
    idle_ms: int = Field(default=5_000, ge=100, le=3_600_000, description="After so long without a record a partition holds the others back no more.")
    batch_target_ms: int = Field(
        default=1_000, ge=10, le=60_000, description="Batches shrink until decoding, models and masking take about so long for one."
    )
    rows_in_flight_max: int = Field(default=50_000, ge=1, le=10_000_000, description="Rows between source and sinks at most.")
    source_lanes: int = Field(default=1, ge=1, le=64, description="Consumers that read side by side.")
    front_processes: int = Field(default=1, ge=0, le=64, description="Processes that decode and mask; 0 leaves it to the one that does the rest.")

    @field_validator("start", mode="before")
    @classmethod
    def _word_for_type(cls, value: object) -> object:
        return {"type": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _batch_fits(self) -> SourceConfig:
        if self.rows_in_flight_max < self.batch_rows_max * self.source_lanes:
            raise ValueError(
                f"rows_in_flight_max must be at least batch_rows_max x source_lanes = {self.batch_rows_max * self.source_lanes}, "
                f"came {self.rows_in_flight_max}; raise it"
            )
        return self


class RecoveryConfig(Section):
    """Where snapshots live."""

    dir: Path = Field(default=Path(".headrace/recovery"), description="Directory; one run holds it at a time.")
    epoch_interval_ms: int = Field(default=1_000, ge=50, le=600_000, description="Time between snapshots.")


class TimescaleConfig(Section):
    """The database that takes metrics, decisions, alerts, the audit log and dead letters."""

    dsn: SecretStr = Field(description="libpq connection string; write ${NAME} to keep a password out of the file.")

    @property
    def is_verified(self) -> bool:
        """Whether the server must prove who it is, or is on this machine."""
        try:
            said = conninfo_to_dict(self.dsn.get_secret_value())
        except ProgrammingError:
            return True  # no connection string at all: the sink says so
        host = str(said.get("host", "localhost"))
        return said.get("sslmode") in ("verify-ca", "verify-full") or host.startswith("/") or is_loopback(host)


class AuditConfig(Section):
    """The audit log."""

    anchor_interval_ms: int = Field(default=60_000, ge=100, le=86_400_000, description="Time between anchors of the hash chains in PostgreSQL, ms.")


class LineageConfig(Section):
    """Where OpenLineage events of runs go; a part that is absent sends none."""

    type: Literal["file", "console", "http", "kafka"] = Field(description="How events travel.")
    namespace: str = Field(default="headrace", min_length=1, description="Namespace of the job in the catalogue.")
    path: Path | None = Field(default=None, description="file: where events are added, one JSON a line.")
    url: str | None = Field(default=None, description="http: address of the catalogue.")
    api_key: SecretStr | None = Field(default=None, description="http: sent as a bearer token; write ${NAME}.")
    bootstrap: str | None = Field(default=None, description="kafka: host:port.")
    topic: str = Field(default="openlineage", description="kafka: topic of the events.")
    running_interval_ms: int = Field(default=300_000, ge=100, le=86_400_000, description="Time between RUNNING events, ms.")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        wanted = {"file": "path", "http": "url", "kafka": "bootstrap"}.get(self.type)
        if wanted is not None and getattr(self, wanted) is None:
            raise ValueError(f"type {self.type} needs {wanted}; add lineage.{wanted}")
        return self


class _QdrantSection(Section):
    """What every kind of vector store needs."""

    collection: str = Field(default="agent_steps", pattern=r"^[A-Za-z0-9_-]{1,100}$", description="Its name; `headrace migrate` makes it.")
    texts: Mapping[str, tuple[str, ...]] = Field(
        default={"reasoning": ("output",), "tool": ("output",), "agent": ("output",)},
        description="Kind of event -> content columns whose text is embedded; a kind that is not named is not.",
    )
    text_chars_min: int = Field(default=16, ge=1, le=10_000, description="Characters beside placeholders that a text must have.")
    text_chars_max: int = Field(default=2_000, ge=16, le=20_000, description="Characters of a text that are embedded and stored.")

    @field_validator("texts")
    @classmethod
    def _texts_are_known(cls, texts: Mapping[str, tuple[str, ...]]) -> Mapping[str, tuple[str, ...]]:
        for known, words in ((KINDS, list(texts)), (CONTENT, [column for columns in texts.values() for column in columns])):
            for word in words:
                if word not in known:
                    raise ValueError(f"each must be one of {', '.join(known)}{did_you_mean(word, known)}")
        return texts


class QdrantServerConfig(_QdrantSection):
    """Vectors on a Qdrant server."""

    type: Literal["server"] = "server"
    url: str = Field(pattern=r"^https?://[^\s/]+(/\S*)?$", description="http://host:6333, or https://")
    grpc_port: int | None = Field(default=6334, ge=1, le=65_535, description="Port for gRPC on that host; null: HTTP only.")
    api_key: SecretStr | None = Field(default=None, description="What the server asks for; as ${NAME}.")
    root_certificate: Path | None = Field(
        default=None, description="PEM file of the authority of your own that signed the server's certificate; absent: those that everybody trusts."
    )


class QdrantLocalConfig(_QdrantSection):
    """Vectors in a directory, by qdrant-client's local mode: for small collections."""

    type: Literal["local"] = "local"
    path: Path = Field(default=Path(".headrace/qdrant-local"), description="Directory; one process holds it at a time.")


class QdrantEdgeConfig(_QdrantSection):
    """Vectors in a directory, by Qdrant's engine in this process."""

    type: Literal["edge"] = "edge"
    path: Path = Field(default=Path(".headrace/qdrant"), description="Directory; one process holds it at a time.")


QdrantConfig = QdrantServerConfig | QdrantLocalConfig | QdrantEdgeConfig


class FileRegistryConfig(Section):
    """Schemas from a directory."""

    type: Literal["file"] = "file"
    path: Path | None = Field(default=None, description="Directory of .avsc files and ids; absent: the packaged schemas.")


class ConfluentRegistryConfig(Section):
    """Schemas from a schema registry."""

    type: Literal["confluent"] = "confluent"
    url: str = Field(pattern=r"^https?://\S+$")
    basic_auth: SecretStr | None = Field(default=None, description="user:password")
    timeout_ms: int = Field(default=10_000, ge=100, le=120_000)


class PrivacyConfig(Section):
    """The key under which personal identifiers are hashed, and the key ring of what can be read again."""

    hash_key: SecretStr | None = Field(default=None, description="At least 16 characters; best as ${NAME}.")
    key_file: Path | None = Field(default=None, description="File with the key, readable by its owner only.")
    keys: SecretStr | None = Field(default=None, description="A key ring, its lines joined by ';', as ${NAME}.")
    keys_file: Path | None = Field(default=None, description="File with a key ring (`headrace keys new`), readable by its owner only.")
    reveal_dsn: SecretStr | None = Field(default=None, description="Connection of the role that may reveal; absent: timescale.dsn.")

    @field_validator("hash_key")
    @classmethod
    def _key_is_long(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None and len(key.get_secret_value().encode()) < HASH_KEY_BYTES_MIN:
            raise ValueError(f"must have at least {HASH_KEY_BYTES_MIN} bytes; make one with: openssl rand -hex 32")
        return key

    @model_validator(mode="after")
    def _one_key(self) -> PrivacyConfig:
        if self.hash_key is not None and self.key_file is not None:
            raise ValueError("hash_key and key_file exclude each other; keep one")
        if self.keys is not None and self.keys_file is not None:
            raise ValueError("keys and keys_file exclude each other; keep one")
        return self


class LimitsConfig(Section):
    """Bounds on one record; what exceeds them becomes a dead letter."""

    record_bytes_max: int = Field(default=1_048_576, ge=1_024, le=64_000_000, description="Size of a record's value.")
    nesting_depth_max: int = Field(default=64, ge=1, le=200, description="Depth of JSON in a record.")
    future_skew_ms_max: int = Field(default=300_000, ge=0, le=86_400_000, description="How far an event time may lie after the Kafka timestamp.")


class RetryConfig(Section):
    """How a sink that is away is tried again: the wait doubles from the first to the longest, for ever, with backpressure meanwhile."""

    wait_first_ms: int = Field(default=100, ge=1, le=60_000)
    wait_longest_ms: int = Field(default=5_000, ge=1, le=600_000)

    @model_validator(mode="after")
    def _waits_grow(self) -> RetryConfig:
        if self.wait_longest_ms < self.wait_first_ms:
            raise ValueError(f"wait_longest_ms must be at least wait_first_ms = {self.wait_first_ms}, came {self.wait_longest_ms}; raise it")
        return self


class SinkConfig(Section):
    """How sinks are written."""

    deadline_ms: int = Field(default=10_000, ge=100, le=600_000, description="A write that takes longer is given up and tried again.")
    retry: RetryConfig = RetryConfig()


class CacheConfig(Section):
    """What only saves time; may be deleted at any moment."""

    dir: Path = Field(default=Path("~/.cache/headrace"), description="Where compiled expressions are kept, so that a start takes no compiling.")


class ModelsTlsConfig(Section):
    """PEM files of a connection on which both sides prove who they are (mTLS)."""

    root: Path = Field(description="Certificates that the server's is checked against.")
    key: Path = Field(description="Private key of this side.")
    chain: Path = Field(description="Certificate of this side.")


class CandidateConfig(Section):
    """Another version of a model, beside the one that answers."""

    version: int = Field(ge=1, description="Its number in the repository; the server must serve it (`headrace models load`).")
    mode: RouteMode = Field(description="canary: it answers its share of the texts; shadow: it is compared only.")
    share_ppm: int = Field(default=PPM, ge=1, le=PPM, description="Share of the texts that it sees, in parts per million.")


class ModelsConfig(Section):
    """The model server. What is asked of it, and what happens while it is away, says the policy (models)."""

    url: str = Field(pattern=r"^(\[[0-9a-fA-F:]+\]|[^\s:/]+):\d+$", description="host:port of Triton's gRPC, without a scheme.")
    tls: ModelsTlsConfig | None = Field(default=None, description="Absent: in the clear, to this machine only where a model reads raw text.")
    same_host: bool = Field(default=False, description="The address is on this machine although its name does not show it: a container.")
    deadline_ms: int = Field(default=10_000, ge=10, le=600_000, description="Longest time that one call of a model may take.")
    texts_per_call_max: int = Field(default=512, ge=1, le=65_536, description="Texts of one call at most.")
    in_flight_texts_max: int = Field(default=1_024, ge=1, le=1_000_000, description="Texts sent to one model and not yet answered, at most.")
    channels: int = Field(default=2, ge=1, le=64, description="Connections to the server.")
    cache_bytes_max: int = Field(default=67_108_864, ge=0, le=17_179_869_184, description="What answers are remembered in, by digest; 0: nothing.")

    versions: Mapping[str, Annotated[int, Field(ge=1)]] = Field(
        default_factory=dict, description="Model to the version that is asked; a model that is absent gets the newest that is served."
    )
    candidates: Mapping[str, CandidateConfig] = Field(default_factory=dict, description="Model to another version that is tried beside it.")

    @model_validator(mode="after")
    def _a_candidate_has_a_rival(self) -> ModelsConfig:
        known = [spec.name for spec in MODELS]
        for name in (*self.versions, *self.candidates):
            if name not in known:
                raise ValueError(f"versions and candidates: each must be one of {', '.join(known)}{did_you_mean(name, known)}")
        for name, candidate in self.candidates.items():
            if self.versions.get(name) in (None, candidate.version):
                raise ValueError(f"candidates.{name}: versions.{name} must name the version that answers now, another than the candidate's; set it")
        return self

    @model_validator(mode="after")
    def _a_call_fits(self) -> ModelsConfig:
        if self.texts_per_call_max > self.in_flight_texts_max:
            raise ValueError(
                f"texts_per_call_max must be at most in_flight_texts_max = {self.in_flight_texts_max}, came {self.texts_per_call_max}; lower it"
            )
        return self


class TestingConfig(Section):
    """Switches that only the kill tests set."""

    failpoint: str | None = Field(
        default=None, pattern=r"^[a-z][a-z_]*:[1-9]\d{0,8}$", description="Kill the process at the n-th passing of a named point: after_poll:3"
    )


class Config(Section):
    """The whole configuration. A part that is absent is off: no timescale, no database sink; no models, no names and scores; no http, no pages."""

    pipeline: PipelineConfig = PipelineConfig()
    kafka: KafkaConfig | None = None
    source: SourceConfig = SourceConfig()
    recovery: RecoveryConfig = RecoveryConfig()
    timescale: TimescaleConfig | None = None
    audit: AuditConfig = AuditConfig()
    lineage: LineageConfig | None = None
    qdrant: Annotated[QdrantConfig, Field(discriminator="type")] | None = None
    models: ModelsConfig | None = None
    registry: Annotated[FileRegistryConfig | ConfluentRegistryConfig, Field(discriminator="type")] = FileRegistryConfig()
    http: HttpConfig | None = None
    privacy: PrivacyConfig = PrivacyConfig()
    limits: LimitsConfig = LimitsConfig()
    sink: SinkConfig = SinkConfig()
    testing: TestingConfig = TestingConfig()
    cache: CacheConfig = CacheConfig()
    flink: FlinkConfig = FlinkConfig()

    @property
    def input_topics(self) -> tuple[str, ...]:
        """Gives the input topics: those of the kafka part, all of them where it is absent."""
        return self.kafka.inputs if self.kafka else tuple(INPUTS)

    def require_kafka(self) -> KafkaConfig:
        """Gives the kafka part, or a ConfigError that says how to name one."""
        if self.kafka is None:
            raise ConfigError("kafka: the section is absent, and this command needs Kafka; add kafka.bootstrap or set HEADRACE_KAFKA__BOOTSTRAP")
        return self.kafka
