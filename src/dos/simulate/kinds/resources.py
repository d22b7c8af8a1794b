"""CPU, memory, locks and capacity: faults inside one service."""

from __future__ import annotations

from dos.kit.clock import Millis
from dos.model.entity import EntityKind
from dos.simulate.actions import ActionKind
from dos.simulate.faults import Fault, FaultRun, FaultState, FaultType
from dos.simulate.flow import Effects
from dos.simulate.kinds.base import STATEFUL, Kind, add_errors
from dos.simulate.propagation import Physics
from dos.simulate.world import SimulatedService

MOST_ERRORS = 0.5
"""Ratio of requests that an error fault of full severity makes fail."""


def burnt(strength: float, cpu: float) -> float:
    """CPU ratio that a spike takes: at full strength all that is unused at utilisation `cpu`."""
    return strength * (1.0 - cpu)


def fill_seconds(fault: Fault) -> float:
    """Seconds in which a leak fills the memory: at full severity three times in its duration."""
    return fault.duration * (1.2 - 0.9 * fault.severity)


def capacity_left(severity: float, cpu: float) -> float:
    """Share of the capacity that a cascade leaves at its root, used to `cpu` on average.

    From a severity of 0.28 on it is less than the average demand.
    """
    return min(1.0, cpu * (1.25 - 0.9 * severity))


class CpuSpike(Kind):
    """A runaway thread takes CPU that requests need."""

    type = FaultType.CPU_SPIKE
    cures = frozenset({ActionKind.RESTART})

    def apply(
        self, run: FaultRun, strength: float, effects: Effects, physics: Physics, now: Millis
    ) -> None:
        """Burn CPU."""
        place = physics.index[run.fault.target]
        left = (1.0 - effects.burn[place]) * (1.0 - burnt(strength, float(physics.cpu[place])))
        effects.burn[place] = 1.0 - left


class MemoryLeak(Kind):
    """Memory grows until the kernel kills the replica; a restart only starts it again."""

    type = FaultType.MEMORY_LEAK
    # A leak needs time to fill the memory.
    duration = (240, 480)

    def fits(self, service: SimulatedService, *, called: bool) -> bool:
        """Datastores manage their memory themselves."""
        return super().fits(service, called=called) and service.kind not in STATEFUL

    def apply(
        self, run: FaultRun, strength: float, effects: Effects, physics: Physics, now: Millis
    ) -> None:
        """Leak memory."""
        if run.state(now) is not FaultState.RECOVERING:
            place = physics.index[run.fault.target]
            free = 1.0 - float(physics.base_memory[place])
            effects.leak[place] += run.intensity(now) * free / fill_seconds(run.fault)


class ErrorRate(Kind):
    """Requests fail, as with a broken connection pool."""

    type = FaultType.ERROR_RATE
    cures = frozenset({ActionKind.RESTART})

    def fits(self, service: SimulatedService, *, called: bool) -> bool:
        """Anybody, third parties included."""
        return True

    def apply(
        self, run: FaultRun, strength: float, effects: Effects, physics: Physics, now: Millis
    ) -> None:
        """Fail requests."""
        add_errors(effects, physics.index[run.fault.target], MOST_ERRORS * strength)


class CascadingFailure(Kind):
    """A service deep in the graph loses capacity, and its callers go down with it."""

    type = FaultType.CASCADING_FAILURE

    def fits(self, service: SimulatedService, *, called: bool) -> bool:
        """It starts at a service that others call."""
        return called and service.kind is not EntityKind.QUEUE

    def apply(
        self, run: FaultRun, strength: float, effects: Effects, physics: Physics, now: Millis
    ) -> None:
        """Take capacity."""
        place = physics.index[run.fault.target]
        lost = 1.0 - capacity_left(run.fault.severity, float(physics.cpu[place]))
        effects.capacity[place] *= 1.0 - run.intensity(now) * lost


class LockContention(Kind):
    """Requests wait for one lock: slow, with an idle CPU."""

    type = FaultType.LOCK_CONTENTION
    cures = frozenset({ActionKind.RESTART, ActionKind.FAILOVER})

    def fits(self, service: SimulatedService, *, called: bool) -> bool:
        """Services and databases."""
        return service.kind in {EntityKind.SERVICE, EntityKind.DATABASE}

    def apply(
        self, run: FaultRun, strength: float, effects: Effects, physics: Physics, now: Millis
    ) -> None:
        """Let only so much be done at a time."""
        place = physics.index[run.fault.target]
        lost = 1.0 - capacity_left(run.fault.severity, float(physics.cpu[place]))
        effects.lock[place] *= 1.0 - run.intensity(now) * lost
