"""What masking misses of the canary corpus, by entity and kind of leaf; no model is asked.

Run: ``python -m benchmarks.canaries``. Writes ``benchmarks/results/canaries.json`` and the tables of ``docs/privacy.md``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from benchmarks.result import ROOT, Row, Table, save
from tests.corpora.canary_leaves import corpus, digest
from tests.corpora.canary_recall import counts, missed

PAGE: Final = ROOT / "docs" / "privacy.md"


def rows() -> list[Row]:
    """One row an entity and kind of leaf."""
    canaries = list(corpus())
    return [
        Row({"entity": entity, "leaf": leaf}, {"planted": [planted], "missed": [out]})
        for entity, leaf, planted, out in counts(canaries, missed(canaries))
    ]


def tables(found: Sequence[Row]) -> str:
    """Gives both tables in Markdown: by entity and by kind of leaf."""
    return "\n\n".join((_table(found, "entity", "leaf"), _table(found, "leaf", "entity")))


def _table(found: Sequence[Row], by: str, other: str) -> str:
    lines = [f"| {by} | planted | missed | recall | missed in |", "| --- | --- | --- | --- | --- |"]
    for name in sorted({row.labels[by] for row in found}):
        held = [row for row in found if row.labels[by] == name]
        planted, out = (int(sum(row.values[value][0] for row in held)) for value in ("planted", "missed"))
        where = [row.labels[other] for row in held if row.values["missed"][0]]
        said = "every " + other if len(where) == len(held) else ", ".join(where)
        lines.append(f"| {name} | {planted} | {out} | {1 - out / planted:.2f} | {said} |")
    return "\n".join(lines)


def with_tables(page: str, found: Sequence[Row]) -> str:
    """Gives the page with the tables between its marks."""
    return re.sub(r"(<!-- recall -->\n).*(\n<!-- /recall -->)", lambda match: match[1] + tables(found) + match[2], page, flags=re.DOTALL)


def main() -> None:
    """Measures, saves and writes the tables."""
    found = rows()
    print(save(Table("canaries", "Canaries planted and missed without a fault", found, (f"corpus {digest()}",))))
    PAGE.write_text(with_tables(PAGE.read_text(), found))


if __name__ == "__main__":
    main()
