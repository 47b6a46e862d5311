"""The section of the configuration for runs on Apache Flink (``headrace run --engine flink``)."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from streams.config_part import Section


class FlinkConfig(Section):
    """A run on Flink. Only counts with ``--engine flink``; its state lies in Flink's checkpoints, not in the recovery directory."""

    parallelism: int = Field(default=1, ge=1, le=64, description="Slots that a job takes; more than pipeline.lanes only helps decoding and masking.")
    checkpoint_interval_ms: int = Field(
        default=2_000, ge=50, le=3_600_000, description="Time between checkpoints: readers of committed records see outputs after each."
    )
    checkpoint_dir: str | None = Field(
        default=None,
        description="Directory or URI that every TaskManager can write to; absent: in the recovery directory.",
    )
    transaction_timeout_ms: int = Field(
        default=600_000,
        ge=10_000,
        le=86_400_000,
        description="A job that is away for longer loses the outputs of its open transactions.",
    )
    restarts_max: int = Field(default=100, ge=1, le=1_000_000, description="Failures, of a machine or of a step, after which the job gives up.")
    environment: Path = Field(default=Path(".headrace/flink/env"), description="Python environment that `make flink` made.")
    jars: Path = Field(default=Path(".headrace/flink/jars"), description="Folder of the Kafka connector's jar, made by `make flink`.")
    python: str | None = Field(
        default=None,
        description="Python on a cluster's machines (--cluster) that has headrace's libraries; absent: that of this machine.",
    )
