"""Small policies for tests that are not given one by a fixture."""

from __future__ import annotations

from dataclasses import replace

from governance.parse import default_policy
from governance.policy import Policy
from governance.rules import AnyRule


def policy_of(*rules: AnyRule) -> Policy:
    """Gives the default policy with other rules."""
    return replace(default_policy(), rules=rules)
