"""Whom a fault can reach along the calls: who depends on what it hits.

Slowness and failures travel up to the callers, all the way to the users. Some kinds of fault also
send more work down. What lies below whoever is reached only sees less traffic, or more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from dos.model.entity import EntityKind
from dos.model.ids import EntityId
from dos.simulate.faults import FaultType
from dos.simulate.world import World

_DOWNWARD = {FaultType.FEATURE_FLAG, FaultType.TRAFFIC_SURGE, FaultType.PLANNED_SURGE}
"""These send more work to all that is below their target."""


def hit(world: World, target: EntityId) -> tuple[EntityId, ...]:
    """The services on which a fault of `target` acts: itself, or all with replicas there."""
    services = {one.id for one in world.services}
    if target in services:
        return (target,)
    machines = {node.id for node in world.nodes if target in {node.id, node.zone}}
    placed = world.placement()
    return tuple(one.id for one in world.services if machines.intersection(placed[one.id]))


def reach(world: World, fault: FaultType, target: EntityId) -> tuple[EntityId, ...]:
    """Services that can become slow or fail for it, the nearest to its target first.

    Cost: O(services + calls).
    """
    first = hit(world, target)
    if fault is FaultType.METRIC_CORRUPTION:
        return first
    callers, callees = _neighbours(world)
    if fault in _DOWNWARD:
        first = _spread(first, callees)
    elif fault is FaultType.CACHE_STAMPEDE:
        stores = {one.id for one in world.services if one.kind is EntityKind.DATABASE}
        using = [caller for cache in first for caller in callers.get(cache, ())]
        behind = [one for caller in using for one in callees.get(caller, ()) if one in stores]
        first = tuple(dict.fromkeys((*first, *behind)))
    return _spread(first, callers)


def below(world: World, services: Iterable[EntityId]) -> tuple[EntityId, ...]:
    """The services and all that they use, directly or not, in order of distance."""
    return _spread(services, _neighbours(world)[1])


def _neighbours(
    world: World,
) -> tuple[Mapping[EntityId, list[EntityId]], Mapping[EntityId, list[EntityId]]]:
    """Callers and callees of each service."""
    callers: dict[EntityId, list[EntityId]] = {}
    callees: dict[EntityId, list[EntityId]] = {}
    for call in world.calls:
        callers.setdefault(call.callee, []).append(call.caller)
        callees.setdefault(call.caller, []).append(call.callee)
    return callers, callees


def _spread(
    first: Iterable[EntityId], neighbours: Mapping[EntityId, list[EntityId]]
) -> tuple[EntityId, ...]:
    """`first` and all that can be got to from there, breadth first."""
    reached = dict.fromkeys(first)
    queue = list(reached)
    for one in queue:  # grows while it is walked
        for other in neighbours.get(one, ()):
            if other not in reached:
                reached[other] = None
                queue.append(other)
    return tuple(reached)
