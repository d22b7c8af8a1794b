"""A store in memory, for tests and runs on virtual time. Nothing survives the process.

One event loop, and no method waits in its middle, so every call is atomic by itself.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from heapq import nlargest
from itertools import islice
from typing import Generic, TypeVar

from dos.kit.clock import Millis
from dos.model.alert import Alert, AlertState
from dos.model.anomaly import Anomaly
from dos.model.change import Change
from dos.model.entity import Entity
from dos.model.events import Decisions, Recorded
from dos.model.feedback import Feedback, FeedbackKind
from dos.model.graph import Edge, GraphSnapshot
from dos.model.ids import AlertId, AnomalyId, ChangeId, EntityId, FeedbackId, IncidentId
from dos.model.incident import Incident, IncidentState
from dos.storage.base import Ledger, Outgoing, Position
from dos.storage.projection import (
    EdgeKey,
    TopologyStep,
    edge_key,
    new_events,
    next_position,
    project,
)

T = TypeVar("T")
K = TypeVar("K", EntityId, EdgeKey)


@dataclass(slots=True)
class _Version(Generic[T]):
    """One version of an entity or edge: known from event `start` until event `end`."""

    value: T
    start: int
    end: int | None = None

    def holds(self, seq: int) -> bool:
        return self.start <= seq and (self.end is None or seq < self.end)


@dataclass(slots=True)
class _Outbox:
    """A notification and how its delivery stands."""

    ledger: Ledger
    not_before: Millis = Millis(0)


class MemoryStore:
    """A `Store` that is a handful of dictionaries."""

    def __init__(self) -> None:
        self._position = Position()
        self._events: list[Recorded] = []
        self._incidents: dict[IncidentId, Incident] = {}
        self._alerts: dict[AlertId, Alert] = {}
        self._anomalies: dict[AnomalyId, Anomaly] = {}
        self._changes: dict[ChangeId, Change] = {}
        self._feedback: dict[FeedbackId, Feedback] = {}
        self._steps: list[TopologyStep] = []
        self._entities: dict[EntityId, list[_Version[Entity]]] = {}
        self._edges: dict[EdgeKey, list[_Version[Edge]]] = {}
        self._outbox: dict[str, _Outbox] = {}
        self._pending: dict[str, _Outbox] = {}
        self._graph: GraphSnapshot | None = None

    async def open(self) -> None:
        """Nothing to connect to."""

    async def close(self) -> None:
        """Nothing to release; what was committed stays readable."""

    async def position(self) -> Position:
        """How far the store has come."""
        return self._position

    async def commit(self, decisions: Decisions) -> None:
        """See `Store.commit`.

        Raises:
            ValueError: A new sequence number leaves a gap.
        """
        fresh = new_events(self._position, decisions)
        if fresh:
            made = project(fresh)
            self._events.extend(fresh)
            self._incidents.update(made.incidents)
            self._alerts.update(made.alerts)
            self._anomalies.update(made.anomalies)
            self._changes.update(made.changes)
            self._feedback.update(made.feedback)
            for step in made.topology:
                self._apply(step)
            for _, notification in made.notifications.values():
                ledger = Ledger(
                    notification=notification,
                    attempts=0,
                    sent_at=None,
                    given_up_at=None,
                    last_error=None,
                )
                if notification.id not in self._outbox:
                    row = self._outbox[notification.id] = _Outbox(ledger)
                    self._pending[notification.id] = row
        self._position = next_position(self._position, decisions, fresh)

    async def events(
        self, *, after: int = 0, limit: int = 1000, types: Collection[str] | None = None
    ) -> Sequence[Recorded]:
        """Events beyond `after`, oldest first. Event `n` lies at index `n - 1`."""
        later = islice(self._events, max(0, after), None)
        return list(islice((e for e in later if types is None or e.event.type in types), limit))

    async def incident(self, incident_id: IncidentId) -> Incident | None:
        """One incident as of its last event."""
        return self._incidents.get(incident_id)

    async def incidents(
        self,
        *,
        state: IncidentState | None = None,
        entity: EntityId | None = None,
        since: Millis | None = None,
        until: Millis | None = None,
        before: tuple[Millis, IncidentId] | None = None,
        limit: int = 100,
    ) -> Sequence[Incident]:
        """Incidents, newest `(opened_at, id)` first; the filters are those of `Store`."""
        found = (
            incident
            for incident in self._incidents.values()
            if (state is None or incident.state == state)
            and (entity is None or entity in incident.entities)
            and _reaches(incident.resolved_at, since)
            and (until is None or incident.opened_at < until)
            and (before is None or (incident.opened_at, incident.id) < before)
        )
        return nlargest(limit, found, key=lambda one: (one.opened_at, one.id))

    async def alert(self, alert_id: AlertId) -> Alert | None:
        """One alert as of its last event."""
        return self._alerts.get(alert_id)

    async def alerts(
        self,
        *,
        state: AlertState | None = None,
        incident: IncidentId | None = None,
        before: tuple[Millis, AlertId] | None = None,
        limit: int = 100,
    ) -> Sequence[Alert]:
        """Alerts, newest `(starts_at, id)` first."""
        found = (
            alert
            for alert in self._alerts.values()
            if (state is None or alert.state == state)
            and (incident is None or alert.incident_id == incident)
            and (before is None or (alert.starts_at, alert.id) < before)
        )
        return nlargest(limit, found, key=lambda one: (one.starts_at, one.id))

    async def anomalies(
        self,
        *,
        entity: EntityId | None = None,
        active: bool | None = None,
        since: Millis | None = None,
        until: Millis | None = None,
        limit: int = 1000,
    ) -> Sequence[Anomaly]:
        """Anomalies overlapping `[since, until]`, newest `(started_at, id)` first."""
        found = (
            anomaly
            for anomaly in self._anomalies.values()
            if (entity is None or anomaly.entity == entity)
            and (active is None or (anomaly.ended_at is None) == active)
            and _reaches(anomaly.ended_at, since)
            and (until is None or anomaly.started_at <= until)
        )
        return nlargest(limit, found, key=lambda one: (one.started_at, one.id))

    async def changes(
        self,
        *,
        entity: EntityId | None = None,
        since: Millis | None = None,
        until: Millis | None = None,
        limit: int = 1000,
    ) -> Sequence[Change]:
        """Changes in `[since, until]`, newest `(at, id)` first."""
        found = (
            change
            for change in self._changes.values()
            if (entity is None or change.entity == entity)
            and (since is None or change.at >= since)
            and (until is None or change.at <= until)
        )
        return nlargest(limit, found, key=lambda one: (one.at, one.id))

    async def feedback_entry(self, feedback_id: FeedbackId) -> Feedback | None:
        """One piece of feedback as it stands now."""
        return self._feedback.get(feedback_id)

    async def feedback(
        self,
        *,
        kind: FeedbackKind | None = None,
        holds: bool | None = None,
        since: Millis | None = None,
        until: Millis | None = None,
        limit: int = 1000,
    ) -> Sequence[Feedback]:
        """Feedback about `[since, until]`, newest `(given_at, id)` first."""
        found = (
            one
            for one in self._feedback.values()
            if (kind is None or one.kind is kind)
            and (holds is None or one.holds == holds)
            and (since is None or one.end >= since)
            and (until is None or one.start <= until)
        )
        return nlargest(limit, found, key=lambda one: (one.given_at, one.id))

    async def graph(self, at: Millis | None = None) -> GraphSnapshot:
        """The graph as it was known at `at` (None: now)."""
        newest = self._steps[-1] if self._steps else None
        if at is None:
            if self._graph is None:
                self._graph = self._snapshot(newest)
            return self._graph
        return self._snapshot(next((s for s in reversed(self._steps) if s.at <= at), None))

    async def outbox(self, now: Millis, limit: int = 100) -> Sequence[Outgoing]:
        """Notifications that are due, oldest first."""
        due = (row for row in self._pending.values() if row.not_before <= now)
        return [
            Outgoing(
                notification=row.ledger.notification,
                attempts=row.ledger.attempts,
                not_before=row.not_before,
                last_error=row.ledger.last_error,
            )
            for row in islice(due, limit)
        ]

    async def sent(self, notification_id: str, at: Millis, note: str = "") -> None:
        """The receiver took it; ignored once it was sent or given up.

        Raises:
            KeyError: There is no such notification.
        """
        if row := self._undelivered(notification_id):
            kept = replace(row.ledger, attempts=row.ledger.attempts + 1, sent_at=at)
            row.ledger = replace(kept, last_error=note) if note else kept
            del self._pending[notification_id]

    async def retry(self, notification_id: str, not_before: Millis, error: str) -> None:
        """Delivery failed; ignored once it was sent or given up.

        Raises:
            KeyError: There is no such notification.
        """
        if row := self._undelivered(notification_id):
            row.not_before = not_before
            row.ledger = replace(row.ledger, attempts=row.ledger.attempts + 1, last_error=error)

    async def give_up(self, notification_id: str, at: Millis, error: str) -> None:
        """Delivery failed for good; ignored once it was sent or given up.

        Raises:
            KeyError: There is no such notification.
        """
        if row := self._undelivered(notification_id):
            attempts = row.ledger.attempts + 1
            row.ledger = replace(row.ledger, attempts=attempts, given_up_at=at, last_error=error)
            del self._pending[notification_id]

    async def ledger(self, alert_id: AlertId) -> Sequence[Ledger]:
        """What was sent, or is to be sent, about one alert; oldest first."""
        rows = (row.ledger for row in self._outbox.values())
        return [row for row in rows if row.notification.alert.id == alert_id]

    def _undelivered(self, notification_id: str) -> _Outbox | None:
        if notification_id not in self._outbox:
            raise KeyError(notification_id)
        return self._pending.get(notification_id)

    def _apply(self, step: TopologyStep) -> None:
        self._steps.append(step)
        self._graph = None
        for entity in step.change.entities:
            _close(self._entities.get(entity.id), step.seq)
            self._entities.setdefault(entity.id, []).append(_Version(entity, step.seq))
        for edge in step.change.gone:
            _close(self._edges.get(edge_key(edge)), step.seq)
        for edge in step.change.edges:
            _close(self._edges.get(edge_key(edge)), step.seq)
            self._edges.setdefault(edge_key(edge), []).append(_Version(edge, step.seq))

    def _snapshot(self, step: TopologyStep | None) -> GraphSnapshot:
        if step is None:
            return GraphSnapshot()
        return GraphSnapshot(
            version=step.change.version,
            at=step.at,
            entities=_holding(self._entities, step.seq),
            edges=_holding(self._edges, step.seq),
        )


def _reaches(end: Millis | None, since: Millis | None) -> bool:
    """Whether something that ended at `end` (None: goes on) reaches into the time from `since`."""
    return since is None or end is None or end >= since


def _holding(versions: Mapping[K, list[_Version[T]]], seq: int) -> tuple[T, ...]:
    """Of each key the version known after event `seq`, in order of the keys."""
    return tuple(
        version.value for key in sorted(versions) for version in versions[key] if version.holds(seq)
    )


def _close(versions: list[_Version[T]] | None, seq: int) -> None:
    if versions and versions[-1].end is None:
        versions[-1].end = seq
