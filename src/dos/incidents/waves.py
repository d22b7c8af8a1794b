"""Is new trouble near an open incident its doing, or a second trouble?

Trouble spreads in two ways: at once, to whatever is near (callers wait, callees get retries), and
for as long as it lasts to those who depend on what is ill. So an onset is *explained* by an open
incident when it comes within `together` of the incident's last wave, or where the incident began,
or is something the incident showed before (a relapse), or depends on an ill part of it, or gets
more load from it. That the incident's own entities get worse explains nothing: a second trouble
makes them worse too.

An onset that none of this explains has a root of its own: an entity that users suffer from, and
that depends on nothing that explains it. It becomes an incident of its own once corroborated.
Pure functions over values.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from dos.incidents.corroborate import Signal, is_load, signal_of
from dos.kit.clock import Millis
from dos.model.anomaly import Anomaly
from dos.model.graph import GraphSnapshot
from dos.model.ids import AnomalyId, EntityId, IncidentId
from dos.model.telemetry import Role


@dataclass(frozen=True, slots=True, kw_only=True)
class Wave:
    """How an open incident began and what it showed since."""

    origins: tuple[EntityId, ...]
    """Where it began, sorted: entities of the wave that depend on no other of it."""
    at: Millis
    """Last onset of those with which it opened."""
    signals: tuple[Signal, ...] = ()
    """All that was ever abnormal in it, sorted."""
    apart: tuple[IncidentId, ...] = ()
    """Incidents that were open beside it when it opened, and did not explain it."""

    def showing(self, anomalies: Iterable[Anomaly]) -> Wave:
        """With the signals of `anomalies`, too."""
        signals = {*self.signals, *(signal_of(one) for one in anomalies)}
        return replace(self, signals=tuple(sorted(signals)))

    def beginning(self, graph: GraphSnapshot, entities: Iterable[EntityId]) -> Wave:
        """With `entities` in the same wave."""
        return replace(self, origins=tuple(sorted(sinks(graph, {*self.origins, *entities}))))

    def merged(self, other: Wave) -> Wave:
        """The incident of `other` became part of this one."""
        return Wave(
            origins=tuple(sorted({*self.origins, *other.origins})),
            at=max(self.at, other.at),
            signals=tuple(sorted({*self.signals, *other.signals})),
            apart=self.apart,
        )


def sinks(graph: GraphSnapshot, felt: Collection[EntityId]) -> list[EntityId]:
    """Those of `felt` that call no other of it: where trouble that travels upwards began.

    In a cycle all are taken.
    """
    lowest = [e for e in felt if not any(c in felt and c != e for c in graph.callees(e))]
    return lowest or list(felt)


def dependents(
    graph: GraphSnapshot, roots: Iterable[EntityId], among: Collection[EntityId]
) -> set[EntityId]:
    """`roots` and those of `among` that depend on them through others of `among`."""
    reached = set(roots)
    queue = list(reached)
    while queue:
        for caller in graph.callers(queue.pop()):
            if caller in among and caller not in reached:
                reached.add(caller)
                queue.append(caller)
    return reached


def is_felt(anomaly: Anomaly) -> bool:
    """Whether users feel it: what spreads to callers."""
    return anomaly.role.is_golden


def is_explained(
    fresh: Sequence[Anomaly],
    wave: Wave,
    graph: GraphSnapshot,
    owned: Mapping[EntityId, Sequence[Anomaly]],
    together: int,
) -> bool:
    """Whether an open incident explains new trouble at one entity.

    Args:
        fresh: New anomalies of the entity that users feel; at least one.
        wave: Of the incident.
        graph: The dependency graph now.
        owned: Active anomalies of the incident, by entity.
        together: Milliseconds, see `IncidentsConfig`.
    """
    first = min(fresh, key=lambda one: (one.started_at, one.id))
    entity = first.entity
    # Slow sources cannot tell onsets apart that are closer than a few of their samples.
    slack = max(together, 2 * (first.decided_at - first.started_at))
    return (
        first.started_at <= wave.at + slack
        or entity in wave.origins
        or all(signal_of(one) in wave.signals for one in fresh)
        or any(_is_ill(owned.get(callee, ())) for callee in graph.callees(entity))
        or any(is_load(one) for one in owned.get(entity, ()))
    )


def _is_ill(anomalies: Iterable[Anomaly]) -> bool:
    """Whether callers of an entity suffer from what is abnormal there."""
    return any(one.role.is_golden or one.role is Role.SATURATION for one in anomalies)


def owned_by(
    anomalies: Collection[AnomalyId], abnormal: Mapping[EntityId, Sequence[Anomaly]]
) -> dict[EntityId, list[Anomaly]]:
    """Those of `abnormal` that belong to an incident, by entity."""
    mine = set(anomalies)
    kept = {entity: [a for a in there if a.id in mine] for entity, there in abnormal.items()}
    return {entity: there for entity, there in kept.items() if there}
