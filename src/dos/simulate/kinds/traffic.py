"""More to do than usual: too much of it, or just what was planned."""

from __future__ import annotations

from dos.kit.clock import Millis
from dos.model.change import ChangeKind
from dos.model.entity import EntityKind
from dos.model.ids import EntityId
from dos.simulate.faults import FaultRun, FaultType
from dos.simulate.flow import Effects
from dos.simulate.kinds.base import Kind
from dos.simulate.propagation import Physics
from dos.simulate.world import SimulatedService, World

MOST_SURGE = 3.0
"""By how much a surge of full severity multiplies what users bring, beyond once."""
MOST_PLANNED = 0.35
"""The same for a campaign that was planned for."""
MOST_BATCH = 0.6
"""Share of the idle CPU that a batch job of full severity uses, behind all requests."""


class _OfEntry(Kind):
    """Comes from outside."""

    def targets(self, world: World) -> list[EntityId]:
        """Where users come in."""
        return sorted(world.entries)


class TrafficSurge(_OfEntry):
    """Far more users than the system is made for."""

    type = FaultType.TRAFFIC_SURGE
    duration = (120, 300)
    ramp = 20.0

    def apply(
        self, run: FaultRun, strength: float, effects: Effects, physics: Physics, now: Millis
    ) -> None:
        """Multiply the demand."""
        effects.demand[physics.index[run.fault.target]] *= 1.0 + MOST_SURGE * strength


class PlannedSurge(_OfEntry):
    """A campaign: more users, as announced, within what the system can carry."""

    type = FaultType.PLANNED_SURGE
    harmless = True
    duration = (600, 1800)
    ramp = 240.0
    recovery = 240.0

    def change(self, run: FaultRun, version: str) -> tuple[ChangeKind, str] | None:
        """An announcement."""
        return ChangeKind.OTHER, f"Campaign begins at {run.fault.target}, as planned"

    def apply(
        self, run: FaultRun, strength: float, effects: Effects, physics: Physics, now: Millis
    ) -> None:
        """Multiply the demand, a little."""
        effects.demand[physics.index[run.fault.target]] *= 1.0 + MOST_PLANNED * strength


class BatchJob(Kind):
    """Nightly work that takes the CPU nobody needs."""

    type = FaultType.BATCH_JOB
    harmless = True
    duration = (300, 900)
    ramp = 5.0
    recovery = 5.0

    def fits(self, service: SimulatedService, *, called: bool) -> bool:
        """Services and databases."""
        return service.kind in {EntityKind.SERVICE, EntityKind.DATABASE}

    def apply(
        self, run: FaultRun, strength: float, effects: Effects, physics: Physics, now: Millis
    ) -> None:
        """Use idle CPU."""
        place = physics.index[run.fault.target]
        left = (1.0 - effects.background[place]) * (1.0 - MOST_BATCH * strength)
        effects.background[place] = 1.0 - left
