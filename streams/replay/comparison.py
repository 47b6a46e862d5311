"""What another policy changes: fates of records by verdict, rule and agent, masks by entity; counts only, so that memory stays bounded."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

import polars as pl

from schemas.events import COORDINATES

#: Distinct agents that are counted one by one.
AGENTS_MAX: Final = 10_000
OTHERS: Final = "(others)"
_PLACE: Final = list(COORDINATES)


@dataclass(slots=True)
class Comparison:
    """Counts over all batches.

    Attributes:
        records: Records that both sides were given.
        changed: Records whose fate differs.
        fates: By fate before and after, records whose fate differs.
        rules_lost: By rule, hits that only the old side had.
        rules_gained: By rule, hits that only the new one has.
        agents: By agent, records whose fate differs.
        masks_old: By entity, masks of the old side.
        masks_new: By entity, masks of the new side.
        unknown: Records of which the old side says nothing: they are not compared.
    """

    records: int = 0
    unknown: int = 0
    changed: int = 0
    fates: Counter[tuple[str, str]] = field(default_factory=Counter)
    rules_lost: Counter[str] = field(default_factory=Counter)
    rules_gained: Counter[str] = field(default_factory=Counter)
    agents: Counter[str] = field(default_factory=Counter)
    masks_old: Counter[str] = field(default_factory=Counter)
    masks_new: Counter[str] = field(default_factory=Counter)

    def add(self, old: pl.DataFrame, new: pl.DataFrame) -> None:
        """Takes in the fates (``streams.replay.side.FATE``) that both sides gave to one batch."""
        self.records += new.height
        known = new.join(old.select(_PLACE), on=_PLACE, how="semi")
        self.unknown += new.height - known.height
        for frame, masks in ((old, self.masks_old), (known, self.masks_new)):
            masks.update(dict(frame.select(pl.col("entities").explode()).drop_nulls().group_by("entities").len().iter_rows()))
        both = old.join(known, on=_PLACE, how="inner", suffix="_new")
        differs = (pl.col("fate") != pl.col("fate_new")) | (pl.col("hits").fill_null([]) != pl.col("hits_new").fill_null([]))
        for fate, fate_new, hits, hits_new, agent, agent_new in (
            both.filter(differs).select("fate", "fate_new", "hits", "hits_new", "agent_id", "agent_id_new").iter_rows()
        ):
            before, after = set(hits or ()), set(hits_new or ())
            self.rules_lost.update(before - after)
            self.rules_gained.update(after - before)
            if fate != fate_new:
                self.changed += 1
                self.fates[fate, fate_new] += 1
                name = agent_new or agent or "(unknown)"
                self.agents[name if name in self.agents or len(self.agents) < AGENTS_MAX else OTHERS] += 1

    @property
    def is_same(self) -> bool:
        """Whether nothing changes: neither a fate, nor a hit, nor the number of masks."""
        return not (self.changed or self.rules_lost or self.rules_gained) and self.masks_old == self.masks_new

    def as_json(self) -> dict[str, Any]:
        """Gives the counts as plain values, the largest first."""
        rules = sorted({*self.rules_lost, *self.rules_gained})
        entities = sorted(name for name in {*self.masks_old, *self.masks_new} if self.masks_old[name] != self.masks_new[name])
        return {
            "records": self.records,
            "unknown": self.unknown,
            "changed": self.changed,
            "fates": [{"old": old, "new": new, "records": count} for (old, new), count in self.fates.most_common()],
            "rules": [{"rule": rule, "lost": self.rules_lost[rule], "gained": self.rules_gained[rule]} for rule in rules],
            "agents": [{"agent": agent, "records": count} for agent, count in self.agents.most_common()],
            "masks": [{"entity": name, "old": self.masks_old[name], "new": self.masks_new[name]} for name in entities],
        }
