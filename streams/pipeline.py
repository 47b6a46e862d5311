"""The default pipeline on one screen: what happens to an event, in order."""

from __future__ import annotations

from typing import Final

from governance.policy import Policy
from models.results import TextModels
from operators.audit import Audit
from operators.contract import BatchStep, Step
from operators.deduplicate import Deduplicate
from operators.enrich import Enrich
from operators.guardrails.concurrency import LimitConcurrency
from operators.guardrails.control import Control
from operators.guardrails.decide import Decide
from operators.guardrails.depth import LimitDepth
from operators.guardrails.hold import Hold
from operators.guardrails.limit import Limit
from operators.guardrails.quota import LimitQuota, Spread
from operators.tally import TallyMasks
from operators.windows.measure import Measure
from schemas.events import SHARED
from schemas.registry import SchemaRegistry
from schemas.topics import OUTPUTS
from streams.config import Config
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
        front: What does the work of ``streams.front_steps`` elsewhere; None runs them here.
        models: Asked for names and scores by the steps that run here, as policy says; None asks nothing.
        erased: Hashes of erased persons, whose events do not go on.
    """
    if front is None:
        from streams.front_steps import front_steps

        front = front_steps(config, policy, hash_key, registry, models, erased)
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
        inputs=config.input_topics,
        front=front,
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
