"""What goes to the vault: values behind tokens, sealed; a table of PostgreSQL and never a topic."""

from __future__ import annotations

from typing import Final

import polars as pl

#: Name under which these rows stand among a step's outputs; no sink but the vault takes it.
VAULT_TOKENS: Final = "vault_tokens"

#: What a token stands for; the item of the column ``sealed`` of a masked event.
SEALED_VALUE: Final = pl.Struct(
    {
        "token": pl.String(),  # the whole placeholder, as it stands in the text: <ENTITY:t:kid:24 letters>
        "entity": pl.String(),
        "kid": pl.String(),  # of the key that sealed the value
        "sealed": pl.String(),  # ciphertext in letters (operators.pii.seal)
        "person": pl.String(),  # keyed hash of the event's user id; null where the event has none
    }
)

#: A row for the vault.
VAULT_ROW: Final = pl.Schema({**SEALED_VALUE.to_schema(), "event_time": pl.Int64()})
