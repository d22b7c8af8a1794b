"""Anomalies become incidents, by time and distance in the dependency graph.

Abnormal entities within `max_distance` edges of each other form a cluster. A cluster opens an
incident when there is enough evidence for it (`dos.incidents.corroborate`); how much is enough
follows from the page budget (`dos.incidents.budget`). What turns abnormal near an open
incident joins it if the incident explains it (`dos.incidents.waves`); a later onset with a root of
its own opens its own incident, so that a second fault is told of and not hidden in the first. Two
incidents of about the same time that grow together are merged into the older one. An incident is
resolved when nothing in it was abnormal for `resolve_after`; where a series fell silent while it
was abnormal and was not heard of since, the recovery is not proven, and the reason says so.

Plain synchronous state machine: `apply` takes what changed and the time, and returns the
incidents that changed. No I/O; the state is written by `dump` and read by `load`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from pydantic import TypeAdapter

from dos.incidents.budget import Budget, starting_level
from dos.incidents.clusters import Near, clusters, touches
from dos.incidents.config import IncidentsConfig
from dos.incidents.corroborate import (
    evidence_of,
    is_relief,
    is_strong,
    keeps_open,
    signal_of,
    title_of,
)
from dos.incidents.waves import (
    Pace,
    Wave,
    dependents,
    is_apart,
    is_explained,
    is_felt,
    owned_by,
    owned_with_load,
    roots_of,
    sinks,
    without_spare,
)
from dos.kit.clock import SECOND, Millis
from dos.model.anomaly import Anomaly
from dos.model.graph import GraphSnapshot
from dos.model.ids import AnomalyId, EntityId, IncidentId, SeriesId, derive_id
from dos.model.incident import Incident, IncidentReason, IncidentState

__all__ = ["Correlator", "IncidentsConfig", "title_of"]

T = TypeVar("T")

_PAST_KEPT = 100
"""Past incidents remembered, so that their samples are not taken for normal."""


@dataclass(slots=True, kw_only=True)
class _State:
    """All that the correlator remembers."""

    active: dict[SeriesId, Anomaly] = field(default_factory=dict)
    worse: dict[SeriesId, Millis] = field(default_factory=dict)
    """When active anomalies became stronger last."""
    incidents: dict[IncidentId, Incident] = field(default_factory=dict)
    """Open ones."""
    waves: dict[IncidentId, Wave] = field(default_factory=dict)
    """Of open incidents."""
    quiet_since: dict[IncidentId, Millis] = field(default_factory=dict)
    """Since when nothing in it is abnormal."""
    silent: dict[SeriesId, AnomalyId] = field(default_factory=dict)
    """Anomalies of open incidents that ended because their series stopped reporting."""
    orphans: list[Anomaly] = field(default_factory=list)
    """Anomalies that nobody will end any more: what they were judged by is lost."""
    past: list[tuple[Millis, Millis]] = field(default_factory=list)
    """Begin and end of resolved incidents, oldest first."""
    trying: dict[AnomalyId, float] = field(default_factory=dict)
    """Best evidence so far of clusters that are no incident (yet), by their first anomaly."""
    proven: dict[IncidentId, float] = field(default_factory=dict)
    """Best evidence so far of open incidents."""
    budget: Budget = field(default_factory=lambda: Budget(level=1.0))


_STATE: TypeAdapter[_State] = TypeAdapter(_State)


class Correlator:
    """Groups anomalies into incidents; see the module's text."""

    def __init__(self, config: IncidentsConfig) -> None:
        self._config = config
        self._state = _State(budget=Budget(level=starting_level(config.page_budget)))

    @property
    def open(self) -> Sequence[Incident]:
        """Open incidents, oldest first."""
        return sorted(self._state.incidents.values(), key=lambda one: (one.opened_at, one.id))

    @property
    def is_busy(self) -> bool:
        """Whether anything is abnormal, open, or still to be ended."""
        state = self._state
        return bool(state.active or state.incidents or state.silent or state.orphans)

    @property
    def active(self) -> Mapping[SeriesId, Anomaly]:
        """Anomalies that last, by series."""
        return self._state.active

    @property
    def past(self) -> Sequence[tuple[Millis, Millis]]:
        """When earlier incidents began and ended."""
        return self._state.past

    def abnormal(self) -> dict[EntityId, list[Anomaly]]:
        """Active anomalies that are or may be trouble, by entity, entities in order of onset."""
        by_entity: dict[EntityId, list[Anomaly]] = {}
        for anomaly in sorted(self._state.active.values(), key=lambda a: (a.started_at, a.id)):
            if is_relief(anomaly):
                continue
            by_entity.setdefault(anomaly.entity, []).append(anomaly)
        return by_entity

    def started(self, anomaly: Anomaly) -> None:
        """A series became abnormal."""
        self.heard(anomaly.series_id)
        self._state.active[anomaly.series_id] = anomaly

    def worsened(self, anomaly: Anomaly) -> bool:
        """Take over how strong a known anomaly has become; False when it is a new one."""
        known = self._state.active.get(anomaly.series_id)
        if known is None:
            return False
        self._state.worse[anomaly.series_id] = anomaly.decided_at
        self._state.active[anomaly.series_id] = replace(
            known,
            direction=anomaly.direction,
            deviation=anomaly.deviation,
            score=anomaly.score,
            observed=anomaly.observed,
            expected=anomaly.expected,
            lower=anomaly.lower,
            upper=anomaly.upper,
        )
        return True

    def ended(self, series_id: SeriesId, at: Millis) -> Anomaly | None:
        """A series is normal again; returns the anomaly that ended, if one was known."""
        anomaly = self._state.active.pop(series_id, None)
        self._state.worse.pop(series_id, None)
        return replace(anomaly, ended_at=at) if anomaly else None

    def silenced(self, series_id: SeriesId, at: Millis) -> Anomaly | None:
        """An abnormal series stopped reporting: like `ended`, but without proof of recovery."""
        ended = self.ended(series_id, at)
        if ended:
            self._state.silent[series_id] = ended.id
        return ended

    @property
    def silent(self) -> Collection[SeriesId]:
        """Series of open incidents that stopped reporting while they were abnormal."""
        return self._state.silent.keys()

    def heard(self, series_id: SeriesId) -> None:
        """A silent series reports again."""
        self._state.silent.pop(series_id, None)

    def update(self, incident: Incident) -> None:
        """Take over what others found out about an open incident (cause, impact, title)."""
        if incident.id in self._state.incidents:
            self._state.incidents[incident.id] = incident

    @property
    def level(self) -> float:
        """Evidence that opens an incident now, as the page budget has it."""
        return self._state.budget.level

    def label(self, incident_id: IncidentId, *, nothing: bool | None) -> bool:
        """Somebody said whether a past incident was for nothing; None takes that back.

        Returns:
            Whether the incident is remembered.
        """
        return self._state.budget.label(incident_id, nothing=nothing)

    def disown(self) -> None:
        """The baseline is lost: what was abnormal by it ends, and is found anew if it lasts."""
        self._state.orphans += self._state.active.values()
        self._state.active = {}

    def end_orphans(self, now: Millis) -> list[Anomaly]:
        """Anomalies of a lost baseline, ended now."""
        orphans, self._state.orphans = self._state.orphans, []
        return [replace(one, ended_at=now) for one in orphans]

    def adopt(
        self, incidents: Iterable[Incident], anomalies: Iterable[Anomaly], now: Millis
    ) -> None:
        """Take charge of what the store holds to be open and this state does not know."""
        known = {one.id for one in (*self._state.active.values(), *self._state.orphans)}
        self._state.orphans += [one for one in anomalies if one.id not in known]
        for incident in incidents:
            if incident.id not in self._state.incidents:
                self._state.incidents[incident.id] = incident
                self._state.quiet_since[incident.id] = now

    def apply(
        self, graph: GraphSnapshot, now: Millis, muted: Collection[EntityId] = ()
    ) -> list[Incident]:
        """Correlate what is abnormal now; returns the incidents that changed, in order.

        Entities in `muted` open and join no incident; one they are part of goes on with them.

        Costs O(1) while nothing is abnormal and no incident is open.
        """
        if not self._state.active and not self._state.incidents:
            return []
        abnormal = self.abnormal()
        if muted:
            held = {entity for one in self.open for entity in one.entities}
            abnormal = {e: a for e, a in abnormal.items() if e not in muted or e in held}
        well = graph.machines - abnormal.keys()
        depth = self._config.max_distance
        near = {entity: graph.around(entity, depth, well=well) for entity in abnormal}
        services = len(graph.entities) - len(graph.machines)
        self._state.budget.advance(self._config.page_budget, max(services, 1), now)
        changed = self._place(graph, abnormal, near, now)
        changed += self._merge(abnormal, near, now)
        self._prove(abnormal, now)
        changed += self._resolve(abnormal, now)
        return changed

    def dump(self) -> bytes:
        """The state as canonical JSON."""
        return _STATE.dump_json(self._state)

    def load(self, data: bytes) -> None:
        """Restore what `dump` wrote."""
        self._state = _STATE.validate_json(data)

    def _place(
        self,
        graph: GraphSnapshot,
        abnormal: Mapping[EntityId, Sequence[Anomaly]],
        near: Near,
        now: Millis,
    ) -> list[Incident]:
        """New anomalies join the incident that explains them, or open one, or wait."""
        known = {one for incident in self.open for one in incident.anomalies}
        fresh = {
            entity: news
            for entity, there in abnormal.items()
            if (news := [anomaly for anomaly in there if anomaly.id not in known])
        }
        changed: list[Incident] = []
        trying: dict[AnomalyId, float] = {}
        for cluster in clusters(list(fresh), near):
            there = {entity: fresh[entity] for entity in cluster}
            hosts = [one for one in self.open if touches(one, cluster, near)]
            hosts.sort(key=lambda one: (self._wave(one).at, one.id), reverse=True)
            own = self._own(there, hosts, abnormal, graph, near, now) if hosts else set(cluster)
            joining = {entity: news for entity, news in there.items() if entity not in own}
            if hosts:
                late = self._wave(hosts[0]).at + self._config.together * SECOND
                joining = without_spare(joining, graph, late)
            if joining:
                changed += self._join(hosts[0], joining, graph, now)
            alone = {entity: news for entity, news in there.items() if entity in own}
            anomalies = [anomaly for news in alone.values() for anomaly in news]
            if not alone or not (
                any(is_strong(anomaly) for anomaly in anomalies)
                or all(is_apart(alone, one.entities, graph) for one in hosts)
            ):
                continue  # near an open incident a second one has to be clear
            first, evidence = anomalies[0].id, evidence_of(anomalies, self._config, now)
            best = max(evidence, self._state.trying.get(first, 0.0))
            if evidence >= self._state.budget.level:
                changed.append(self._open(alone, hosts, graph, now))
                self._state.proven[changed[-1].id] = best
                self._state.trying.pop(first, None)
            else:
                trying[first] = best
        self._give_up(trying, now)
        return changed

    def _give_up(self, trying: dict[AnomalyId, float], now: Millis) -> None:
        """Clusters that are none any more never became an incident."""
        owned = {one for incident in self.open for one in incident.anomalies}
        for first, best in self._state.trying.items():
            if first not in trying and first not in owned:
                self._state.budget.over(best, now)
        self._state.trying = trying

    def _prove(self, abnormal: Mapping[EntityId, Sequence[Anomaly]], now: Millis) -> None:
        """Evidence for open incidents goes on growing."""
        for incident in self.open:
            mine = [
                one for there in owned_by(incident.anomalies, abnormal).values() for one in there
            ]
            if mine:
                evidence = evidence_of(mine, self._config, now)
                best = max(evidence, self._state.proven.get(incident.id, 0.0))
                self._state.proven[incident.id] = best

    def _own(
        self,
        there: Mapping[EntityId, Sequence[Anomaly]],
        hosts: Sequence[Incident],
        abnormal: Mapping[EntityId, Sequence[Anomaly]],
        graph: GraphSnapshot,
        near: Near,
        now: Millis,
    ) -> set[EntityId]:
        """Entities of `there`, a cluster near open incidents, that none of these explains."""
        together = round(self._config.together * SECOND)
        pace = Pace(together=together, worse=self._state.worse, now=now)
        beside = [(self._wave(one), owned_with_load(one, there, abnormal, graph)) for one in hosts]
        felt = roots_of(there, graph)
        roots = [
            entity
            for entity in sinks(graph, felt)
            if not any(is_explained(felt[entity], *one, graph, pace) for one in beside)
        ]
        if not roots:
            return set()
        held = {entity for one in hosts for entity in one.entities}
        unfelt = {
            entity
            for entity in there
            if entity not in felt and entity not in held and any(r in near[entity] for r in roots)
        }
        return dependents(graph, roots, felt) | unfelt

    def _join(
        self,
        incident: Incident,
        news: Mapping[EntityId, Sequence[Anomaly]],
        graph: GraphSnapshot,
        now: Millis,
    ) -> list[Incident]:
        """`news` become part of an open incident; returns it if entities joined."""
        joined = [entity for entity in news if entity not in incident.entities]
        grown = replace(
            incident,
            reason=IncidentReason.GREW,
            updated_at=now,
            entities=(*incident.entities, *joined),
            anomalies=(*incident.anomalies, *(a.id for there in news.values() for a in there)),
        )
        self._state.incidents[incident.id] = grown
        wave = self._wave(incident).showing(a for there in news.values() for a in there)
        limit = wave.at + round(self._config.together * SECOND)
        early = [
            entity
            for entity, there in news.items()
            if any(is_felt(anomaly) and anomaly.started_at <= limit for anomaly in there)
        ]
        self._state.waves[incident.id] = wave.beginning(graph, early) if early else wave
        return [grown] if joined else []

    def _merge(
        self,
        abnormal: Mapping[EntityId, Sequence[Anomaly]],
        near: Near,
        now: Millis,
    ) -> list[Incident]:
        """Incidents that share an abnormal entity become one: the older lives on."""
        changed = []
        survivors: list[Incident] = []
        for incident in self.open:
            mine = [entity for entity in incident.entities if entity in abnormal]
            elder = next(
                (
                    other
                    for other in survivors
                    if self._belongs_together(other, incident)
                    and any(there in near[here] for here in mine for there in other.entities)
                ),
                None,
            )
            if elder is None:
                survivors.append(incident)
                continue
            merged = replace(
                elder,
                reason=IncidentReason.GREW,
                updated_at=now,
                began_at=min(elder.began_at, incident.began_at),
                entities=_union(elder.entities, incident.entities),
                anomalies=_union(elder.anomalies, incident.anomalies),
            )
            survivors[survivors.index(elder)] = merged
            self._state.waves[elder.id] = self._wave(elder).merged(self._wave(incident))
            self._state.incidents[elder.id] = merged
            changed += [self._close(incident, IncidentReason.MERGED, now, elder.id), merged]
        return changed

    def _open(
        self,
        news: Mapping[EntityId, Sequence[Anomaly]],
        hosts: Sequence[Incident],
        graph: GraphSnapshot,
        now: Millis,
    ) -> Incident:
        """A corroborated cluster becomes an incident, apart from those it lies beside."""
        anomalies = [anomaly for there in news.values() for anomaly in there]
        felt = {anomaly.entity for anomaly in anomalies if is_felt(anomaly)}
        first = min(anomalies, key=lambda anomaly: (anomaly.started_at, anomaly.id))
        incident = Incident(
            id=IncidentId(derive_id("inc", now, first.id)),
            state=IncidentState.OPEN,
            reason=IncidentReason.CORROBORATED,
            began_at=first.started_at,
            opened_at=now,
            updated_at=now,
            title=title_of(anomalies),
            entities=tuple(news),
            anomalies=tuple(anomaly.id for anomaly in anomalies),
        )
        self._state.incidents[incident.id] = incident
        self._state.waves[incident.id] = Wave(
            # What nobody feels yet begins wherever it shows: a leak in its machine's memory, too.
            origins=tuple(sorted(sinks(graph, felt) if felt else news)),
            at=max(anomaly.started_at for anomaly in anomalies),
            signals=tuple(sorted({signal_of(anomaly) for anomaly in anomalies})),
            apart=tuple(sorted(one.id for one in hosts)),
        )
        return incident

    def _wave(self, incident: Incident) -> Wave:
        """How `incident` began; of one that was adopted no more is known than it says itself."""
        known = self._state.waves.get(incident.id)
        return known or Wave(origins=incident.entities, at=incident.updated_at)

    def _belongs_together(self, elder: Incident, incident: Incident) -> bool:
        """Whether two incidents that grew together began at about the same time."""
        one, other = self._wave(elder), self._wave(incident)
        if incident.id in one.apart or elder.id in other.apart:
            return False
        return incident.began_at <= one.at + self._config.together * SECOND

    def _resolve(
        self, abnormal: Mapping[EntityId, Sequence[Anomaly]], now: Millis
    ) -> list[Incident]:
        changed = []
        owner = {one: incident.id for incident in self.open for one in incident.anomalies}
        for incident in self.open:
            ill = (
                anomaly
                for entity in incident.entities
                for anomaly in abnormal.get(entity, ())
                if keeps_open(anomaly)
            )
            if any(owner.get(anomaly.id, incident.id) == incident.id for anomaly in ill):
                self._state.quiet_since.pop(incident.id, None)
                continue
            # Not later than now: a clock that was set back must not keep the incident open.
            since = min(self._state.quiet_since.get(incident.id, now), now)
            self._state.quiet_since[incident.id] = since
            if now - since >= self._config.resolve_after * SECOND:
                unproven = not set(incident.anomalies).isdisjoint(self._state.silent.values())
                reason = IncidentReason.STALE if unproven else IncidentReason.RECOVERED
                changed.append(self._close(incident, reason, now))
        return changed

    def _close(
        self,
        incident: Incident,
        reason: IncidentReason,
        now: Millis,
        into: IncidentId | None = None,
    ) -> Incident:
        self._state.incidents.pop(incident.id, None)
        self._state.quiet_since.pop(incident.id, None)
        self._state.waves.pop(incident.id, None)
        best = self._state.proven.pop(incident.id, 0.0)
        if into is None:
            self._state.budget.over(best, now, incident.id)
        open_anomalies = {a for one in self._state.incidents.values() for a in one.anomalies}
        self._state.silent = {s: a for s, a in self._state.silent.items() if a in open_anomalies}
        self._state.past = [*self._state.past, (incident.began_at, now)][-_PAST_KEPT:]
        return replace(
            incident,
            state=IncidentState.RESOLVED,
            reason=reason,
            updated_at=now,
            resolved_at=now,
            merged_into=into,
        )


def _union(first: Sequence[T], second: Sequence[T]) -> tuple[T, ...]:
    return tuple(dict.fromkeys((*first, *second)))
