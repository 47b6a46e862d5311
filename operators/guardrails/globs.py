"""Globs of a policy as matchers: ``*`` and ``?``, for agents and for tools."""

from __future__ import annotations

import re

import polars as pl


def agents_condition(globs: tuple[str, ...]) -> pl.Expr:
    """Gives the rows whose agent one of the globs names."""
    if "*" in globs:
        return pl.lit(True)
    parts = (pl.escape_regex(glob).replace(r"\*", ".*").replace(r"\?", ".") for glob in globs)
    return pl.col("agent_id").str.contains(f"(?s)^(?:{'|'.join(parts)})$")


def tools_pattern(globs: tuple[str, ...]) -> re.Pattern[str]:
    """Gives what matches a folded, lower-case tool name that one of the globs names."""
    parts = (re.escape(glob.lower()).replace(r"\*", ".*").replace(r"\?", ".") for glob in globs)
    return re.compile("|".join(f"(?:{part})" for part in parts) or r"(?!)", re.DOTALL)
