"""What the demo shows while it runs: a table on a terminal, plain lines otherwise."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from streams.demo.results import AgentLine
from streams.telemetry import Totals

_PLAIN_EVERY_S = 5.0


@dataclass(frozen=True, slots=True)
class Moment:
    """What there is to show at one moment.

    Attributes:
        phase: What is going on, in a word or two.
        elapsed_s: Since the first record.
        seconds: How long the demo is to run; None until Ctrl-C.
        sent: Records sent.
        totals: What the pipeline counted.
        agents: The slowest agents.
    """

    phase: str
    elapsed_s: float
    seconds: float | None
    sent: int
    totals: Totals
    agents: Sequence[AgentLine]

    @property
    def handled(self) -> int:
        """Records that are done: enriched, dead or left out."""
        return sum(self.totals.by("events_total", outcome=outcome) for outcome in ("passed", "dead", "filtered"))


class View:
    """Shows moments; a context manager."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, refresh_per_second=4, transient=True) if console.is_terminal else None
        self._said_at = 0.0
        self._before: tuple[float, int] | None = None
        self._rate = 0.0

    def __enter__(self) -> View:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, moment: Moment) -> None:
        """Draws the moment; without a terminal, a line now and then."""
        now = time.monotonic()
        if self._before is None or now - self._before[0] >= 1.0:
            if self._before is not None:
                self._rate = (moment.handled - self._before[1]) / (now - self._before[0])
            self._before = (now, moment.handled)
        if self._live is not None:
            self._live.update(_drawn(moment, self._rate))
        elif now - self._said_at >= _PLAIN_EVERY_S:
            self._said_at = now
            self._console.print(plain(moment, self._rate), soft_wrap=True, highlight=False)


def plain(moment: Moment, rate: float) -> str:
    """Gives a moment as one line."""
    totals = moment.totals
    return (
        f"{moment.phase} {moment.elapsed_s:4.0f} s  sent {moment.sent}  handled {moment.handled} ({rate:.0f}/s)  "
        f"lag {totals.by('consumer_lag_records')}  in flight {totals.by('rows_in_flight')}  masked {totals.by('masked_entities_total')}  "
        f"dead {totals.by('dead_letters_total')}  duplicates {totals.by('filtered_total')}  "
        f"verdicts {_listed(totals.each('verdicts_total', 'verdict'))}"
    )


def _drawn(moment: Moment, rate: float) -> RenderableType:
    totals = moment.totals
    flow = Table(title=f"headrace demo: {moment.phase}, {moment.elapsed_s:.0f} s", title_justify="left", show_header=False)
    rows = {
        "sent": f"{moment.sent}",
        "handled": f"{moment.handled}  ({rate:.0f} records/s)",
        "lag": f"{totals.by('consumer_lag_records')} records, {totals.by('rows_in_flight')} rows in flight",
        "end to end": _mean_ms(totals),
        "masked": _listed(totals.each("masked_entities_total", "entity")),
        "decisions": _listed(totals.each("verdicts_total", "verdict")),
        "rules hit": _listed(totals.each("rule_hits_total", "rule")),
        "dead letters": _listed(totals.each("dead_letters_total", "code")),
        "duplicates": f"{totals.by('filtered_total')}, late events {totals.by('late_events_total')}",
        **_of_models(totals),
        "written": _listed({f"{s} {t}": n for (s, t, r), n in _whole(totals).items() if r == "written"}),
    }
    for name, value in rows.items():
        flow.add_row(name, value)
    agents = Table(title="slowest agents, last 30 s", title_justify="left")
    for heading in ("agent", "events", "errors", "p95 ms"):
        agents.add_column(heading, justify="left" if heading == "agent" else "right")
    for line in moment.agents:
        agents.add_row(line.agent_id, str(line.events), str(line.errors), "-" if line.p95_ms is None else f"{line.p95_ms:.0f}")
    parts: list[RenderableType] = [flow, agents]
    if moment.seconds is not None:
        parts.append(ProgressBar(total=moment.seconds, completed=min(moment.elapsed_s, moment.seconds), width=60))
    return Group(*parts)


def _of_models(totals: Totals) -> dict[str, str]:
    """Gives the rows about models, none where no model was asked."""
    answered, remembered = _texts(totals, "ok"), _texts(totals, "cached")
    texts = {model: f"{count} + {remembered[model]} remembered" for model, count in answered.items()}
    scores = {rule: hits for rule, hits in totals.each("rule_hits_total", "rule").items() if rule.startswith("scores.")}
    return {"texts": ", ".join(f"{m} {n}" for m, n in texts.items()), "judged by scores": _listed(scores)} if texts else {}


def _texts(totals: Totals, answer: str) -> dict[str, int]:
    return {model: totals.by("model_texts_total", model=model, answer=answer) for model in totals.each("model_texts_total", "model")}


def attacks_table(events: Sequence[Mapping[str, Any]]) -> Table:
    """Gives events with what a model thought of them and what policy made of it."""
    table = Table(title="most like an attack, by the model", title_justify="left")
    for heading in ("agent", "kind", "injection", "jailbreak", "hits", "verdict", "action", "names masked"):
        table.add_column(heading, justify="right" if heading in ("injection", "jailbreak", "names masked") else "left")
    for event in events:
        scores = [f"{event[f'{label}_ppm'] / 1_000_000:.3f}" for label in ("injection", "jailbreak")]
        names = sum(span["entity"] == "PERSON" for span in event["masked_spans"] or ())
        hits = ", ".join(event["hits"] or ())
        table.add_row(*map(Text, (event["agent_id"], event["kind"], *scores, hits, event["verdict"], event["action"], str(names))))
    return table


def _whole(totals: Totals) -> dict[tuple[str, ...], int]:
    return {at: round(value) for at, value in totals.values["sink_rows_total"].items()}


def _mean_ms(totals: Totals) -> str:
    count, seconds = totals.histograms["end_to_end_seconds"][()]
    return f"{seconds / count * 1_000:.0f} ms from Kafka timestamp to acknowledged (mean)" if count else "-"


def _listed(counts: dict[str, int]) -> str:
    """Gives counts as text, the largest first."""
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items(), key=lambda pair: -pair[1]) if count) or "-"
