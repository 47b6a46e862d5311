"""How many secrets of each family are found whole, and how often something harmless is taken for one.

Three ways: the expressions of the default policy, the scanner's rules, and both together, which is what ``mask`` does. Found means that the spans
cover every character of the secret. Run: ``python -m benchmarks.secrets_found [--recorded gpt-4o-airline.json]``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from benchmarks.result import Row, Table, save
from benchmarks.stage_mask import leaves, messages
from governance.parse import default_policy
from operators.pii.recognise import Recogniser
from operators.pii.spec import RecogniserSpec
from operators.pii.step import mask_spec
from streams.fleet.corpora import corpus
from tests.corpora.agent_text import AgentText
from tests.corpora.secret_formats import secrets

SECRET: Final = frozenset({"SECRET"})
SEED: Final = 20_261_124


def ways() -> dict[str, Recogniser]:
    """The three ways to look for secrets."""
    both = replace(mask_spec(default_policy(), bytes(32)).recogniser, entities=SECRET)
    alone = RecogniserSpec(entities=SECRET | {"US_ZIP"}, secret_rules=True)
    policy = replace(both, secret_rules=False)
    return {"policy": Recogniser(policy), "rules": Recogniser(alone), "both": Recogniser(both)}


def recall(recogniser: Recogniser, held: Sequence[tuple[str, str]]) -> float:
    """Share of the secrets of which no character is left."""
    found = 0
    for (text, secret), spans in zip(held, recogniser.spans([text for text, _ in held], SECRET), strict=True):
        start = text.index(secret)
        covered = {at for span in spans for at in range(span.start, span.end)}
        found += covered.issuperset(range(start, start + len(secret)))
    return found / len(held)


def harmless(recorded: Path | None) -> dict[str, list[str]]:
    """Corpora without secrets, as the leaves that ``mask`` looks at."""
    made = {
        "mixed agent text": AgentText(SEED).mixed(20_000),
        "id-heavy JSON": [leaf for text in AgentText(SEED).id_heavy(2_000) for leaf in leaves(text)],
        "fleet": [leaf for text in _fleet(10_000) for leaf in leaves(text)],
    }
    if recorded is not None:
        made["airline runs"] = [leaf for text in messages(json.loads(recorded.read_text())) for leaf in leaves(json.dumps(text))]
    # The fleet's people leave keys of two kinds on purpose.
    return {name: [text for text in dict.fromkeys(texts) if "AKIA" not in text and "ghp_" not in text] for name, texts in made.items()}


def _fleet(count: int) -> list[str]:
    return [record.value.decode() for record, _ in zip(corpus("fleet").records(1_767_225_600_000, 10_000.0), range(count), strict=False)]


def rows(families: Mapping[str, list[tuple[str, str]]], recorded: Path | None) -> list[Row]:
    """One row a family, one a harmless corpus."""
    recognisers = ways()
    made = [
        Row({"what": family, "texts": f"{len(held):,}"}, {f"found by {way}": [recall(one, held)] for way, one in recognisers.items()})
        for family, held in families.items()
    ]
    made.append(
        Row(
            {"what": "all families, each as much", "texts": ""},
            {name: [sum(row.values[name][0] for row in made) / len(made)] for name in made[0].values},
        )
    )
    for name, texts in harmless(recorded).items():
        values = {f"found by {way}": [sum(map(bool, one.spans(texts, SECRET))) / len(texts)] for way, one in recognisers.items()}
        made.append(Row({"what": f"harmless: {name}", "texts": f"{len(texts):,}"}, values))
    return made


def main() -> None:
    """Measures, saves and prints a table in Markdown."""
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--recorded", type=Path, help="runs recorded as lists of chat messages")
    options.add_argument("--texts", type=int, default=200, help="texts of each family (default 200)")
    chosen = options.parse_args()
    made = rows(secrets(SEED, chosen.texts), chosen.recorded)
    print(
        save(Table("secrets", "Secrets found, and harmless texts taken for secrets (shares)", made, ("Found means every character of the secret.",)))
    )
    print("| | texts | policy | rules | both |\n|---|---|---|---|---|")
    for row in made:
        digits = 4 if row.labels["what"].startswith("harmless") else 2
        print(f"| {row.labels['what']} | {row.labels['texts']} | " + " | ".join(f"{values[0]:.{digits}f}" for values in row.values.values()) + " |")


if __name__ == "__main__":
    main()
