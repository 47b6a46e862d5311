"""Hold: an event that policy escalates waits for a person, with its masked content beside it."""

from __future__ import annotations

import json
from typing import Any, Final

import polars as pl

from governance.policy import Policy
from governance.verdict import REMOVING, Verdict
from operators.contract import Outcome
from operators.enrich import EVENT_COLUMNS
from schemas.coordinates import review_uid
from schemas.frames import output_schema

TOPIC: Final = "reviews"
_SCHEMA: Final = output_schema(TOPIC)
_REMOVING: Final = [action.value for action in REMOVING]

OPEN: Final = "open"


class Hold:
    """Opens a review for each event whose verdict is ``escalate`` and whose content an enforced action takes out.

    The review holds the enriched event as it would be without the action: masked, like everything behind ``mask``. What escalates without taking
    content out (``pass``, ``throttle``, ``redact``, or a flagged rule) holds nothing back, so there is nothing to decide.

    Shapes: rows with DECIDED, before ``enrich`` applies the action; the same rows. Output ``reviews``.
    Facts: ``("reviews", "open")`` counts reviews.
    Bounds: held rows are looked at one by one, nothing else is.

    Args:
        policy: How long a review stays open.
    """

    name: Final = "hold"

    def __init__(self, policy: Policy) -> None:
        self._open_ms = policy.limits.review_ms

    def __call__(self, batch: pl.DataFrame) -> Outcome:
        """Maps one batch; every row goes on."""
        held = batch.filter((pl.col("verdict") == Verdict.ESCALATE.value) & pl.col("action").is_in(_REMOVING))
        if held.is_empty():
            return Outcome(batch)
        events = held if "late" in held.columns else held.with_columns(pl.lit(False).alias("late"))
        rows = [self._review(event) for event in events.select(EVENT_COLUMNS).iter_rows(named=True)]
        reviews = pl.DataFrame(rows, schema=_SCHEMA, orient="row")
        return Outcome(batch, outputs={TOPIC: reviews}, facts={("reviews", OPEN): reviews.height})

    def _review(self, event: dict[str, Any]) -> tuple[Any, ...]:
        made = {
            "review_uid": review_uid(event["event_uid"]),
            "generation": 0,
            "revision": 1,
            "state": OPEN,
            "expires_at": event["event_time"] + self._open_ms,
            "rules": event["hits"] or [],
            "held": json.dumps(event, ensure_ascii=False, separators=(",", ":")),
        }
        return tuple(made[name] if name in made else event[name] for name in _SCHEMA)
