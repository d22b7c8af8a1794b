"""How observations of one edge, and of one entity, are combined.

An edge keeps one `Sighting` per source. Combining takes the earliest first sight, the latest
last sight and the highest confidence, and the sources' confidences are joined by a noisy-or, so
that neither the order nor the grouping of the evidence matters.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from dos.kit.clock import Millis
from dos.model.entity import Entity, EntityKind
from dos.model.graph import Edge, EdgeKind
from dos.model.ids import EntityId

EdgeKey = tuple[EntityId, EntityId, EdgeKind]
"""Caller, callee and kind: what makes an edge the same edge."""

CONFIG = "config"
"""The source of edges declared in the configuration."""

PERMANENT = frozenset({CONFIG, "declared"})
"""Sources whose edges do not age: people said so, and they say it once."""

_PRECISION: dict[EntityKind, int] = {
    EntityKind.UNKNOWN: 0,
    EntityKind.SERVICE: 1,
    EntityKind.EXTERNAL: 2,
    EntityKind.GATEWAY: 3,
    EntityKind.QUEUE: 4,
    EntityKind.CACHE: 5,
    EntityKind.DATABASE: 6,
    EntityKind.NODE: 7,
}
"""The more precise kind wins: every workload looks like a service to somebody."""


@dataclass(slots=True)
class Sighting:
    """What one source knows of one edge. Mutable: it is touched on every tick."""

    first_seen: int
    last_seen: int
    confidence: float

    def add(self, seen_at: int, confidence: float) -> bool:
        """Take in one more observation; True when it tells more than "still there"."""
        self.last_seen = max(self.last_seen, seen_at)
        if seen_at >= self.first_seen and confidence <= self.confidence:
            return False
        self.first_seen = min(self.first_seen, seen_at)
        self.confidence = max(self.confidence, confidence)
        return True


def noisy_or(confidences: Mapping[str, float]) -> float:
    """Probability that at least one source is right, if they err independently.

    `1 - prod(1 - c)` (Pearl, Probabilistic Reasoning in Intelligent Systems, 1988, §4.3.2).
    Multiplied in order of the source's name, so that rounding does not depend on arrival.
    """
    return 1.0 - prod(1.0 - confidences[source] for source in sorted(confidences))


def edge_of(key: EdgeKey, sightings: Mapping[str, Sighting]) -> Edge:
    """The edge that `sightings` (at least one) add up to."""
    caller, callee, kind = key
    return Edge(
        caller=caller,
        callee=callee,
        kind=kind,
        sources=tuple(sorted(sightings)),
        confidence=noisy_or({source: seen.confidence for source, seen in sightings.items()}),
        first_seen=Millis(min(seen.first_seen for seen in sightings.values())),
        last_seen=Millis(max(seen.last_seen for seen in sightings.values())),
    )


def merge_entities(known: Entity, news: Entity) -> Entity:
    """`known` completed by `news`.

    The more precise kind wins, a name or namespace once known stays, and an attribute takes its
    newest value (`service.version` changes with every deploy).
    """
    if news.attributes:
        attributes = tuple(sorted((dict(known.attributes) | dict(news.attributes)).items()))
    else:
        attributes = known.attributes
    return Entity(
        id=known.id,
        kind=max(known.kind, news.kind, key=_PRECISION.__getitem__),
        name=known.name or news.name,
        namespace=known.namespace or news.namespace,
        attributes=attributes,
    )


def overrule(entity: Entity, declared: Entity) -> Entity:
    """`entity` with everything that the configuration says about it put on top."""
    return Entity(
        id=entity.id,
        kind=entity.kind if declared.kind is EntityKind.UNKNOWN else declared.kind,
        name=declared.name or entity.name,
        namespace=declared.namespace or entity.namespace,
        attributes=tuple(sorted((dict(entity.attributes) | dict(declared.attributes)).items())),
    )
