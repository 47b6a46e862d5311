"""What the recovery directory has written down, read beside a run that may hold it: nothing is locked, nothing is written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from governance.parse import parse_policy
from governance.policy import Policy
from schemas.errors import ConfigError
from streams.verify.plain.event import Partition


@dataclass(frozen=True, slots=True)
class Recorded:
    """Facts of a run.

    Attributes:
        begin: First offset that was read, by partition; None where the directory holds no begin record.
        floors: Idle marks by partition.
        is_clean: Whether the last run ended in order, with nothing in flight.
        policies: Policies that judged, by id and version.
    """

    begin: Mapping[Partition, int] | None = None
    floors: Mapping[Partition, list[tuple[int, int]]] = field(default_factory=dict)
    is_clean: bool = False
    policies: Mapping[tuple[str, str], Policy] = field(default_factory=dict)


def recorded_in(path: Path, policy: Policy) -> Recorded:
    """Gives the facts in a recovery directory, and the policy in force beside the ones that it keeps."""
    policies = {(policy.id, policy.version): policy}
    if not (path / "begin.json").exists():
        return Recorded(policies=policies)
    begin: Any = json.loads((path / "begin.json").read_bytes())
    for kept in sorted((path / "policies").glob("*.yaml")) if (path / "policies").exists() else ():
        try:
            found = parse_policy(kept.read_text(encoding="utf-8"), str(kept))
        except ConfigError:  # of another version of headrace
            continue
        policies.setdefault((found.id, found.version), found)
    floors: dict[Partition, list[tuple[int, int]]] = {}
    facts = path / "facts.jsonl"
    for line in facts.read_bytes().split(b"\n")[:-1] if facts.exists() else ():
        mark = json.loads(line)
        floors.setdefault((mark["topic"], mark["partition"]), []).append((mark["offset"], mark["watermark"]))
    inputs = {(topic, int(partition)): int(offset) for topic, partition, offset in begin["inputs"]}
    return Recorded(inputs, floors, (path / "clean").exists(), policies)
