"""``headrace demo``: the main job on this machine, with nothing installed by hand."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer


class KafkaChoice(StrEnum):
    """Which Kafka the demo uses."""

    AUTO = "auto"
    REAL = "real"
    MOCK = "mock"


class ModelsOption(StrEnum):
    """Whether the demo runs with models."""

    AUTO = "auto"
    ON = "on"
    OFF = "off"


def demo(
    seconds: Annotated[float | None, typer.Option("--seconds", min=1, help="How long the fleet sends; default: until Ctrl-C.")] = None,
    rate: Annotated[float | None, typer.Option("--rate", min=1, max=50_000, help="Records a second; default: 500, with models 20.")] = None,
    agents: Annotated[int, typer.Option("--agents", min=1, max=1_000, help="Agents in the simulated fleet.")] = 24,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the fleet.")] = 1,
    kafka: Annotated[KafkaChoice, typer.Option("--kafka", help="Real needs Java; auto takes the mock where there is none.")] = KafkaChoice.AUTO,
    models: Annotated[
        ModelsOption, typer.Option("--models", help="Names, scores and vectors by a real Triton; auto takes them where they can be had.")
    ] = ModelsOption.AUTO,
) -> None:
    """Run a simulated fleet through embedded Kafka, the pipeline and PostgreSQL; show it live; check the numbers against what was sent."""
    from rich.console import Console

    from streams.demo.models import ModelsChoice
    from streams.demo.show import DemoOptions, show_demo
    from streams.embedded.choose import KafkaKind
    from streams.log import configure_logging

    configure_logging()
    console = Console()
    found = show_demo(DemoOptions(seconds, rate, agents, seed, KafkaKind(kafka.value), ModelsChoice(models.value)), console)
    width = max(len(check.claim) for check in found)
    for check in found:
        verdict = "ok" if check.holds else f"WRONG, expected {check.expected}"
        console.print(f"{check.claim:{width}}  {check.found}  {verdict}", soft_wrap=True, highlight=False, markup=False)
    if not all(check.holds for check in found):
        raise typer.Exit(1)
