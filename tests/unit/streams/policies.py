"""Policies for tests of steps that ask models."""

from __future__ import annotations

from dataclasses import replace

from governance.parse import default_policy
from governance.policy import GuardPolicy, ModelsPolicy, Policy, TaggerPolicy


def policy_asking(guard: GuardPolicy | None = None, tagger: TaggerPolicy | None = None) -> Policy:
    """Gives the default policy with other models."""
    return replace(default_policy(), models=ModelsPolicy(guard, tagger))
