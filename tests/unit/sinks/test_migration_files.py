"""The migration files fit together, and both flavours give the same views."""

from __future__ import annotations

import re

import pytest

from schemas.errors import ConfigError
from sinks.migrate import Flavour, packaged_migrations, read_migrations


def _selections(text: str) -> list[str]:
    """The SELECT of each view, with what must differ between the flavours taken out."""
    bare = re.sub(r"--.*", "", text)
    bare = re.sub(r"date_bin\((INTERVAL '[^']+'), window_start, TIMESTAMPTZ '[^']+'\)", r"bucket_of(\1)", bare)
    bare = re.sub(r"time_bucket\((INTERVAL '[^']+'), window_start\)", r"bucket_of(\1)", bare)
    return [" ".join(found.split()) for found in re.findall(r"VIEW metrics_1[mh]\b.*?\bAS\s+(SELECT.*?GROUP BY 1, 2, 3, 4)", bare, re.DOTALL)]


def test_both_flavours_of_a_rollup_select_the_same() -> None:
    by_flavour = {migration.flavour: _selections(migration.text) for migration in packaged_migrations() if migration.number == 2}
    plain, timescale = by_flavour[Flavour.PLAIN], by_flavour[Flavour.TIMESCALE]
    assert len(plain) == 2
    assert plain == timescale
    assert plain[0].replace("1 minute", "1 hour") == plain[1]


def test_packaged_migrations_are_numbered_without_gaps() -> None:
    numbers = sorted({migration.number for migration in packaged_migrations()})
    assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        (["1_tables.sql"], "rename it"),
        (["001_tables.sql", "003_more.sql"], "sinks/sql/002: needs one file"),
        (["001_tables.sql", "001_others.sql"], "sinks/sql/001: needs one file"),
        (["001_tables.plain.sql"], "found plain"),
        (["001_tables.sql", "001_tables.plain.sql"], "found None, plain"),
    ],
)
def test_a_misnamed_or_missing_file_is_a_config_error(names: list[str], problem: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(problem)):
        read_migrations(dict.fromkeys(names, "SELECT 1"))


def test_a_pair_and_a_single_file_are_both_a_number() -> None:
    assert [m.name for m in read_migrations(dict.fromkeys(["001_a.sql", "002_b.plain.sql", "002_b.timescale.sql"], ""))] == [
        "001_a.sql",
        "002_b.plain.sql",
        "002_b.timescale.sql",
    ]
