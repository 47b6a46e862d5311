"""The measures as tables, written into the docs between two marks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

BEGIN: Final = "<!-- measured: written by make models-report -->"
END: Final = "<!-- end of measured -->"


def write_tables(results: Path, page: Path) -> None:
    """Replaces what stands between the marks of a page by tables of the results."""
    text = page.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    _, behind = rest.split(END)
    facts = json.loads(results.read_text(encoding="utf-8"))
    parts = [tell(facts[model]) for model, tell in (("guard", _guard), ("pii_tagger", _tagger)) if model in facts]
    page.write_text(f"{before}{BEGIN}\n\n" + "\n".join(parts) + f"\n{END}{behind}", encoding="utf-8")


def _table(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join(["| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows)]) + "\n"


def _number(value: float) -> str:
    return f"{value:.3f}"


def _guard(facts: dict[str, Any]) -> str:
    keys = ("auroc", "recall at 1 %", "recall", "false positives")
    attacks = [
        [
            source,
            measures["label"],
            str(measures["texts"]),
            *(_number(measures[key]) for key in keys[:3]),
            _number(measures["either"]["recall at 1 %"]),
        ]
        for source, measures in facts["sources"].items()
    ]
    whole = [[label, *(_number(measures[key]) for key in keys)] for label, measures in facts["overall"].items()]
    harmless = [
        [source, str(measures["texts"]), _number(measures["at the test's 1 %"]), _number(measures["flagged"])]
        for source, measures in facts["harmless sources"].items()
    ]
    return "\n".join(
        [
            f"### guard: all injections against all {facts['harmless texts']} harmless texts\n",
            _table(["score", "AUROC", "recall at 1 % false positives", "recall at the committed threshold", "false positives there"], whole),
            "### guard: attacks, source by source, against all harmless texts\n",
            _table(
                [
                    "source",
                    "score",
                    "texts",
                    "AUROC",
                    "recall at 1 %",
                    "recall at the committed threshold",
                    "recall at 1 %, larger of injection and jailbreak",
                ],
                attacks,
            ),
            "### guard: harmless texts flagged for injection\n",
            _table(["source", "texts", "flagged where 1 % of all are", "flagged at the committed threshold"], harmless),
        ]
    )


def _tagger(facts: dict[str, Any]) -> str:
    rows = []
    for name, measures in facts["sets"].items():
        for entity, ours in measures["tagger"].items():
            theirs = measures["presidio"][entity]
            cells = [f"{_number(one['exact F1'])} / {_number(one['overlap F1'])} / {_number(one['recall'])}" for one in (ours, theirs)]
            rows.append([name, measures["kind"], entity, str(ours["names"]), *cells])
    for kind, counts in facts["PERSON"].items():
        cells = [
            f"{_number(counts[one]['exact F1'])} / {_number(counts[one]['overlap F1'])} / {_number(counts[one]['recall'])}"
            for one in ("tagger", "presidio")
        ]
        rows.append([f"**all {kind}**", kind, "PERSON", str(counts["tagger"]["names"]), *cells])
    head = ["set", "kind", "entity", "names", "pii_tagger: exact F1 / overlap F1 / recall", "Presidio with spaCy sm: the same"]
    return "### pii_tagger\n\n" + _table(head, rows)
