"""Which entities belong together, by how near they are in the dependency graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dos.model.ids import EntityId
from dos.model.incident import Incident

Near = Mapping[EntityId, Mapping[EntityId, int]]
"""Of each entity, what lies around it, with the distance."""


def touches(
    incident: Incident,
    cluster: Sequence[EntityId],
    near: Near,
) -> bool:
    """Whether an entity of `cluster` is near one that was ever abnormal in `incident`."""
    return any(not near[entity].keys().isdisjoint(incident.entities) for entity in cluster)


def clusters(entities: Sequence[EntityId], near: Near) -> list[list[EntityId]]:
    """Connected groups of `entities` under "is near", in order of their first member."""
    left = list(entities)
    found = []
    while left:
        cluster, queue = [left[0]], [left.pop(0)]
        while queue:
            here = queue.pop()
            for there in [e for e in left if e in near[here]]:
                left.remove(there)
                cluster.append(there)
                queue.append(there)
        found.append(sorted(cluster, key=entities.index))
    return found
