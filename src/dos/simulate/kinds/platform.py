"""Nodes and zones: what services share without calling each other."""

from __future__ import annotations

from dos.kit.clock import Millis
from dos.model.ids import EntityId
from dos.simulate.faults import FaultRun, FaultType
from dos.simulate.flow import Effects
from dos.simulate.kinds.base import Kind
from dos.simulate.propagation import Physics
from dos.simulate.world import World

MOST_STOLEN = 0.75
"""Share of a node's CPU that a neighbour of full severity takes."""
MOST_SKEW = 300.0
"""Seconds by which a clock runs ahead at full severity."""
MOST_REFUSED = 0.4
"""Ratio of requests refused by services with such a clock: their tokens have expired already."""


class _OfNode(Kind):
    """Hits a machine and with it all that runs there."""

    def targets(self, world: World) -> list[EntityId]:
        """Nodes on which something runs."""
        used = {node for nodes in world.placement().values() for node in nodes}
        return [node.id for node in world.nodes if node.id in used]


class NoisyNeighbour(_OfNode):
    """Somebody else's work takes the machine's CPU."""

    type = FaultType.NOISY_NEIGHBOUR

    def apply(
        self, run: FaultRun, strength: float, effects: Effects, physics: Physics, now: Millis
    ) -> None:
        """Steal CPU."""
        place = physics.node_index[run.fault.target]
        left = (1.0 - effects.node_burn[place]) * (1.0 - MOST_STOLEN * strength)
        effects.node_burn[place] = 1.0 - left


class ClockSkew(_OfNode):
    """A machine's clock runs ahead: for the services on it tokens and signatures have expired."""

    type = FaultType.CLOCK_SKEW

    def apply(
        self, run: FaultRun, strength: float, effects: Effects, physics: Physics, now: Millis
    ) -> None:
        """Skew the clock; refuse requests for it."""
        place = physics.node_index[run.fault.target]
        effects.node_skew[place] += MOST_SKEW * strength
        left = (1.0 - effects.node_errors[place]) * (1.0 - MOST_REFUSED * strength)
        effects.node_errors[place] = 1.0 - left


class ZoneOutage(Kind):
    """A zone goes dark; what can starts elsewhere."""

    type = FaultType.ZONE_OUTAGE
    duration = (180, 420)
    ramp = 0.0
    recovery = 30.0

    def targets(self, world: World) -> list[EntityId]:
        """Zones, as long as there is another one."""
        return [EntityId(zone) for zone in world.zones] if len(world.zones) > 1 else []

    def causes(self, world: World, target: EntityId) -> tuple[EntityId, ...]:
        """The zone, or any machine in it."""
        return (target, *(node.id for node in world.nodes if node.zone == target))

    def apply(
        self, run: FaultRun, strength: float, effects: Effects, physics: Physics, now: Millis
    ) -> None:
        """Take its machines."""
        places = physics.nodes_of(run.fault.target)
        left = (1.0 - effects.node_out[places]) * (1.0 - run.intensity(now))
        effects.node_out[places] = 1.0 - left
