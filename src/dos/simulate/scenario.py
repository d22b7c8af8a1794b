"""What breaks when: a timeline somebody wrote, or dice.

Both are asked each tick which faults begin now; both are deterministic.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Protocol

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dos.kit.clock import SECOND, Millis
from dos.kit.duration import Duration
from dos.kit.errors import ConfigError
from dos.model.entity import EntityKind
from dos.model.ids import EntityId
from dos.simulate.faults import Fault, FaultType
from dos.simulate.world import World


class Incidents(Protocol):
    """Where faults come from."""

    def begin(self, now: Millis, *, idle: bool) -> Sequence[Fault]:
        """The faults that begin at `now`; `idle` when none is running."""
        ...


class ScheduledFault(BaseModel):
    """One line of a scenario."""

    model_config = ConfigDict(extra="forbid")

    at: Duration
    """Since the start of the scenario."""
    fault: FaultType
    target: str
    duration: Duration = 180.0
    severity: float = Field(default=0.7, gt=0, le=1)
    ramp: Duration = 10.0
    recovery: Duration = 20.0

    def build(self) -> Fault:
        """As the fault it describes."""
        return Fault(
            type=self.fault,
            target=EntityId(self.target),
            severity=self.severity,
            duration=self.duration,
            ramp=self.ramp,
            recovery=self.recovery,
        )


class Scenario:
    """A timeline of faults, relative to `origin`.

    Raises:
        ConfigError: A fault targets a service that the world does not have.
    """

    def __init__(self, timeline: Sequence[ScheduledFault], world: World, origin: Millis) -> None:
        for line in timeline:
            world.service(EntityId(line.target))
        due = [(origin + line.at * SECOND, line.build()) for line in timeline]
        self._due = sorted(due, key=lambda item: item[0], reverse=True)

    def begin(self, now: Millis, *, idle: bool) -> Sequence[Fault]:
        """The faults due by `now`."""
        del idle
        starting = []
        while self._due and self._due[-1][0] <= now:
            starting.append(self._due.pop()[1])
        return starting


class RandomIncidents:
    """Each tick while nothing is wrong, something breaks with a fixed chance.

    Args:
        since: Nothing breaks before this time (the back-fill of a baseline stays healthy).
        chance: Probability per tick while idle.
        quiet: Seconds after an incident in which nothing new breaks.
    """

    WEIGHTS: tuple[tuple[FaultType, float], ...] = (
        (FaultType.CPU_SPIKE, 0.25),
        (FaultType.MEMORY_LEAK, 0.15),
        (FaultType.NETWORK_LATENCY, 0.25),
        (FaultType.ERROR_RATE, 0.2),
        (FaultType.CASCADING_FAILURE, 0.15),
    )

    def __init__(
        self,
        world: World,
        seed: int,
        *,
        since: Millis = Millis(0),
        chance: float = 0.1,
        quiet: float = 0.0,
    ) -> None:
        self._rng = Random(f"incidents/{seed}")  # noqa: S311  a simulation, not a secret
        self._since = since
        self._chance = chance
        self._quiet = quiet
        self._quiet_until = since
        self._targets = {fault: eligible(world, fault) for fault in FaultType}

    def begin(self, now: Millis, *, idle: bool) -> Sequence[Fault]:
        """Roll the dice."""
        if now < self._since:
            return ()
        if not idle:
            self._quiet_until = Millis(now + round(self._quiet * SECOND))
            return ()
        if now < self._quiet_until or self._rng.random() >= self._chance:
            return ()
        types, weights = zip(*self.WEIGHTS, strict=True)
        kind = self._rng.choices(types, weights)[0]
        target = self._rng.choice(self._targets[kind])
        return (draw(self._rng, kind, target),)


def draw(rng: Random, kind: FaultType, target: EntityId) -> Fault:
    """A fault of `kind` with a severity and a duration drawn from `rng`."""
    severity = round(rng.uniform(0.5, 0.95), 2)
    # A leak needs time to fill the memory.
    low, high = (240, 480) if kind is FaultType.MEMORY_LEAK else (90, 300)
    duration = float(rng.randrange(low, high, 15))
    return Fault(type=kind, target=target, severity=severity, duration=duration)


def eligible(world: World, fault: FaultType) -> list[EntityId]:
    """The services that `fault` can sensibly hit.

    A cascade starts deep: at a service that others call. A third party's CPU and memory are
    nobody's business, and datastores manage their memory themselves.
    """
    called = {call.callee for call in world.calls}
    chosen = []
    for service in world.services:
        external = service.kind is EntityKind.EXTERNAL
        stateful = service.kind in {EntityKind.DATABASE, EntityKind.CACHE, EntityKind.QUEUE}
        if fault is FaultType.CASCADING_FAILURE:
            fits = service.id in called and service.kind is not EntityKind.QUEUE
        elif fault is FaultType.MEMORY_LEAK:
            fits = not external and not stateful
        elif fault is FaultType.CPU_SPIKE:
            fits = not external
        else:
            fits = True
        if fits:
            chosen.append(service.id)
    return chosen


def read_scenario(path: Path) -> list[ScheduledFault]:
    """The timeline in the YAML file `path`: a list of `at`, `fault`, `target` and options.

    Raises:
        ConfigError: The file cannot be read or a line is wrong; the message says where.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        msg = f"Scenario {path} cannot be read: {error}."
        raise ConfigError(msg) from error
    if not isinstance(content, list):
        msg = f"Scenario {path} is not a list of faults."
        remedy = "Write lines such as: - {at: 2m, fault: cpu_spike, target: payment-service}"
        raise ConfigError(msg, remedy=remedy)
    timeline = []
    for number, line in enumerate(content, start=1):
        try:
            timeline.append(ScheduledFault.model_validate(line))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            msg = f"Scenario {path}, fault {number}, {where or 'line'}: {first['msg']}."
            raise ConfigError(msg) from error
    return timeline
