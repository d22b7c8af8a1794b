"""From events to what is shown of them, the same for every store.

A store keeps each event, and beside it *projections*: the newest version of each incident,
alert, anomaly and change, the versions of the graph, and the outbox. `project` says what a run
of events does to them; each store writes it down in its own way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from dos.kit.clock import Millis
from dos.model.alert import Alert, Notification
from dos.model.anomaly import Anomaly
from dos.model.change import Change
from dos.model.events import (
    AlertChanged,
    AnomalyEnded,
    AnomalyStarted,
    ChangeSeen,
    Decisions,
    FeedbackChanged,
    ForecastChanged,
    IncidentChanged,
    NotificationQueued,
    Recorded,
    TopologyChanged,
)
from dos.model.feedback import Feedback
from dos.model.graph import Edge, EdgeKind
from dos.model.ids import AlertId, AnomalyId, ChangeId, EntityId, FeedbackId, IncidentId
from dos.model.incident import Incident
from dos.storage.base import Position

EdgeKey = tuple[EntityId, EntityId, EdgeKind]


def edge_key(edge: Edge) -> EdgeKey:
    """What makes two edges versions of one edge."""
    return edge.caller, edge.callee, edge.kind


@dataclass(frozen=True, slots=True, kw_only=True)
class TopologyStep:
    """A change of the graph in its place.

    The versions of entities and edges are ordered by sequence number and not by time: the clock
    of a machine may be set back, the sequence cannot.
    """

    seq: int
    at: Millis
    change: TopologyChanged


@dataclass(slots=True)
class Projection:
    """What a run of events does. Where one thing changed several times, the last one counts."""

    incidents: dict[IncidentId, Incident] = field(default_factory=dict)
    alerts: dict[AlertId, Alert] = field(default_factory=dict)
    anomalies: dict[AnomalyId, Anomaly] = field(default_factory=dict)
    changes: dict[ChangeId, Change] = field(default_factory=dict)
    feedback: dict[FeedbackId, Feedback] = field(default_factory=dict)
    topology: list[TopologyStep] = field(default_factory=list)
    notifications: dict[str, tuple[int, Notification]] = field(default_factory=dict)
    """By id, with the sequence number that orders the outbox; here the first one counts."""


def new_events(position: Position, decisions: Decisions) -> Sequence[Recorded]:
    """The events of `decisions` that the store at `position` does not have yet.

    Raises:
        ValueError: A sequence number leaves a gap.
    """
    fresh = [recorded for recorded in decisions.events if recorded.seq > position.seq]
    for expected, recorded in enumerate(fresh, start=position.seq + 1):
        if recorded.seq != expected:
            msg = f"event {recorded.seq} leaves a gap: the store waits for event {expected}"
            raise ValueError(msg)
    return fresh


def next_position(position: Position, decisions: Decisions, fresh: Sequence[Recorded]) -> Position:
    """Where the store is once `fresh` is written; never behind where it was."""
    return Position(
        seq=fresh[-1].seq if fresh else position.seq,
        offset=max(position.offset, decisions.offset),
    )


def project(events: Sequence[Recorded]) -> Projection:
    """What `events`, oldest first, do to the projections."""
    made = Projection()
    for recorded in events:
        match recorded.event:
            case TopologyChanged() as change:
                made.topology.append(TopologyStep(seq=recorded.seq, at=recorded.at, change=change))
            case ChangeSeen(change=seen):
                made.changes[seen.id] = seen
            case FeedbackChanged(feedback=said):
                made.feedback[said.id] = said
            case AnomalyStarted(anomaly=anomaly) | AnomalyEnded(anomaly=anomaly):
                made.anomalies[anomaly.id] = anomaly
            case IncidentChanged(incident=incident):
                made.incidents[incident.id] = incident
            case AlertChanged(alert=alert):
                made.alerts[alert.id] = alert
            case NotificationQueued(notification=notification):
                made.notifications.setdefault(notification.id, (recorded.seq, notification))
            case ForecastChanged():
                pass  # its alert is kept; as a forecast it is of the moment
    return made
