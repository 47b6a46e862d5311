"""The section ``limits`` of a policy: how much agents, users, tools and the fleet may do in a time.

Two kinds, for two reasons. A limit of an agent (``Budget``, ``Concurrency``, ``Depth``) judges the event itself: it counts records of one agent in
one partition of one topic, so it depends on that log alone. A ``Quota`` counts across partitions, whose interleaving is no fact of any log: it never
judges an event, it acts on the future, once a key and window.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Final

from governance.rules import Rule
from governance.verdict import Action, Enforcement, Severity


class Measure(StrEnum):
    """What is summed up; whole numbers all, so that the order of adding cannot show."""

    EVENTS = "events"
    FAILURES = "failures"  # events that failed, as agent_metrics counts them
    TOKENS = "tokens"  # read and written
    COST_NANO_USD = "cost_nano_usd"
    EXECUTION_TIME_US = "execution_time_us"  # latencies


class Per(StrEnum):
    """Of what an agent's limit counts: always of one agent in one partition of one topic, and of one part of it."""

    AGENT = "agent"
    SESSION = "session"
    EXECUTION = "execution"
    CALL = "call"  # the same tool with the same masked arguments: a loop


class Scope(StrEnum):
    """Of what a quota counts, over all topics and partitions."""

    AGENT = "agent"
    USER = "user"
    TOOL = "tool"
    FLEET = "fleet"


class Command(StrEnum):
    """What ``agent_control`` tells agents, from weakest to strongest; ``resume`` takes the others back."""

    RESUME = "resume"
    THROTTLE = "throttle"
    PAUSE = "pause"
    STOP = "stop"


COMMANDS: Final = tuple(Command)

#: The command that an enforced action sends to the agent.
COMMAND_OF_ACTION: Final = {Action.THROTTLE: Command.THROTTLE, Action.PAUSE_AGENT: Command.PAUSE, Action.STOP_AGENT: Command.STOP}


@dataclass(frozen=True, slots=True)
class Budget(Rule):
    """Hits when the sum of a measure in a window passes the maximum, and at every event that adds to it after that.

    Attributes:
        per: Of what is counted.
        measure: What is summed.
        window_ms: Length of the windows, aligned to 1970 UTC.
        total_max: Largest sum allowed in a window.
    """

    needs_raw: ClassVar[bool] = False
    type: ClassVar[str] = "budget"

    per: Per
    measure: Measure
    window_ms: int
    total_max: int


@dataclass(frozen=True, slots=True)
class Concurrency(Rule):
    """Hits when more than ``open_max`` executions of an agent are open at an event.

    An execution is open from its first event to one whose type is among ``ends``, or until it was quiet for ``quiet_ms``.
    """

    needs_raw: ClassVar[bool] = False
    type: ClassVar[str] = "concurrency"

    open_max: int
    ends: tuple[str, ...]
    quiet_ms: int


@dataclass(frozen=True, slots=True)
class Depth(Rule):
    """Hits when an event has more than ``depth_max`` ancestors: events of the agent that ``parent_id`` leads to, remembered for ``memory_ms``."""

    needs_raw: ClassVar[bool] = False
    type: ClassVar[str] = "depth"

    depth_max: int
    memory_ms: int


@dataclass(frozen=True, slots=True)
class Quota:
    """What may be done over all partitions in a window. A breach raises one alert, and one command to those it is about.

    Attributes:
        id: Unique among rules and limits.
        description: One sentence for people; the message of the alert.
        enforcement: enforce; flag raises the alert and sends nothing; shadow is only counted.
        severity: Severity of the alert.
        kinds: Kinds of event that count.
        per: Of what is counted.
        measure: What is summed.
        window_ms: Length of the windows, aligned to 1970 UTC.
        total_max: Largest sum allowed in a window.
        control: What is sent; None sends nothing.
        hold_ms: How long a command holds after the window's end; None holds a stop for good.
    """

    id: str
    description: str
    enforcement: Enforcement
    severity: Severity
    kinds: tuple[str, ...]
    per: Scope
    measure: Measure
    window_ms: int
    total_max: int
    control: Command | None
    hold_ms: int | None


@dataclass(frozen=True, slots=True)
class LimitsPolicy:
    """All limits of a policy.

    Attributes:
        agents: Limits that judge an event; a hit joins the hits of rules.
        quotas: Limits that act on the future.
        throttle_ms: How long a throttle holds at least that a decision caused.
        pause_ms: How long a pause holds at least that a decision caused.
        review_ms: How long a held event can be approved, from its event time.
    """

    agents: tuple[Budget | Concurrency | Depth, ...] = ()
    quotas: tuple[Quota, ...] = ()
    throttle_ms: int = 60_000
    pause_ms: int = 600_000
    review_ms: int = 604_800_000

    @property
    def budgets(self) -> tuple[Budget, ...]:
        """The limits that sum up."""
        return tuple(limit for limit in self.agents if isinstance(limit, Budget))

    @property
    def concurrency(self) -> tuple[Concurrency, ...]:
        """The limits on open executions."""
        return tuple(limit for limit in self.agents if isinstance(limit, Concurrency))

    @property
    def depth(self) -> tuple[Depth, ...]:
        """The limits on chains of causes."""
        return tuple(limit for limit in self.agents if isinstance(limit, Depth))


#: What a policy without the section says.
NO_LIMITS: Final = LimitsPolicy()
