"""Tokens in the place of sealed values: the last thing that ``mask`` does to a text where policy says ``tokenise``.

Until here a value that gets a token stands in the text as its whole ciphertext, ``<ENTITY:s:kid:letters>``, so that what masks texts needs no second
way out. Here the short token ``<ENTITY:t:kid:24 letters>`` takes its place, and the ciphertext goes beside the event, for the vault alone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import polars as pl

from operators.pii.seal import Sealer
from schemas.events import CONTENT
from schemas.vault import SEALED_VALUE

_SEALED: Final = re.compile(r"<([A-Z][A-Z0-9_]*):s:([a-p]{6}):((?:[a-p]{32})+)>")
_MARK: Final = ":s:"
#: Where a sealed value can stand beside the content: masked keys are part of the paths in the list of what was masked.
_SPANS: Final = "masked_spans"


class Tokeniser:
    """Puts tokens in the place of sealed values.

    Args:
        sealer: Made them.
    """

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer

    def tokenised(self, batch: pl.DataFrame, persons: Sequence[str | None]) -> pl.DataFrame:
        """Gives the batch with tokens in its texts and what they stand for in the column ``sealed``.

        What somebody wrote into a text to look like a sealed value is left as it is: it does not open.

        Args:
            batch: Masked events.
            persons: For each row, the keyed hash of its user id.
        """
        held: list[dict[str, dict[str, str | None]]] = [{} for _ in persons]
        known: dict[str, str | None] = {}
        columns = []
        for name in CONTENT:
            texts = batch[name].to_list() if batch[name].str.contains(_MARK, literal=True).any() else []
            for row, text in enumerate(texts):
                if text is not None and _MARK in text:
                    texts[row] = self._replaced(text, persons[row], held[row], known)
            if texts:
                columns.append(pl.Series(name, texts, dtype=pl.String))
        # Behind the texts: a key whose value gets a token stands in a text too.
        if columns and batch[_SPANS].explode().struct.field("path").str.contains(_MARK, literal=True).any():
            lists = batch[_SPANS].to_list()
            for row, spans in enumerate(lists):
                for span in spans or ():
                    span["path"] = self._replaced(span["path"], persons[row], held[row], known)
            columns.append(pl.Series(_SPANS, lists, dtype=batch.schema[_SPANS]))
        values = [list(of_row.values()) or None for of_row in held]
        return batch.with_columns([*columns, pl.Series("sealed", values, dtype=pl.List(SEALED_VALUE))])

    def _replaced(self, text: str, person: str | None, held: dict[str, dict[str, str | None]], known: dict[str, str | None]) -> str:
        def replacement(match: re.Match[str]) -> str:
            whole = match.group()
            if whole not in known:
                known[whole] = self._token(*match.groups())
            token = known[whole]
            if token is None:
                return whole
            entity, kid, sealed = match.groups()
            held[token] = {"token": token, "entity": entity, "kid": kid, "sealed": sealed, "person": person}
            return token

        return _SEALED.sub(replacement, text)

    def _token(self, entity: str, kid: str, sealed: str) -> str | None:
        return f"<{entity}:t:{kid}:{self._sealer.token(kid, sealed)}>" if self._sealer.is_own(entity, kid, sealed) else None
