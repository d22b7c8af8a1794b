"""The dependency graph: evidence for edges, edges, and the immutable snapshot rooms exchange.

An edge points from the caller to the callee. The caller depends on the callee: trouble travels
against the arrow, from callee to caller.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from dos.kit.clock import Millis
from dos.model.entity import Entity
from dos.model.ids import EntityId


class EdgeKind(StrEnum):
    """How the caller uses the callee."""

    CALL = "call"
    MESSAGE = "message"
    READ = "read"
    WRITE = "write"
    HOST = "host"
    """The caller runs on the callee (a node)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeEvidence:
    """One observation that `caller` uses `callee`."""

    caller: EntityId
    callee: EntityId
    kind: EdgeKind = EdgeKind.CALL
    source: str
    """Who says so: `declared`, `simulator`, `prometheus:servicegraph`, …"""
    seen_at: Millis
    confidence: float = 1.0
    """0 to 1: how sure this kind of source is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """An edge with all that is known of where it comes from."""

    caller: EntityId
    callee: EntityId
    kind: EdgeKind = EdgeKind.CALL
    sources: tuple[str, ...] = ()
    """Sorted names of the sources that saw it."""
    confidence: float = 1.0
    first_seen: Millis = Millis(0)
    last_seen: Millis = Millis(0)


@dataclass(frozen=True, kw_only=True)
class GraphSnapshot:
    """The graph at one time. Entities and edges are sorted; equality is by content.

    Adjacency is built once on construction: O(entities + edges).
    """

    version: int = 0
    """Grows by one with every change of the set of entities or edges."""
    at: Millis = Millis(0)
    entities: tuple[Entity, ...] = ()
    edges: tuple[Edge, ...] = ()
    _entity: dict[EntityId, Entity] = field(init=False, repr=False, compare=False)
    _callees: dict[EntityId, list[EntityId]] = field(init=False, repr=False, compare=False)
    _callers: dict[EntityId, list[EntityId]] = field(init=False, repr=False, compare=False)
    _machines: frozenset[EntityId] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        callees: dict[EntityId, list[EntityId]] = {}
        callers: dict[EntityId, list[EntityId]] = {}
        for edge in self.edges:
            if edge.callee not in callees.setdefault(edge.caller, []):
                callees[edge.caller].append(edge.callee)
                callers.setdefault(edge.callee, []).append(edge.caller)
        object.__setattr__(self, "_entity", {entity.id: entity for entity in self.entities})
        object.__setattr__(self, "_callees", callees)
        object.__setattr__(self, "_callers", callers)
        machines = frozenset(edge.callee for edge in self.edges if edge.kind is EdgeKind.HOST)
        object.__setattr__(self, "_machines", machines)

    def entity(self, entity: EntityId) -> Entity | None:
        """The entity of that id, or None."""
        return self._entity.get(entity)

    def callees(self, entity: EntityId) -> Sequence[EntityId]:
        """What `entity` depends on directly."""
        return self._callees.get(entity, ())

    def callers(self, entity: EntityId) -> Sequence[EntityId]:
        """Who depends on `entity` directly."""
        return self._callers.get(entity, ())

    def neighbours(self, entity: EntityId) -> Sequence[EntityId]:
        """Callers and callees."""
        return [*self.callers(entity), *self.callees(entity)]

    def dependents(self, entity: EntityId, depth: int | None = None) -> dict[EntityId, int]:
        """Everybody who depends on `entity`, with the distance in calls; itself at 0."""
        return self._walk(entity, self.callers, depth)

    def dependencies(self, entity: EntityId, depth: int | None = None) -> dict[EntityId, int]:
        """All that `entity` depends on, with the distance in calls; itself at 0."""
        return self._walk(entity, self.callees, depth)

    def around(
        self, entity: EntityId, depth: int, *, well: Container[EntityId] = ()
    ) -> dict[EntityId, int]:
        """Everything within `depth` edges in either direction, with the distance.

        Args:
            entity: Where to start.
            depth: Edges at most.
            well: Machines that are well: what they host has nothing to do with each other, so
                the walk does not go on from them.
        """

        def step(here: EntityId) -> Sequence[EntityId]:
            return () if here in well and here != entity else self.neighbours(here)

        return self._walk(entity, step, depth)

    @property
    def machines(self) -> frozenset[EntityId]:
        """Entities that host others."""
        return self._machines

    def entry_points(self) -> Sequence[EntityId]:
        """Entities that call others and are called by nobody: where users come in."""
        return [e.id for e in self.entities if self.callees(e.id) and not self.callers(e.id)]

    @staticmethod
    def _walk(
        start: EntityId, step: Callable[[EntityId], Sequence[EntityId]], depth: int | None
    ) -> dict[EntityId, int]:
        distance = {start: 0}
        queue = deque([start])
        while queue:
            here = queue.popleft()
            if depth is not None and distance[here] >= depth:
                continue
            for there in step(here):
                if there not in distance:
                    distance[there] = distance[here] + 1
                    queue.append(there)
        return distance
