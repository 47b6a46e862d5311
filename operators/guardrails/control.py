"""Control: decisions that speak of an agent's future become commands to it."""

from __future__ import annotations

from collections import defaultdict
from typing import Final

import numpy as np
import polars as pl

from governance.limits import COMMAND_OF_ACTION, Command
from governance.policy import Policy
from operators.audit import of_commands
from operators.contract import Order, Outcome, State, StateSpec
from operators.guardrails.tallies import ENTRY, digest, free, keys_of, log_times, tally
from schemas.coordinates import control_uid
from schemas.frames import output_schema

#: Fields of ``control_command.avsc``.
CONTROL: Final = output_schema("agent_control")

_OWNER: Final = ("topic", "partition", "agent_id")
#: A stop holds for good; it is said again once in so long, so that a new agent process that reads the end of the topic learns of it.
_STOP_MS: Final = 3_600_000


class Control:
    """Puts out a command for the first decision of an agent in a window that throttles, pauses or stops it.

    Windows are as long as the command holds and lie on the time of the row's own partition (``tallies.log_times``). The command holds to the end of
    the window after the one of its cause, so as long as causes go on there is no gap, and an agent gets one command a window, not one an event.

    Shapes: rows with DECIDED; the same rows. Outputs ``agent_control`` and ``audit_log``.
    Facts: ``("commands", command)`` counts commands.

    Args:
        policy: How long commands hold.
    """

    name: Final = "control"
    order: Final = Order.LOG_ORDERED

    def __init__(self, policy: Policy) -> None:
        limits = policy.limits
        self._windows = {Command.THROTTLE: limits.throttle_ms, Command.PAUSE: limits.pause_ms, Command.STOP: _STOP_MS}
        self._none = CONTROL.to_frame()

    @property
    def state_spec(self) -> StateSpec:
        """One entry an agent, command and window, 16 bytes."""
        return StateSpec(
            version=1,
            schema=ENTRY,
            bound="16 bytes x agents under a command (3 kinds) x partitions that an agent writes, for windows that not every partition has passed",
        )

    def apply(self, state: State, batch: pl.DataFrame, watermark: int | None) -> tuple[State, Outcome]:
        """Tells new commands, frees windows that every partition has passed."""
        actions = batch.get_column("action")
        commanding = actions.is_in([action.value for action in COMMAND_OF_ACTION])
        if not state and not commanding.any():
            return state, Outcome(batch)
        runs = dict(state)
        told = [self._told(runs, batch.filter(actions == action.value), command) for action, command in COMMAND_OF_ACTION.items()]
        free(runs, watermark)
        commands = pl.concat([self._none, *told])
        facts: dict[tuple[str, str], int] = defaultdict(int)
        for command in commands["command"].to_list():
            facts["commands", command] += 1
        return runs, Outcome(batch, outputs={"agent_control": commands, **of_commands(commands)}, facts=dict(facts))

    def _told(self, runs: dict[str, pl.DataFrame], rows: pl.DataFrame, command: Command) -> pl.DataFrame:
        """Gives the commands for rows that all ask for the same one."""
        if rows.is_empty():
            return self._none
        window_ms, times = self._windows[command], log_times(rows)
        key = keys_of(rows, _OWNER) ^ digest(command)
        first = np.flatnonzero(tally(runs, window_ms, key, times, np.ones(len(key), dtype=np.int64)) == 1)
        causes, ends = rows[first], (times[first] // window_ms + 2) * window_ms
        made: dict[str, pl.Expr | pl.Series] = {
            "control_uid": pl.Series([control_uid(uid, command) for uid in causes["event_uid"].to_list()], dtype=pl.String),
            "target_kind": pl.lit("agent"),
            "target": pl.col("agent_id"),
            "command": pl.lit(command.value),
            "issued_at": pl.col("event_time"),
            "until": pl.lit(None) if command is Command.STOP else pl.Series(ends),
            "reasons": pl.col("hits"),
        }
        return causes.select(made.get(name, pl.col(name)).alias(name) for name in CONTROL.names()).cast(CONTROL)
