"""The policy that a run obeys, with its text: read from a file, or the one that is packaged."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from governance.parse import parse_policy
from governance.policy import Policy
from schemas.errors import ConfigError


@dataclass(frozen=True, slots=True)
class PolicyFile:
    """A policy as it was read.

    Attributes:
        policy: The parsed policy.
        text: The YAML text.
    """

    policy: Policy
    text: str


def load_policy(path: Path | None) -> PolicyFile:
    """Gives the policy in a file; None gives the packaged one.

    Raises:
        ConfigError: The file cannot be read, or with every problem in it.
    """
    name = "policies/default.yaml" if path is None else str(path)
    try:
        text = (resources.files("governance").joinpath(name) if path is None else path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: the policy cannot be read ({type(error).__name__}); check pipeline.policy or --policy") from None
    return PolicyFile(parse_policy(text, name), text)
