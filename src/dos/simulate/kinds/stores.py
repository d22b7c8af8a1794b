"""Databases, caches and the clients that hammer them."""

from __future__ import annotations

from dos.kit.clock import SECOND, Millis
from dos.model.entity import EntityKind
from dos.model.graph import EdgeKind
from dos.model.ids import EntityId
from dos.simulate.actions import ActionKind
from dos.simulate.faults import FaultRun, FaultState, FaultType
from dos.simulate.flow import Effects
from dos.simulate.kinds.base import Kind, add_errors
from dos.simulate.propagation import Physics
from dos.simulate.world import SimulatedService, World

MOST_MISSES = 3.0
"""By how much a stampede of full severity multiplies a cache's misses, beyond once."""
BLIP_SECONDS, BLIP_TICKS, LEAST_BLIP = 30.0, 4, 0.8
"""The short trouble that sets a retry storm off: its length, and the least ratio of errors. Where
ticks are long it takes a few of them, since clients follow what they see from tick to tick."""
LEAST_STORM = 0.4
"""Share of the retries that clients make even in the mildest storm."""
LONG_QUEUE = 6.0
"""Factor on the queue of a service that sheds no load, so that it outlasts clients' timeouts."""
HURRY = 1.5
"""Seconds of a timeout below which queueing looks like failure."""


class DiskFull(Kind):
    """A volume fills; then writes fail."""

    type = FaultType.DISK_FULL
    duration = (240, 480)
    cures = frozenset({ActionKind.FAILOVER})

    def fits(self, service: SimulatedService, *, called: bool) -> bool:
        """Who has a volume."""
        return called and service.disk > 0

    def apply(
        self, run: FaultRun, strength: float, effects: Effects, physics: Physics, now: Millis
    ) -> None:
        """Fill what is free in half the duration or less."""
        if run.state(now) is not FaultState.RECOVERING:
            fault, place = run.fault, physics.index[run.fault.target]
            free = 1.0 - float(physics.base_disk[place])
            effects.fill[place] += run.intensity(now) * free * fault.severity * 3 / fault.duration


class CacheStampede(Kind):
    """Hot keys expire together: what the cache answered goes to the database at once."""

    type = FaultType.CACHE_STAMPEDE

    def targets(self, world: World) -> list[EntityId]:
        """Caches whose callers have a database to fall back on."""
        stores = {one.id for one in world.services if one.kind is EntityKind.DATABASE}
        fall_back = {call.caller for call in world.calls if call.callee in stores}
        caches = {one.id for one in world.services if one.kind is EntityKind.CACHE}
        used = {call.callee for call in world.calls if call.caller in fall_back}
        return [one.id for one in world.services if one.id in caches & used]

    def apply(
        self, run: FaultRun, strength: float, effects: Effects, physics: Physics, now: Millis
    ) -> None:
        """Multiply the misses."""
        effects.missed[physics.index[run.fault.target]] *= 1.0 + MOST_MISSES * strength


class RetryStorm(Kind):
    """Clients without a retry budget turn a short trouble into a long one.

    A metastable failure: the load of the retries outlives its trigger, because the service works
    off a long queue of requests whose clients have given up already and asked again (Bronson et
    al., Metastable Failures in Distributed Systems, HotOS 2021).
    """

    type = FaultType.RETRY_STORM
    duration = (120, 300)
    ramp = 0.0

    def targets(self, world: World) -> list[EntityId]:
        """Who has impatient clients: they give up what is being worked on, and ask again."""
        hurried = {
            call.callee
            for call in world.calls
            if call.timeout <= HURRY and call.retries and call.kind is not EdgeKind.MESSAGE
        }
        kinds = {EntityKind.SERVICE, EntityKind.DATABASE}
        return [one.id for one in world.services if one.id in hurried and one.kind in kinds]

    def apply(
        self, run: FaultRun, strength: float, effects: Effects, physics: Physics, now: Millis
    ) -> None:
        """A blip, no bound on retries, and a queue that is longer than anybody's patience."""
        place = physics.index[run.fault.target]
        blip_seconds = max(BLIP_SECONDS, BLIP_TICKS * physics.step_seconds)
        if now <= run.triggered_at + blip_seconds * SECOND:
            blip = run.intensity(now) * (LEAST_BLIP + (1.0 - LEAST_BLIP) * run.fault.severity)
            add_errors(effects, place, blip)
        calls = physics.calls_into(run.fault.target)
        storm = run.intensity(now) * (LEAST_STORM + (1.0 - LEAST_STORM) * run.fault.severity)
        effects.storm[calls] = 1.0 - (1.0 - effects.storm[calls]) * (1.0 - storm)
        effects.patience[place] *= 1.0 + run.intensity(now) * (LONG_QUEUE - 1.0)
