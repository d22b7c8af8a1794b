"""What breaks when: a timeline somebody wrote, or dice.

Both are asked each tick which faults begin now; both are deterministic.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Annotated, ClassVar, Protocol

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from dos.kit.clock import SECOND, Millis
from dos.kit.duration import Duration
from dos.kit.errors import ConfigError
from dos.model.ids import EntityId
from dos.simulate.actions import Action, ActionKind, check_action
from dos.simulate.faults import Fault, FaultType
from dos.simulate.kinds import KINDS
from dos.simulate.world import World


class Incidents(Protocol):
    """Where faults come from, and actions against them where they are planned."""

    def begin(self, now: Millis, *, running: int) -> Sequence[Fault | Action]:
        """What begins at `now`, while `running` faults are at work."""
        ...


class ScheduledFault(BaseModel):
    """One line of a scenario: something breaks."""

    model_config = ConfigDict(extra="forbid")

    at: Duration
    """Since the start of the scenario."""
    fault: FaultType
    """What breaks, or only looks like it: `dos simulate faults` says what each does."""
    target: str
    """A service, node or zone of the world."""
    duration: Duration = Field(default=180.0, gt=0)
    """From the start until the recovery begins."""
    severity: float = Field(default=0.7, gt=0, le=1)
    """From hardly to be noticed to as bad as it gets."""
    ramp: Duration | None = None
    """From the start to full strength; what is usual for the type, where it is not given."""
    recovery: Duration | None = None
    """Until nothing of it is left; what is usual for the type, where it is not given."""

    def build(self) -> Fault:
        """As the fault it describes."""
        kind = KINDS[self.fault]
        return Fault(
            type=self.fault,
            target=EntityId(self.target),
            severity=self.severity,
            duration=self.duration,
            ramp=kind.ramp if self.ramp is None else self.ramp,
            recovery=kind.recovery if self.recovery is None else self.recovery,
        )


class ScheduledAction(BaseModel):
    """One line of a scenario: somebody does something about it."""

    model_config = ConfigDict(extra="forbid")

    at: Duration
    """Since the start of the scenario."""
    action: ActionKind
    target: str
    """A service; for `drain` a node."""
    replicas: int | None = Field(default=None, ge=1, le=1000)
    """Wanted of `scale`."""

    def build(self) -> Action:
        """As the action it describes."""
        return Action(kind=self.action, target=EntityId(self.target), replicas=self.replicas)


def _sort(line: object) -> str:
    """Which of the two a line is; told by its key, so that its mistakes are told as such."""
    action = isinstance(line, ScheduledAction) or (isinstance(line, dict) and "action" in line)
    return "scheduled_action" if action else "scheduled_fault"


Scheduled = Annotated[
    Annotated[ScheduledFault, Tag("scheduled_fault")]
    | Annotated[ScheduledAction, Tag("scheduled_action")],
    Discriminator(_sort),
]
"""A line of a scenario."""


class Scenario:
    """A timeline of faults and actions, relative to `origin`.

    Raises:
        ConfigError: A line targets something that the world does not have or that cannot have it.
    """

    def __init__(self, timeline: Sequence[Scheduled], world: World, origin: Millis) -> None:
        due: list[tuple[float, Fault | Action]] = []
        for line in timeline:
            if isinstance(line, ScheduledFault):
                check_target(world, line.fault, EntityId(line.target))
                due.append((origin + line.at * SECOND, line.build()))
            else:
                action = line.build()
                check_action(world, action)
                due.append((origin + line.at * SECOND, action))
        self._due: list[tuple[float, Fault | Action]] = sorted(
            due, key=lambda item: item[0], reverse=True
        )

    def begin(self, now: Millis, *, running: int) -> Sequence[Fault | Action]:
        """What is due by `now`."""
        del running
        starting = []
        while self._due and self._due[-1][0] <= now:
            starting.append(self._due.pop()[1])
        return starting


SKETCH: dict[FaultType, float] = {
    FaultType.CPU_SPIKE: 0.25,
    FaultType.MEMORY_LEAK: 0.15,
    FaultType.NETWORK_LATENCY: 0.25,
    FaultType.ERROR_RATE: 0.2,
    FaultType.CASCADING_FAILURE: 0.15,
}
"""The five classic kinds of incident, and how often each comes up."""
OTHERS = 0.05
"""Relative frequency of each other kind in the random mode."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dice:
    """How random incidents come up."""

    chance: float = 0.1
    """Probability per tick while fewer than `at_once` faults run."""
    quiet: float = 0.0
    """Seconds after an incident in which nothing new breaks."""
    at_once: int = 1
    """Faults that may run at the same time."""
    weights: Mapping[FaultType, float] | None = None
    """Relative frequency of the types; None for the usual one."""
    severity: tuple[float, float] = (0.5, 0.95)
    """Least and most."""
    duration: tuple[float, float] | None = None
    """Least and most seconds; None for what is usual for the type."""


class RandomIncidents:
    """Each tick while nothing is wrong, something breaks with a fixed chance.

    Types that nothing in the world can have do not come up.

    Args:
        since: Nothing breaks before this time (the back-fill of a baseline stays healthy).
        dice: How they come up.

    Raises:
        ConfigError: No type with a weight can hit anything in this world.
    """

    WEIGHTS: ClassVar[Mapping[FaultType, float]] = {
        kind: SKETCH.get(kind, OTHERS) for kind in FaultType
    }

    def __init__(
        self, world: World, seed: int, *, since: Millis = Millis(0), dice: Dice | None = None
    ) -> None:
        self._rng = Random(f"incidents/{seed}")  # noqa: S311  a simulation, not a secret
        self._since = since
        self._dice = dice or Dice()
        self._quiet_until = since
        self._targets = {fault: eligible(world, fault) for fault in FaultType}
        weights = self.WEIGHTS if self._dice.weights is None else self._dice.weights
        self._weights = {
            fault: weight
            for fault, weight in weights.items()
            if weight > 0 and self._targets[fault]
        }
        if not self._weights:
            msg = f"None of the incidents with a weight can happen in world {world.name!r}."
            raise ConfigError(msg, remedy="Give a weight above 0 to one that can.")

    def begin(self, now: Millis, *, running: int) -> Sequence[Fault]:
        """Roll the dice."""
        if now < self._since:
            return ()
        dice = self._dice
        if running >= dice.at_once:
            self._quiet_until = Millis(now + round(dice.quiet * SECOND))
            return ()
        if now < self._quiet_until or self._rng.random() >= dice.chance:
            return ()
        kind = self._rng.choices(list(self._weights), list(self._weights.values()))[0]
        target = self._rng.choice(self._targets[kind])
        return (draw(self._rng, kind, target, severity=dice.severity, duration=dice.duration),)


def draw(
    rng: Random,
    kind: FaultType,
    target: EntityId,
    *,
    severity: tuple[float, float] = (0.5, 0.95),
    duration: tuple[float, float] | None = None,
) -> Fault:
    """A fault of `kind` with a severity and a duration in seconds drawn from `rng`."""
    about = KINDS[kind]
    drawn = round(rng.uniform(*severity), 2)
    if duration is None:
        seconds = float(rng.randrange(*about.duration, 15))
    else:
        seconds = round(rng.uniform(*duration), 1)
    return Fault(
        type=kind,
        target=target,
        severity=drawn,
        duration=seconds,
        ramp=about.ramp,
        recovery=about.recovery,
    )


def eligible(world: World, fault: FaultType) -> list[EntityId]:
    """What `fault` can sensibly hit: services, nodes or zones."""
    return KINDS[fault].targets(world)


def check_target(world: World, fault: FaultType, target: EntityId) -> None:
    """Whether `target` is there and can have `fault`.

    Raises:
        ConfigError: It is not, or cannot; the message lists what can.
    """
    fits = eligible(world, fault)
    if target in fits:
        return
    known = {one.id for one in world.services} | {node.id for node in world.nodes}
    names = ", ".join(fits[:20]) or "nothing in this world"
    if target in known | set(world.zones):
        msg = f"{target!r} cannot have the fault {fault}."
    else:
        msg = f"World {world.name!r} has no {target!r}."
    raise ConfigError(msg, remedy=f"It can hit: {names}.")
