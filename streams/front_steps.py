"""The steps beside the source: decode, mask and what needs no state.

They have a module of their own because what masking stands on takes a second of a CPU to import: a run whose front works in other processes
(``streams.front``) goes without.
"""

from __future__ import annotations

from governance.policy import Policy
from models.results import TextModels
from operators.contract import BatchStep
from operators.decode import Decode
from operators.erase import Erase
from operators.guardrails.inspect import Inspect
from operators.pii.hashes import digest_key
from operators.pii.step import Mask
from schemas.codec.decode import DecodeSettings
from schemas.limits import Limits
from schemas.registry import SchemaRegistry
from streams.asking import AskSettings
from streams.compiled import CompiledDirectory
from streams.config import Config, load_key_ring
from streams.scoring import Score
from streams.tagging import Tag


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
        topics=config.input_topics,
        digest_key=digest_key(ring, hash_key),
        registry=registry,
        limits=Limits(limits.record_bytes_max, limits.nesting_depth_max, limits.future_skew_ms_max),
    )
    mask = Mask(policy, hash_key, CompiledDirectory(config.cache.dir.expanduser()), ring)
    return Decode(settings), *_tag(config, policy, models), mask, Erase(erased), *_score(config, policy, models), Inspect(policy)


def _tag(config: Config, policy: Policy, models: TextModels | None) -> tuple[BatchStep, ...]:
    tagger = policy.models.pii_tagger
    return () if models is None or tagger is None else (Tag(policy, tagger, models, _asking(config)),)


def _score(config: Config, policy: Policy, models: TextModels | None) -> tuple[BatchStep, ...]:
    guard = policy.models.guard
    return () if models is None or guard is None else (Score(guard, models, _asking(config)),)


def _asking(config: Config) -> AskSettings:
    return AskSettings() if config.models is None else AskSettings(config.models.deadline_ms / 1000, config.models.texts_per_call_max)
