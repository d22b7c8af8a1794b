"""The live dependency graph.

Data flows one way: evidence → sightings per edge and source → published edges → snapshot. An
edge is published anew only when it appears, when a source joins or leaves it, or when it goes;
each of these makes a `TopologyChanged` and a new version. The snapshot is therefore the sum of
the events so far, and seeing the same edges again costs a dictionary lookup each.

Not thread-safe: owned by the pipeline. Time comes in as `now`; nothing here reads a clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dos.kit.clock import SECOND, Millis
from dos.model.entity import Entity
from dos.model.events import TopologyChanged
from dos.model.graph import Edge, EdgeEvidence, GraphSnapshot
from dos.model.ids import EntityId
from dos.topology.base import TopologyConfig
from dos.topology.merge import (
    CONFIG,
    PERMANENT,
    EdgeKey,
    Sighting,
    edge_of,
    merge_entities,
    overrule,
)
from dos.topology.snapshot import SavedSighting, TopologyState, decode, encode


class Topology:
    """Merges entities and edge evidence of all sources into one graph.

    Args:
        config: Time to live of edges, and what people declare.
    """

    def __init__(self, config: TopologyConfig | None = None) -> None:
        self._config = config or TopologyConfig()
        self._ttl = round(self._config.edge_ttl * SECOND)
        self._declared = {EntityId(one.id): one.entity() for one in self._config.entities}
        self._seen: dict[EdgeKey, dict[str, Sighting]] = {}
        self._edges: dict[EdgeKey, Edge] = {}
        self._entities: dict[EntityId, Entity] = {}
        self._version = 0
        self._changed_at = Millis(0)
        self._sweep_at: int | None = None
        """No sighting can be too old before this time; None while there is none that ages."""
        self._configured = False
        self._snapshot = GraphSnapshot()

    @property
    def version(self) -> int:
        """Grows by one with every change of the graph."""
        return self._version

    def apply(
        self, entities: Iterable[Entity], edges: Iterable[EdgeEvidence], now: Millis
    ) -> TopologyChanged | None:
        """Take in what sources report, and drop what nobody has seen for too long.

        Evidence from the future counts as seen now; evidence older than the time to live, and
        entities that use themselves, are ignored. Cost: O(entities + edges) lookups.

        Returns:
            What changed, or None when the graph stayed as it was.
        """
        touched: set[EdgeKey] = set()
        changed: dict[EntityId, Entity] = {}
        if not self._configured:
            self._apply_config(now, touched, changed)
        for entity in entities:
            self._merge_entity(entity, changed)
        for evidence in edges:
            self._see(evidence, now, touched)
        self._sweep(now, touched)
        return self._publish(touched, changed, now)

    def ensure(self, entities: Iterable[EntityId], now: Millis) -> TopologyChanged | None:
        """Make nodes of entities that only series mention so far."""
        missing = [Entity(id=one) for one in entities if one not in self._entities]
        return self.apply(missing, (), now) if missing else None

    def snapshot(self, now: Millis) -> GraphSnapshot:
        """The graph as of its last change. O(1) unless it changed since the last call.

        `last_seen` of an edge is as of the time it was published; `sightings` has the newest.

        Args:
            now: Time of the call; the snapshot is stamped with the time of the last change
                instead, so that it is the same value until something changes.
        """
        del now
        if self._snapshot.version != self._version:
            self._snapshot = GraphSnapshot(
                version=self._version,
                at=self._changed_at,
                entities=tuple(self._entities[one] for one in sorted(self._entities)),
                edges=tuple(self._edges[key] for key in sorted(self._edges)),
            )
        return self._snapshot

    def sightings(self, caller: EntityId, callee: EntityId) -> Sequence[EdgeEvidence]:
        """Who says that `caller` uses `callee`, with the newest time each saw it."""
        return [
            EdgeEvidence(
                caller=caller,
                callee=callee,
                kind=key[2],
                source=source,
                seen_at=Millis(seen.last_seen),
                confidence=seen.confidence,
            )
            for key in sorted(self._seen)
            if key[:2] == (caller, callee)
            for source, seen in sorted(self._seen[key].items())
        ]

    def dump(self) -> bytes:
        """The whole state, exactly; see `load`."""
        return encode(
            TopologyState(
                version=self._version,
                changed_at=self._changed_at,
                sightings=tuple(
                    SavedSighting(
                        caller=key[0],
                        callee=key[1],
                        kind=key[2],
                        source=source,
                        first_seen=Millis(seen.first_seen),
                        last_seen=Millis(seen.last_seen),
                        confidence=seen.confidence,
                    )
                    for key in sorted(self._seen)
                    for source, seen in sorted(self._seen[key].items())
                ),
                edges=tuple(self._edges[key] for key in sorted(self._edges)),
                entities=tuple(self._entities[one] for one in sorted(self._entities)),
            )
        )

    def load(self, data: bytes) -> None:
        """Become what `dump` wrote; the next `apply` brings in what the configuration changed.

        Raises:
            CorruptDataError: `data` was not written by `dump`.
        """
        state = decode(data)
        self._seen = {}
        for one in state.sightings:
            self._seen.setdefault((one.caller, one.callee, one.kind), {})[one.source] = Sighting(
                one.first_seen, one.last_seen, one.confidence
            )
        self._edges = {(edge.caller, edge.callee, edge.kind): edge for edge in state.edges}
        self._entities = {entity.id: entity for entity in state.entities}
        self._version = state.version
        self._changed_at = state.changed_at
        self._sweep_at = 0
        self._configured = False
        self._snapshot = GraphSnapshot()

    def _apply_config(
        self, now: Millis, touched: set[EdgeKey], changed: dict[EntityId, Entity]
    ) -> None:
        """Bring the graph in line with the configuration, once after start and after `load`."""
        declared: set[EdgeKey] = {
            (EntityId(one.caller), EntityId(one.callee), one.kind) for one in self._config.declared
        }
        for key in declared - self._seen.keys():
            self._seen[key] = {}
        for key, sources in self._seen.items():
            if key in declared and CONFIG not in sources:
                sources[CONFIG] = Sighting(now, now, 1.0)
                touched.add(key)
            elif key not in declared and CONFIG in sources:
                del sources[CONFIG]
                touched.add(key)
        for entity in self._declared.values():
            self._merge_entity(entity, changed)
        self._configured = True

    def _merge_entity(self, news: Entity, changed: dict[EntityId, Entity]) -> None:
        known = self._entities.get(news.id)
        if known == news:
            return
        merged = news if known is None else merge_entities(known, news)
        declared = self._declared.get(news.id)
        if declared is not None:
            merged = overrule(merged, declared)
        if merged != known:
            self._entities[news.id] = changed[news.id] = merged

    def _see(self, evidence: EdgeEvidence, now: Millis, touched: set[EdgeKey]) -> None:
        if evidence.caller == evidence.callee:
            return
        seen_at = min(evidence.seen_at, now)
        ages = evidence.source not in PERMANENT
        if ages and now - seen_at > self._ttl:
            return
        key = (evidence.caller, evidence.callee, evidence.kind)
        sources = self._seen.setdefault(key, {})
        sighting = sources.get(evidence.source)
        if sighting is None:
            sources[evidence.source] = Sighting(seen_at, seen_at, evidence.confidence)
            touched.add(key)
            if ages:
                due = seen_at + self._ttl
                self._sweep_at = due if self._sweep_at is None else min(self._sweep_at, due)
        elif sighting.add(seen_at, evidence.confidence):
            touched.add(key)

    def _sweep(self, now: Millis, touched: set[EdgeKey]) -> None:
        """Forget sightings that are too old; returns at once when none can be."""
        if self._sweep_at is None or now <= self._sweep_at:
            return
        oldest: int | None = None
        for key, sources in self._seen.items():
            for source, sighting in list(sources.items()):
                if source in PERMANENT:
                    continue
                if now - sighting.last_seen > self._ttl:
                    del sources[source]
                    touched.add(key)
                elif oldest is None or sighting.last_seen < oldest:
                    oldest = sighting.last_seen
        self._sweep_at = None if oldest is None else oldest + self._ttl

    def _publish(
        self, touched: set[EdgeKey], changed: dict[EntityId, Entity], now: Millis
    ) -> TopologyChanged | None:
        fresh: list[Edge] = []
        gone: list[Edge] = []
        for key in sorted(touched):
            sources = self._seen[key]
            if sources:
                edge = self._edges[key] = edge_of(key, sources)
                fresh.append(edge)
                for end in (edge.caller, edge.callee):
                    if end not in self._entities:
                        self._merge_entity(Entity(id=end), changed)
            else:
                del self._seen[key]
                published = self._edges.pop(key, None)
                if published is not None:
                    gone.append(published)
        if not (fresh or gone or changed):
            return None
        self._version += 1
        self._changed_at = now
        return TopologyChanged(
            version=self._version,
            entities=tuple(changed[one] for one in sorted(changed)),
            edges=tuple(fresh),
            gone=tuple(gone),
        )
