"""What a run recorded about events that went on: scores, outages, fates, as its enriched events tell them.

A replay adopts scores and outages in place of asking models, so both sides judge what the run judged.
Bounds: about 100 bytes an event of the range, in memory; ``ROWS_MAX`` events.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import polars as pl

from governance.rules import SCORE_LABELS
from schemas.errors import ConfigError
from schemas.events import COORDINATES
from schemas.frames import frame_schema
from streams.asking import Fate
from streams.facts import DecidingStep, Facts

ROWS_MAX: Final = 20_000_000
_PLACE: Final = list(COORDINATES)
_SCORES: Final = [f"{label}_ppm" for label in SCORE_LABELS]
COLUMNS: Final = (*_PLACE, *_SCORES, "scored_by", "degraded", "policy_version")
#: What is kept beside them where recorded fates are the old side of a comparison.
FATE_COLUMNS: Final = ("verdict", "action", "agent_id", "hits", "masked_spans")
_MODEL_OF: Final = {"score": "guard", "tag": "pii_tagger"}


class Recorded:
    """Recorded facts by coordinates.

    Args:
        enriched: Frames of enriched events with at least COLUMNS; with FATE_COLUMNS too where ``about`` is to be asked.

    Raises:
        ConfigError: There are more than a replay holds in memory.
    """

    def __init__(self, enriched: Iterable[pl.DataFrame]) -> None:
        parts, rows = [], 0
        for frame in enriched:
            parts.append(frame)
            rows += frame.height
            if rows > ROWS_MAX:
                raise ConfigError(f"--from, --to: the range holds more than {ROWS_MAX} recorded events; replay it in parts")
        self.frame = (
            pl.concat(parts) if parts else pl.DataFrame(schema={name: frame_schema("enriched_event")[name] for name in (*COLUMNS, *FATE_COLUMNS)})
        )

    @property
    def versions(self) -> dict[str, int]:
        """Recorded events by the version of the policy that judged them."""
        return dict(sorted(self.frame.group_by("policy_version").len().iter_rows()))

    def about(self, raw: pl.DataFrame) -> pl.DataFrame:
        """Gives what was recorded of the records of a batch."""
        return self.frame.join(raw.select(_PLACE), on=_PLACE, how="semi") if self.frame.height else self.frame

    def facts_for(self, step: DecidingStep) -> Facts:
        """Gives the recorded facts in the form of a step's own."""
        return _Adopted(self._as(step), step)

    def _as(self, step: DecidingStep) -> pl.DataFrame:
        schema = step.facts_spec.schema
        if not self.frame.height:
            return schema.to_frame()
        degraded = pl.col("degraded").list.contains(_MODEL_OF[step.name]).fill_null(False)
        fate = pl.when(degraded).then(pl.lit(Fate.DEGRADED.value)).otherwise(pl.lit(Fate.ANSWERED.value)).alias("fate")
        told = degraded | pl.col("scored_by").is_not_null() if step.name == "score" else degraded
        absent = [pl.lit(None, dtype=dtype).alias(name) for name, dtype in schema.items() if name not in ("fate", *self.frame.columns)]
        return self.frame.filter(told).with_columns(fate, *absent).select(schema.names()).cast(schema)


class _Adopted:
    """Implements Facts: what was recorded, and beside it only the last batch."""

    def __init__(self, facts: pl.DataFrame, step: DecidingStep) -> None:
        self._facts = facts
        self._last = pl.DataFrame(schema=step.facts_spec.schema)

    def known(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Gives the facts about those of the rows that were decided."""
        both = pl.concat([self._facts.join(rows.select(_PLACE), on=_PLACE, how="semi"), self._last.join(rows.select(_PLACE), on=_PLACE, how="semi")])
        return both.unique(_PLACE, keep="first", maintain_order=True)

    def record(self, facts: pl.DataFrame) -> None:
        """Keeps the facts, and forgets those of the batch before."""
        self._last = facts
