"""``headrace graph``: the topology as a Mermaid diagram."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from streams.cli.say import ConfigOption
from streams.config import load_config
from streams.topology import Topology

#: Nothing is hashed while drawing, so no key has to be made for it.
_NO_KEY: Final = bytes(32)


def graph(config: ConfigOption = None) -> None:
    """Print the pipeline as a Mermaid diagram, from the topology that would run."""
    from streams.inference import open_models
    from streams.pipeline import build_topology
    from streams.policy_file import load_policy
    from streams.telemetry import Telemetry

    found = load_config(config)
    policy = load_policy(found.pipeline.policy).policy
    with open_models(found, policy, Telemetry()) as models:
        print("\n".join(mermaid(build_topology(found, policy, _NO_KEY, None, models=models))))


def mermaid(topology: Topology) -> Iterator[str]:
    """Gives the lines of a Mermaid flowchart: inputs, steps beside the source, exchange, steps on the lanes, outputs."""
    keyed = {step.name for step in topology.keyed_steps}
    yield "flowchart LR"
    for topic in topology.inputs:
        yield f"  in_{topic}[/{topic}/] --> step_{topology.front[0].name}"
    yield "  subgraph source [beside the source]"
    yield "    " + " --> ".join(f"step_{step.name}({step.name})" for step in topology.front)
    yield "  end"
    yield f"  step_{topology.front[-1].name} -- by {topology.key}, {topology.lanes} lanes --> step_{topology.keyed[0].name}"
    yield "  subgraph lane [on each lane]"
    yield "    " + " --> ".join(
        f"step_{step.name}[({step.name})]" if step.name in keyed else f"step_{step.name}({step.name})" for step in topology.keyed
    )
    yield "  end"
    for topic in topology.outputs:
        yield f"  step_{topology.keyed[-1].name} --> out_{topic}[/{topic}/]"
