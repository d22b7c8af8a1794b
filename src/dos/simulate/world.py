"""What there is to simulate: services, who calls whom, and the nodes and zones they run on.

A `World` is plain data, sized by intent: an author states how busy a service is on an average
day (`cpu`) and how long one request takes it (`service_time`); its capacity follows from the
demand that reaches it. Edges form a DAG, so load can be followed from the entry points down and
latency and errors from the leaves up.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from dos.kit.errors import ConfigError
from dos.model.entity import Entity, EntityKind
from dos.model.graph import EdgeKind
from dos.model.ids import EntityId

PODS_PER_NODE = 12
"""Replicas for which there is one node, where a world does not state its nodes."""
ZONES = ("zone-a", "zone-b", "zone-c")
"""Zones of a world that does not state its nodes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Autoscaler:
    """Horizontal scaling by CPU, as Kubernetes' HorizontalPodAutoscaler does it."""

    at_least: int
    at_most: int
    target: float = 0.6
    """CPU ratio it aims at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedNode:
    """A machine in a zone."""

    name: str
    zone: str

    @property
    def id(self) -> EntityId:
        """Its name."""
        return EntityId(self.name)

    def entity(self) -> Entity:
        """As a node of the dependency graph."""
        where = (("cloud.availability_zone", self.zone),)
        return Entity(id=self.id, kind=EntityKind.NODE, name=self.name, attributes=where)


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedService:
    """One workload, datastore, queue or third party."""

    name: str
    kind: EntityKind = EntityKind.SERVICE
    namespace: str = ""
    replicas: int = 2
    cpu: float = 0.35
    """Ratio of its capacity in use at the average demand."""
    service_time: float = 0.02
    """Mean seconds of its own work for one request, unloaded and without callees."""
    dispersion: float = 0.7
    """Coefficient of variation of the service time."""
    memory: float = 0.45
    """Ratio of the memory limit in use just after a garbage collection."""
    error_rate: float = 0.001
    """Ratio of requests that fail on a good day for reasons of its own."""
    version: str = "1.0.0"
    """What runs before the first deployment."""
    disk: float = 0.0
    """Ratio of its volume in use; 0 where it has none."""
    autoscale: Autoscaler | None = None
    zones: tuple[str, ...] = ()
    """Zones its replicas are spread over; all of the world's where empty."""

    @property
    def id(self) -> EntityId:
        """`name`, or `namespace/name` where there is a namespace."""
        return EntityId(f"{self.namespace}/{self.name}" if self.namespace else self.name)

    def entity(self) -> Entity:
        """As a node of the dependency graph."""
        return Entity(id=self.id, kind=self.kind, name=self.name, namespace=self.namespace)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """An edge: `caller` uses `callee` while it handles a request."""

    caller: EntityId
    callee: EntityId
    kind: EdgeKind = EdgeKind.CALL
    per_request: float = 1.0
    """Calls of the callee for one request of the caller, on average."""
    timeout: float = 1.0
    """Seconds until the caller gives up."""
    retries: int = 1
    """Further tries after a failed call."""
    retry_budget: float = 1.0
    """Retries per call at most, as a ratio (Linkerd and Finagle call it the same)."""
    criticality: float = 1.0
    """Share of finally failed calls that fail the caller's request; below 1 there is a fallback."""
    breaker: bool = True
    """Whether the caller stops calling a callee that keeps failing."""


@dataclass(frozen=True, kw_only=True)
class World:
    """Services, calls, nodes and where users come in; checked on construction.

    Raises:
        ConfigError: Two services or nodes of one name, a call of an unknown service, a service in
            an unknown zone, the same call twice, messages without a queue, or a cycle.
    """

    name: str
    services: tuple[SimulatedService, ...]
    calls: tuple[Call, ...]
    entries: Mapping[EntityId, float]
    """Requests per second that users bring to each entry point, averaged over the week."""
    nodes: tuple[SimulatedNode, ...] = ()
    """What the replicas run on; where none is given, one for each dozen of replicas."""
    _level: dict[EntityId, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.nodes:
            object.__setattr__(self, "nodes", _nodes_for(self.name, self.services))
        _check_names(self)
        _check_calls(self)
        object.__setattr__(self, "_level", self._levels())

    def level(self, service: EntityId) -> int:
        """The longest way from an entry point in calls; every callee is below its callers."""
        return self._level[service]

    def service(self, service: EntityId) -> SimulatedService:
        """The service of that id.

        Raises:
            ConfigError: There is none.
        """
        for one in self.services:
            if one.id == service:
                return one
        msg = f"World {self.name!r} has no service {service!r}."
        names = ", ".join(one.id for one in self.services[:20])
        raise ConfigError(msg, remedy=f"Use one of: {names}.")

    @property
    def zones(self) -> tuple[str, ...]:
        """Names of the zones, sorted."""
        return tuple(sorted({node.zone for node in self.nodes}))

    def placement(self) -> dict[EntityId, tuple[EntityId, ...]]:
        """The node of each replica of each service: spread over its zones, then the emptiest node.

        Third parties run elsewhere and have none.
        """
        emptiest = {
            zone: sorted((0, node.id) for node in self.nodes if node.zone == zone)
            for zone in self.zones
        }
        placed: dict[EntityId, tuple[EntityId, ...]] = {}
        turn = 0
        everywhere = self.zones
        for service in self.services:
            chosen = []
            zones = service.zones or everywhere
            for _ in range(0 if service.kind is EntityKind.EXTERNAL else service.replicas):
                heap = emptiest[zones[turn % len(zones)]]
                turn += 1
                load, node = heap[0]
                heapq.heapreplace(heap, (load + 1, node))
                chosen.append(node)
            placed[service.id] = tuple(chosen)
        return placed

    def demand(self) -> dict[EntityId, float]:
        """Requests per second that reach each service on average, all going well."""
        rate = {service.id: self.entries.get(service.id, 0.0) for service in self.services}
        for call in sorted(self.calls, key=lambda call: self._level[call.caller]):
            rate[call.callee] += rate[call.caller] * call.per_request
        return rate

    def _levels(self) -> dict[EntityId, int]:
        waiting = {service.id: 0 for service in self.services}
        callees: dict[EntityId, list[EntityId]] = {service: [] for service in waiting}
        for call in self.calls:
            waiting[call.callee] += 1
            callees[call.caller].append(call.callee)
        level = {service: 0 for service, callers in waiting.items() if callers == 0}
        ready = list(level)
        for service in ready:  # grows while it is walked: Kahn's topological order
            for callee in callees[service]:
                level[callee] = max(level.get(callee, 0), level[service] + 1)
                waiting[callee] -= 1
                if waiting[callee] == 0:
                    ready.append(callee)
        if len(ready) < len(self.services):
            stuck = {service for service, callers in waiting.items() if callers > 0}
            msg = (
                f"World {self.name!r} has a cycle of calls through {', '.join(self._cycle(stuck))}."
            )
            raise ConfigError(msg, remedy="Remove one of the calls: calls must form a DAG.")
        return level

    def _cycle(self, stuck: set[EntityId]) -> list[EntityId]:
        """Services that call each other in a circle, in that order.

        Args:
            stuck: Services each of which has a caller among them.
        """
        above = {call.callee: call.caller for call in self.calls if call.caller in stuck}
        seen: list[EntityId] = []
        here = min(stuck)
        while here not in seen:
            seen.append(here)
            here = above[here]
        circle = seen[seen.index(here) :][::-1]
        first = circle.index(min(circle))
        return circle[first:] + circle[:first]


def _check_names(world: World) -> None:
    """Every service and node has a name of its own, and every name that is used is known."""
    known = {service.id for service in world.services}
    if len(known) != len(world.services):
        msg = f"World {world.name!r} has two services of the same name."
        raise ConfigError(msg, remedy="Give each service of a namespace its own name.")
    named = {*world.entries, *(c.caller for c in world.calls), *(c.callee for c in world.calls)}
    for name in sorted(named - known):
        msg = f"World {world.name!r} calls a service {name!r} that it does not have."
        raise ConfigError(msg, remedy=f"Use one of: {', '.join(sorted(known))}.")
    machines = {node.id for node in world.nodes}
    if len(machines) != len(world.nodes) or machines & known:
        msg = f"World {world.name!r} has two nodes, or a node and a service, of the same name."
        raise ConfigError(msg, remedy="Give each node its own name.")
    zones = set(world.zones)
    for service in world.services:
        for zone in service.zones:
            if zone not in zones:
                msg = f"{service.id} runs in zone {zone!r}, in which there is no node."
                raise ConfigError(msg, remedy=f"Use some of: {', '.join(sorted(zones))}.")


def _check_calls(world: World) -> None:
    """None is there twice; messages go into a queue or come out of one, and nothing else does."""
    if len({(call.caller, call.callee) for call in world.calls}) != len(world.calls):
        pairs = Counter((call.caller, call.callee) for call in world.calls)
        caller, callee = pairs.most_common(1)[0][0]
        msg = f"World {world.name!r} has two calls of {callee} by {caller}."
        raise ConfigError(msg, remedy="Make it one: per_request adds up.")
    queues = {service.id for service in world.services if service.kind is EntityKind.QUEUE}
    for call in world.calls:
        message, arrow = call.kind is EdgeKind.MESSAGE, f"{call.caller} calls {call.callee}"
        if message and not {call.caller, call.callee} & queues:
            msg = f"{arrow} with messages, but neither is a queue."
            raise ConfigError(msg, remedy="Put a service of kind queue between the two.")
        if call.caller in queues and not message:
            msg = f"{arrow}, but a queue does not call: it hands messages on."
            raise ConfigError(msg, remedy="Make it an edge of kind message.")


def _nodes_for(world: str, services: tuple[SimulatedService, ...]) -> tuple[SimulatedNode, ...]:
    pods = sum(one.replicas for one in services if one.kind is not EntityKind.EXTERNAL)
    count = max(len(ZONES), math.ceil(pods / PODS_PER_NODE))
    zones = [ZONES[number % len(ZONES)] for number in range(count)]
    # Machines of two systems are not the same machines.
    return tuple(
        SimulatedNode(name=f"{world}-node-{zone[-1]}{1 + number // len(ZONES)}", zone=zone)
        for number, zone in enumerate(zones)
    )
