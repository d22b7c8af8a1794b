"""What every kind of fault says of itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from dos.kit.clock import Millis
from dos.model.change import ChangeKind
from dos.model.entity import EntityKind
from dos.model.ids import EntityId
from dos.simulate.actions import ActionKind
from dos.simulate.faults import FaultRun, FaultType
from dos.simulate.flow import Effects
from dos.simulate.propagation import Physics
from dos.simulate.world import SimulatedService, World

STATEFUL = frozenset({EntityKind.DATABASE, EntityKind.CACHE, EntityKind.QUEUE})


class Kind(ABC):
    """One type of fault: whom it can hit, what it does, how it shows in the list of changes."""

    type: ClassVar[FaultType]
    harmless: ClassVar[bool] = False
    """Whether it only looks like an incident, so that nobody should be woken."""
    duration: ClassVar[tuple[int, int]] = (90, 300)
    """Seconds, least and most, that the random mode draws from."""
    ramp: ClassVar[float] = 10.0
    """Seconds to full strength, usually."""
    recovery: ClassVar[float] = 20.0
    """Seconds until it has gone, usually."""
    rolls: ClassVar[bool] = False
    """Whether it begins with a rolling restart of its target."""
    cures: ClassVar[frozenset[ActionKind]] = frozenset()
    """Actions on its target that take the cause away. Others may help all the same."""

    def targets(self, world: World) -> list[EntityId]:
        """All it can sensibly hit."""
        called = {call.callee for call in world.calls}
        return [one.id for one in world.services if self.fits(one, called=one.id in called)]

    def fits(self, service: SimulatedService, *, called: bool) -> bool:
        """Whether it can hit `service`, which others call or not."""
        del called
        return service.kind is not EntityKind.EXTERNAL

    def causes(self, world: World, target: EntityId) -> tuple[EntityId, ...]:
        """Entities that are right to name as its cause."""
        del world
        return (target,)

    def change(self, run: FaultRun, version: str) -> tuple[ChangeKind, str] | None:
        """What the list of changes says at its start, if it begins with a change.

        Args:
            run: The fault.
            version: Of the target once the change is through.
        """
        del run, version
        return None

    @abstractmethod
    def apply(
        self, run: FaultRun, strength: float, effects: Effects, physics: Physics, now: Millis
    ) -> None:
        """Add what it does at `now` to `effects`.

        Args:
            run: The fault.
            strength: Its severity times how far it has come along ramp and recovery.
            effects: Changed in place.
            physics: The arrays of the world.
            now: Time of the tick.
        """


def add_errors(effects: Effects, place: int, ratio: float) -> None:
    """Let `ratio` of the requests that would succeed fail."""
    effects.errors[place] = 1.0 - (1.0 - effects.errors[place]) * (1.0 - ratio)


def block(effects: Effects, calls: Sequence[int], ratio: float) -> None:
    """Let `ratio` of the calls that would get through fail on their way."""
    for call in calls:
        effects.unreached[call] = 1.0 - (1.0 - effects.unreached[call]) * (1.0 - ratio)
