"""Anomalies become incidents, by time and distance in the dependency graph.

Abnormal entities within `max_distance` edges of each other form a cluster. A cluster opens an
incident when it is corroborated: two different signals, one of them felt by users (errors,
latency, availability); or one strong signal that lasts and is felt, or runs out of a resource,
or loses its traffic. More traffic is no trouble however many series show it. Entities that turn
abnormal near an open incident join it. Two incidents that grow together are merged into the older
one. An incident is resolved when nothing in it was abnormal for `resolve_after`; where a series
fell silent while it was abnormal and was not heard of since, the recovery is not proven, and the
reason says so.

Plain synchronous state machine: `apply` takes what changed and the time, and returns the
incidents that changed. No I/O; the state is written by `dump` and read by `load`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from dos.kit.clock import SECOND, Millis
from dos.kit.duration import Duration
from dos.model.anomaly import Anomaly, Direction
from dos.model.graph import GraphSnapshot
from dos.model.ids import AnomalyId, EntityId, IncidentId, SeriesId, derive_id
from dos.model.incident import Incident, IncidentReason, IncidentState
from dos.model.telemetry import Role

T = TypeVar("T")

_ALONE_STRENGTH = 2.0
"""A signal weaker than this many times its threshold never is an incident by itself."""
_PAST_KEPT = 100
"""Past incidents remembered, so that their samples are not taken for normal."""


class IncidentsConfig(BaseModel):
    """When anomalies are an incident."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_distance: int = Field(default=2, ge=0, le=10)
    """Abnormal entities this many calls apart, or fewer, belong together."""
    resolve_after: Duration = 30.0
    """An incident is over when nothing in it was abnormal for this long."""
    alone_after: Duration = 60.0
    """How long a signal at twice its threshold has to last to be an incident without a second
    one; the stronger it is, the shorter."""
    stale_after: Duration = 300.0
    """An abnormal series without samples for this long no longer keeps an incident open."""


@dataclass(slots=True, kw_only=True)
class _State:
    """All that the correlator remembers."""

    active: dict[SeriesId, Anomaly] = field(default_factory=dict)
    incidents: dict[IncidentId, Incident] = field(default_factory=dict)
    """Open ones."""
    quiet_since: dict[IncidentId, Millis] = field(default_factory=dict)
    """Since when nothing in it is abnormal."""
    silent: dict[SeriesId, AnomalyId] = field(default_factory=dict)
    """Anomalies of open incidents that ended because their series stopped reporting."""
    orphans: list[Anomaly] = field(default_factory=list)
    """Anomalies that nobody will end any more: what they were judged by is lost."""
    past: list[tuple[Millis, Millis]] = field(default_factory=list)
    """Begin and end of resolved incidents, oldest first."""


_STATE: TypeAdapter[_State] = TypeAdapter(_State)


class Correlator:
    """Groups anomalies into incidents; see the module's text."""

    def __init__(self, config: IncidentsConfig) -> None:
        self._config = config
        self._state = _State()

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
        """Active anomalies by entity, entities in order of onset."""
        by_entity: dict[EntityId, list[Anomaly]] = {}
        for anomaly in sorted(self._state.active.values(), key=lambda a: (a.started_at, a.id)):
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
        changed = self._join(abnormal, near, now)
        changed += self._merge(abnormal, near, now)
        changed += self._open(abnormal, near, now)
        changed += self._resolve(abnormal, now)
        return changed

    def dump(self) -> bytes:
        """The state as canonical JSON."""
        return _STATE.dump_json(self._state)

    def load(self, data: bytes) -> None:
        """Restore what `dump` wrote."""
        self._state = _STATE.validate_json(data)

    def _join(
        self,
        abnormal: Mapping[EntityId, Sequence[Anomaly]],
        near: Mapping[EntityId, Mapping[EntityId, int]],
        now: Millis,
    ) -> list[Incident]:
        """Abnormal entities near an open incident become part of it."""
        changed = []
        for incident in self.open:
            anomalies = set(incident.anomalies)
            joined = _joined(incident.entities, near)
            news = [
                anomaly.id
                for entity in (*incident.entities, *joined)
                for anomaly in abnormal.get(entity, ())
                if anomaly.id not in anomalies
            ]
            if not joined and not news:
                continue
            grown = replace(
                incident,
                reason=IncidentReason.GREW,
                updated_at=now,
                entities=(*incident.entities, *joined),
                anomalies=(*incident.anomalies, *news),
            )
            self._state.incidents[incident.id] = grown
            if joined:
                changed.append(grown)
        return changed

    def _merge(
        self,
        abnormal: Mapping[EntityId, Sequence[Anomaly]],
        near: Mapping[EntityId, Mapping[EntityId, int]],
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
                    if any(there in near[here] for here in mine for there in other.entities)
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
            self._state.incidents[elder.id] = merged
            changed += [self._close(incident, IncidentReason.MERGED, now, elder.id), merged]
        return changed

    def _open(
        self,
        abnormal: Mapping[EntityId, Sequence[Anomaly]],
        near: Mapping[EntityId, Mapping[EntityId, int]],
        now: Millis,
    ) -> list[Incident]:
        """Clusters of abnormal entities outside any incident that are corroborated."""
        taken = {entity for one in self._state.incidents.values() for entity in one.entities}
        changed = []
        for cluster in _clusters([e for e in abnormal if e not in taken], near):
            anomalies = [anomaly for entity in cluster for anomaly in abnormal[entity]]
            if not self._corroborated(anomalies, now):
                continue
            first = min(anomalies, key=lambda anomaly: (anomaly.started_at, anomaly.id))
            incident = Incident(
                id=IncidentId(derive_id("inc", now, first.id)),
                state=IncidentState.OPEN,
                reason=IncidentReason.CORROBORATED,
                began_at=first.started_at,
                opened_at=now,
                updated_at=now,
                title=title_of(anomalies),
                entities=tuple(cluster),
                anomalies=tuple(anomaly.id for anomaly in anomalies),
            )
            self._state.incidents[incident.id] = incident
            changed.append(incident)
        return changed

    def _corroborated(self, anomalies: Sequence[Anomaly], now: Millis) -> bool:
        signals = {_signal(anomaly) for anomaly in anomalies}
        golden = any(anomaly.role.is_golden for anomaly in anomalies)
        if len(signals) >= 2 and golden:
            return True
        return any(self._stands_alone(anomaly, now) for anomaly in anomalies)

    def _stands_alone(self, anomaly: Anomaly, now: Millis) -> bool:
        """Whether one signal is strong enough, for how long it lasts."""
        falling = anomaly.role is Role.TRAFFIC and anomaly.direction is Direction.BELOW
        if not (anomaly.role.is_golden or anomaly.role is Role.SATURATION or falling):
            return False
        strength = -math.log2(max(1.0 - anomaly.score, 1e-9))  # |z| over its threshold
        if strength < _ALONE_STRENGTH:
            return False
        needed = self._config.alone_after * _ALONE_STRENGTH / strength
        return now - anomaly.started_at >= needed * SECOND

    def _resolve(
        self, abnormal: Mapping[EntityId, Sequence[Anomaly]], now: Millis
    ) -> list[Incident]:
        changed = []
        for incident in self.open:
            if any(entity in abnormal for entity in incident.entities):
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


def _signal(anomaly: Anomaly) -> tuple[EntityId, str]:
    """What an anomaly is evidence of: percentiles of one latency are one signal, not three."""
    one_each = anomaly.role in {Role.SATURATION, Role.OTHER}
    return anomaly.entity, anomaly.metric if one_each else anomaly.role.value


def title_of(anomalies: Sequence[Anomaly]) -> str:
    """`checkout: latency_p95 above normal, and 3 more signals`."""
    ordered = sorted(
        anomalies, key=lambda a: (not a.role.is_golden, a.started_at, -abs(a.deviation), a.id)
    )
    first = ordered[0]
    title = f"{first.entity}: {first.metric} {first.direction.value} normal"
    others = len(ordered) - 1
    return f"{title}, and {others} more signal{'s' if others > 1 else ''}" if others else title


def _joined(
    known: Sequence[EntityId], near: Mapping[EntityId, Mapping[EntityId, int]]
) -> list[EntityId]:
    """Abnormal entities (the keys of `near`) near `known`, or near others that join."""
    reached = set(known)
    while fresh := [e for e in near if e not in reached and not reached.isdisjoint(near[e])]:
        reached.update(fresh)
    return [entity for entity in near if entity in reached and entity not in known]


def _clusters(
    entities: Sequence[EntityId], near: Mapping[EntityId, Mapping[EntityId, int]]
) -> list[list[EntityId]]:
    """Connected groups of `entities` under "is near", in order of their first member."""
    left = list(entities)
    clusters = []
    while left:
        cluster, queue = [left[0]], [left.pop(0)]
        while queue:
            here = queue.pop()
            for there in [e for e in left if e in near[here]]:
                left.remove(there)
                cluster.append(there)
                queue.append(there)
        clusters.append(sorted(cluster, key=entities.index))
    return clusters


def _union(first: Sequence[T], second: Sequence[T]) -> tuple[T, ...]:
    return tuple(dict.fromkeys((*first, *second)))
