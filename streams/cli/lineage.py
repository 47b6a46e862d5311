"""``headrace lineage``: what a run reads and writes, and which column comes from which, without a catalogue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from streams.cli.say import ConfigOption
from streams.config import load_config

if TYPE_CHECKING:
    from openlineage.client.event_v2 import InputDataset, OutputDataset


def lineage(
    config: ConfigOption = None,
    columns: Annotated[bool, typer.Option("--columns", help="Print where each column comes from instead.")] = False,
) -> None:
    """Print the datasets that a run of this configuration reads and writes, as its lineage events tell them. Asks no catalogue."""
    from streams.lineage import datasets

    inputs, outputs = datasets(load_config(config))
    console = Console(highlight=False, soft_wrap=True)
    if columns:
        console.print(_columns(outputs))
        return
    table = Table(show_edge=False)
    for name in ("dataset", "place", "side"):
        table.add_column(name)
    table.add_column("fields", justify="right")
    for side, found in (("read", inputs), ("written", outputs)):
        for dataset in found:
            table.add_row(dataset.name, dataset.namespace, side, str(len(_facet(dataset, "schema").fields)))
    console.print(table)


def _facet(dataset: InputDataset | OutputDataset, name: str) -> Any:
    """The client's types know no kinds of facet."""
    return (dataset.facets or {}).get(name)


def _columns(outputs: list[OutputDataset]) -> Table:
    table = Table(show_edge=False)
    for name in ("column", "how", "from"):
        table.add_column(name)
    for dataset in outputs:
        of_columns = _facet(dataset, "columnLineage")
        for name, field in ({} if of_columns is None else of_columns.fields).items():
            origins = ", ".join(f"{one.name}.{one.field}" for one in field.inputFields)
            table.add_row(f"{dataset.name}.{name}", field.transformationType, origins)
    return table
