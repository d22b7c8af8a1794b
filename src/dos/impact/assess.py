"""Blast radius: who is affected by an incident. Pure functions over the graph snapshot.

Trouble travels from callee to caller, so the blast radius is the abnormal entities and everybody
who depends on one of them, directly or through others.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Sequence

from dos.impact.base import ImpactConfig
from dos.impact.severity import judge
from dos.model.anomaly import Anomaly
from dos.model.entity import EntityKind
from dos.model.graph import GraphSnapshot
from dos.model.ids import EntityId
from dos.model.impact import Affected, Impact


def assess(
    abnormal: Collection[EntityId],
    root: EntityId | None,
    graph: GraphSnapshot,
    config: ImpactConfig,
    anomalies: Sequence[Anomaly] = (),
) -> Impact:
    """Who is affected when the entities `abnormal` are, and how severe that is.

    Args:
        abnormal: Entities that show anomalies now; those unknown to the graph count too.
        root: The probable root cause, from which distances are counted; None when not known.
        graph: The dependency graph at this time.
        config: Business weights and thresholds.
        anomalies: The active anomalies of these entities. With them the severity knows whether
            users feel it (errors, latency, availability) and says by how much; without them
            every abnormal entity counts as felt.

    Returns:
        The impact; its `score` counts an abnormal entity with its whole weight and one that only
        depends on them with `config.at_risk` of it. Cost: O(entities + edges).
    """
    ill = set(abnormal)
    reached = _downstream_of_trouble(ill, graph)
    distance = _distances(root, ill, reached, graph)
    affected = tuple(
        sorted(
            (
                Affected(
                    entity=one,
                    abnormal=one in ill,
                    distance=distance[one],
                    weight=config.weight(one),
                )
                for one in reached
            ),
            key=lambda one: (not one.abnormal, one.distance, one.entity),
        )
    )
    entry_points = tuple(sorted(reached & _entry_points(graph, config)))
    everybody = {entity.id for entity in graph.entities} | reached
    total = sum(config.weight(one) for one in sorted(everybody))
    lost = sum(one.weight * (1.0 if one.abnormal else config.at_risk) for one in affected)
    score = min(1.0, lost / total) if total > 0 else 0.0
    severity, reasons = judge(
        affected=affected,
        entry_points=entry_points,
        score=score,
        entities=len(everybody),
        anomalies=anomalies,
        shares=config.severity,
    )
    return Impact(
        severity=severity,
        score=score,
        affected=affected,
        entry_points=entry_points,
        reasons=reasons,
    )


def _downstream_of_trouble(ill: Iterable[EntityId], graph: GraphSnapshot) -> set[EntityId]:
    """The abnormal entities and all their dependents."""
    reached = set(ill)
    queue = deque(reached)
    while queue:
        for caller in graph.callers(queue.popleft()):
            if caller not in reached:
                reached.add(caller)
                queue.append(caller)
    return reached


def _distances(
    root: EntityId | None, ill: set[EntityId], reached: set[EntityId], graph: GraphSnapshot
) -> dict[EntityId, int]:
    """Calls between each reached entity and the root, whichever way the calls go.

    Without a root the abnormal entities are at 0. An entity that no path joins to the root is
    as far as nothing in the graph can be: the number of its entities.
    """
    starts = sorted(ill) if root is None else [root]
    distance = dict.fromkeys(starts, 0)
    queue = deque(starts)
    while queue:
        here = queue.popleft()
        for there in graph.neighbours(here):
            if there not in distance:
                distance[there] = distance[here] + 1
                queue.append(there)
    return {one: distance.get(one, len(graph.entities)) for one in reached}


def _entry_points(graph: GraphSnapshot, config: ImpactConfig) -> set[EntityId]:
    gateways = {entity.id for entity in graph.entities if entity.kind is EntityKind.GATEWAY}
    return gateways | set(graph.entry_points()) | {EntityId(one) for one in config.entry_points}
