"""Is new trouble near an open incident its doing, or a second trouble?

Trouble spreads in two ways: at once, to whatever is near (callers wait, callees get retries), and
to those who depend on what is ill, when it falls ill or gets worse. So an onset is *explained* by
an open incident when it comes within `together` of the incident's first wave, or where the
incident began, or is something the incident showed before (a relapse), or follows a turn for the
worse in what the entity calls, or comes of load that the incident brought. A weak one that lasts
is explained by any ill callee: it crossed its threshold late.

An onset that none of this explains has a root of its own. It becomes an incident of its own once
there is enough evidence. Pure functions over values.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from dos.incidents.corroborate import Signal, is_load, is_spare, is_strong, signal_of, strength_of
from dos.kit.clock import Millis
from dos.model.anomaly import Anomaly
from dos.model.graph import GraphSnapshot
from dos.model.ids import AnomalyId, EntityId, IncidentId, SeriesId
from dos.model.incident import Incident
from dos.model.telemetry import Role

_FAR = 2.0
"""Times as strong as what is ill below: it has to have a cause of its own."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """What is early and what is late."""

    together: int
    """Milliseconds, see `IncidentsConfig`."""
    worse: Mapping[SeriesId, Millis]
    """When active anomalies became stronger last."""
    now: Millis


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


def roots_of(
    there: Mapping[EntityId, Sequence[Anomaly]], graph: GraphSnapshot
) -> dict[EntityId, list[Anomaly]]:
    """What in `there` can be where a trouble began, by entity.

    What users feel; a resource that is clearly short without more requests; and more requests
    where users come in, since nothing behind can bring them.
    """
    found = {}
    for entity, news in there.items():
        busy = any(is_load(one) for one in news)
        entry = not graph.callers(entity)
        mine = [
            one
            for one in news
            if is_felt(one)
            or (one.role is Role.SATURATION and not busy and is_strong(one))
            or (is_load(one) and entry and is_strong(one))
        ]
        if mine:
            found[entity] = mine
    return found


def is_explained(
    fresh: Sequence[Anomaly],
    wave: Wave,
    owned: Mapping[EntityId, Sequence[Anomaly]],
    graph: GraphSnapshot,
    pace: Pace,
) -> bool:
    """Whether an open incident explains new trouble at one entity.

    Args:
        fresh: New anomalies of the entity that can be where a trouble began; at least one.
        wave: Of the incident.
        owned: Active anomalies of the incident, by entity.
        graph: The dependency graph now.
        pace: What is early and what is late.
    """
    first = min(fresh, key=lambda one: (one.started_at, one.id))
    entity = first.entity
    # Slow sources cannot tell onsets apart that are closer than a few of their samples.
    slack = max(pace.together, 2 * (first.decided_at - first.started_at))
    if (
        first.started_at <= wave.at + slack
        or entity in wave.origins
        or all(signal_of(one) in wave.signals for one in fresh)
    ):
        return True
    if all(is_load(one) for one in fresh):
        return False
    if any(is_load(one) for one in owned.get(entity, ())):
        return True
    pushes = [one for c in graph.callers(entity) for one in owned.get(c, ()) if is_load(one)]
    if any(abs(first.started_at - _moved(one, pace)) <= slack for one in pushes):
        return True
    ill = _ill_below(entity, wave, graph, owned)
    return bool(ill) and _follows(fresh, ill, slack, pace)


def _follows(fresh: Sequence[Anomaly], ill: Sequence[Anomaly], slack: int, pace: Pace) -> bool:
    """Whether new trouble at an entity comes of what is `ill` in that which it uses."""
    felt = [one for one in fresh if is_felt(one)]
    if felt and {one.role for one in felt} == {Role.ERRORS} <= {one.role for one in ill}:
        return True
    onset, strong = min(one.started_at for one in fresh), any(is_strong(one) for one in fresh)
    if not strong and pace.now - onset >= pace.together:
        return True
    worst = max((strength_of(one) for one in felt if is_strong(one)), default=0.0)
    if worst > _FAR * max(strength_of(one) for one in ill):
        return False
    return onset <= max(_moved(one, pace) for one in ill) + slack


def _moved(anomaly: Anomaly, pace: Pace) -> Millis:
    """When it began or became stronger last."""
    return pace.worse.get(anomaly.series_id, anomaly.started_at)


def _ill_below(
    entity: EntityId,
    wave: Wave,
    graph: GraphSnapshot,
    owned: Mapping[EntityId, Sequence[Anomaly]],
) -> list[Anomaly]:
    """What is ill in that which `entity` uses.

    A machine that merely works harder since the incident began may do so for `entity` itself, and
    does not explain what is wrong with it.
    """
    return [
        one
        for callee in graph.callees(entity)
        for one in owned.get(callee, ())
        if _is_ill(one)
        and (callee not in graph.machines or callee in wave.origins or is_strong(one))
    ]


def without_spare(
    news: Mapping[EntityId, list[Anomaly]], graph: GraphSnapshot, late: float
) -> dict[EntityId, list[Anomaly]]:
    """`news` without machines that work a little harder since after `late`, ms, and could more.

    That is what machines are for while people repeat what failed; it accuses nobody.
    """
    return {
        entity: there
        for entity, there in news.items()
        if entity not in graph.machines
        or any(one.started_at <= late or is_strong(one) or not is_spare(one) for one in there)
    }


def is_apart(
    entities: Collection[EntityId], held: Collection[EntityId], graph: GraphSnapshot
) -> bool:
    """Whether no service of `entities` is one of `held`, calls one or is called by one.

    Machines do not count: what shares one need not have anything to do with each other.
    """
    services = set(entities) - graph.machines
    around = {near for entity in services for near in (entity, *graph.neighbours(entity))}
    return bool(services) and (around - graph.machines).isdisjoint(held)


def _is_ill(anomaly: Anomaly) -> bool:
    """Whether callers of an entity suffer from what is abnormal there."""
    return anomaly.role.is_golden or anomaly.role is Role.SATURATION


def owned_by(
    anomalies: Collection[AnomalyId], abnormal: Mapping[EntityId, Sequence[Anomaly]]
) -> dict[EntityId, list[Anomaly]]:
    """Those of `abnormal` that belong to an incident, by entity."""
    mine = set(anomalies)
    kept = {entity: [a for a in there if a.id in mine] for entity, there in abnormal.items()}
    return {entity: there for entity, there in kept.items() if there}


def owned_with_load(
    incident: Incident,
    there: Mapping[EntityId, Sequence[Anomaly]],
    abnormal: Mapping[EntityId, Sequence[Anomaly]],
    graph: GraphSnapshot,
) -> dict[EntityId, list[Anomaly]]:
    """`owned_by` of an incident; more requests within it are its doing from the first on.

    Args:
        incident: An open one.
        there: New anomalies, which no incident owns yet.
        abnormal: All that is abnormal.
        graph: The dependency graph now. More requests where users come in are nobody's doing.
    """
    within = [entity for entity in incident.entities if graph.callers(entity)]
    loads = {one.id for entity in within for one in there.get(entity, ()) if is_load(one)}
    return owned_by({*incident.anomalies, *loads}, abnormal)
