"""The step ``decode``: raw records of every input topic to events."""

from __future__ import annotations

import polars as pl

from operators.contract import Outcome
from schemas.codec.decode import DecodeSettings, RecordDecoder


class Decode:
    """RAW -> EVENT; what cannot be decoded becomes a dead letter by its coordinates.

    Facts: ``("decoded", kind)`` events by kind, ``("undecoded", code)`` dead letters by code.
    """

    name = "decode"

    def __init__(self, settings: DecodeSettings) -> None:
        """Builds the decoder; raises ConfigError where the settings cannot be run."""
        self._decode = RecordDecoder(settings)

    def __call__(self, batch: pl.DataFrame) -> Outcome:
        """Decodes one batch; raises RetryableError while the schema registry is away and a schema id is new."""
        decoded = self._decode(batch)
        facts = {("decoded", kind): count for kind, count in decoded.events["kind"].value_counts().iter_rows()}
        facts |= {("undecoded", code): count for code, count in decoded.dead["code"].value_counts().iter_rows()}
        return Outcome(decoded.events, dead=decoded.dead, facts=facts)
