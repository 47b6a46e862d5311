"""The default pipeline on one screen: what happens to an event, in order."""

from __future__ import annotations

from typing import Final

from governance.policy import Policy
from models.results import TextModels
from operators.audit import Audit
from operators.contract import BatchStep, Step
from operators.decode import Decode
from operators.deduplicate import Deduplicate
from operators.enrich import Enrich
from operators.erase import Erase
from operators.guardrails.concurrency import LimitConcurrency
from operators.guardrails.control import Control
from operators.guardrails.decide import Decide
from operators.guardrails.depth import LimitDepth
from operators.guardrails.hold import Hold
from operators.guardrails.inspect import Inspect
from operators.guardrails.limit import Limit
from operators.guardrails.quota import LimitQuota, Spread
from operators.pii.hashes import digest_key
from operators.pii.step import Mask
from operators.tally import TallyMasks
from operators.windows.measure import Measure
from schemas.codec.decode import DecodeSettings
from schemas.events import SHARED
from schemas.limits import Limits
from schemas.registry import SchemaRegistry
from schemas.topics import INPUTS, OUTPUTS
from streams.asking import AskSettings
from streams.compiled import CompiledDirectory
from streams.config import Config, load_key_ring
from streams.scoring import Score
from streams.tagging import Tag
from streams.topology import Shared, Topology

#: Steps on a lane that are made from the policy: where it can change while the pipeline runs, each row is judged by the version stamped on it.
POLICY_STEPS: Final = ("limit", "limit_concurrency", "limit_depth", "decide", "control", "hold", "limit_quota")


def build_topology(
    config: Config,
    policy: Policy,
    hash_key: bytes,
    registry: SchemaRegistry | None,
    front: tuple[BatchStep, ...] | None = None,
    models: TextModels | None = None,
    erased: frozenset[str] = frozenset(),
) -> Topology:
    """Gives the default topology.

    Args:
        config: Windows, limits, lanes, input topics.
        policy: What is personal and what is not allowed.
        hash_key: Key of the hashes that stand for personal identifiers.
        registry: Where the schemas of Avro input are; None accepts JSON only.
        front: What does the work of ``front_steps`` elsewhere; None runs them here.
        models: Asked for names and scores by the steps that run here, as policy says; None asks nothing.
        erased: Hashes of erased persons, whose events do not go on.
    """
    pipeline = config.pipeline
    keyed: tuple[Step, ...] = (
        Deduplicate(ttl_ms=pipeline.dedup_ttl_s * 1000),
        Limit(policy.limits),
        LimitConcurrency(policy.limits),
        LimitDepth(policy.limits),
        Decide(policy),
        Control(policy),
        Measure(window_ms=pipeline.window_s * 1000, lateness_ms=pipeline.lateness_s * 1000),
        Audit(),
        Hold(policy),
        TallyMasks(lateness_ms=pipeline.lateness_s * 1000),
        Enrich(),
    )
    return Topology(
        name=pipeline.name,
        inputs=_inputs(config),
        front=front_steps(config, policy, hash_key, registry, models, erased) if front is None else front,
        key="agent_id",
        lanes=pipeline.lanes,
        shards=config.kafka.output_partitions if config.kafka else max(4, pipeline.lanes),
        window_ms=pipeline.window_s * 1000,
        keyed=keyed,
        outputs=tuple(OUTPUTS),
        policy=policy,
        shared=Shared(
            Spread(policy.limits.quotas),
            key="scope_key",
            schema=SHARED,
            steps=(
                Deduplicate(ttl_ms=pipeline.dedup_ttl_s * 1000, name="deduplicate_shared"),
                LimitQuota(policy, lateness_ms=pipeline.lateness_s * 1000),
            ),
        ),
    )


def front_steps(
    config: Config,
    policy: Policy,
    hash_key: bytes,
    registry: SchemaRegistry | None,
    models: TextModels | None = None,
    erased: frozenset[str] = frozenset(),
) -> tuple[BatchStep, ...]:
    """Gives the steps beside the source: after ``mask`` nothing holds a raw value."""
    limits, ring = config.limits, load_key_ring(config)
    settings = DecodeSettings(
        topics=_inputs(config),
        digest_key=digest_key(ring, hash_key),
        registry=registry,
        limits=Limits(limits.record_bytes_max, limits.nesting_depth_max, limits.future_skew_ms_max),
    )
    mask = Mask(policy, hash_key, CompiledDirectory(config.cache.dir.expanduser()), ring)
    return Decode(settings), *_tag(config, policy, models), mask, Erase(erased), *_score(config, policy, models), Inspect(policy)


def _inputs(config: Config) -> tuple[str, ...]:
    return config.kafka.inputs if config.kafka else tuple(INPUTS)


def _tag(config: Config, policy: Policy, models: TextModels | None) -> tuple[BatchStep, ...]:
    tagger = policy.models.pii_tagger
    return () if models is None or tagger is None else (Tag(policy, tagger, models, _asking(config)),)


def _score(config: Config, policy: Policy, models: TextModels | None) -> tuple[BatchStep, ...]:
    guard = policy.models.guard
    return () if models is None or guard is None else (Score(guard, models, _asking(config)),)


def _asking(config: Config) -> AskSettings:
    return AskSettings() if config.models is None else AskSettings(config.models.deadline_ms / 1000, config.models.texts_per_call_max)
