"""The events of one incident, found in the log of all events.

The log is ordered by sequence number and not indexed by incident, so only the stretch in which
the incident lived is read: its ends are found by bisection over the events' times.
"""

from __future__ import annotations

from collections.abc import Sequence

from dos.kit.clock import HOUR, Millis
from dos.model.events import (
    AlertChanged,
    AnomalyEnded,
    AnomalyStarted,
    ChangeSeen,
    FeedbackChanged,
    ForecastChanged,
    IncidentChanged,
    NotificationQueued,
    Recorded,
    TopologyChanged,
)
from dos.model.incident import Incident
from dos.storage.base import Store

_TYPES = frozenset(
    {
        "anomaly_started",
        "anomaly_ended",
        "incident_changed",
        "alert_changed",
        "notification_queued",
        "feedback_changed",
        "forecast_changed",
    }
)
_BATCH = 1000
_MARGIN = HOUR
"""Times of events follow the clock, which may be set back; sequence numbers may not."""


async def incident_events(
    store: Store, incident: Incident, *, after: int, limit: int
) -> Sequence[Recorded]:
    """Events about `incident`, its anomalies, alerts and forecasts, oldest first.

    Args:
        store: Where the events are.
        incident: As of its last change.
        after: Only events beyond this sequence number.
        limit: Events at most.

    Cost: reads O(log events) single events, and those of the incident's lifetime in batches.
    """
    start = await _first_at(store, Millis(incident.began_at - _MARGIN))
    end = None if incident.resolved_at is None else incident.resolved_at + _MARGIN
    found: list[Recorded] = []
    here = max(after, start)
    while len(found) < limit:
        batch = await store.events(after=here, limit=_BATCH, types=_TYPES)
        found.extend(recorded for recorded in batch if _concerns(recorded, incident))
        if len(batch) < _BATCH or (end is not None and batch[-1].at > end):
            break
        here = batch[-1].seq
    return found[:limit]


async def _first_at(store: Store, at: Millis) -> int:
    """The number of events before `at`: reading `after` it begins with the first one since."""
    low, high = 0, (await store.position()).seq
    while low < high:
        middle = (low + high) // 2
        (event,) = await store.events(after=middle, limit=1)
        if event.at < at:
            low = middle + 1
        else:
            high = middle
    return low


def _concerns(recorded: Recorded, incident: Incident) -> bool:
    match recorded.event:
        case AnomalyStarted(anomaly=anomaly) | AnomalyEnded(anomaly=anomaly):
            return anomaly.id in incident.anomalies
        case IncidentChanged(incident=other):
            return incident.id in {other.id, other.merged_into}
        case AlertChanged(alert=alert):
            return alert.incident_id == incident.id
        case NotificationQueued(notification=notification):
            return notification.alert.incident_id == incident.id
        case FeedbackChanged(feedback=said):
            return said.incident_id == incident.id
        case ForecastChanged(forecast=forecast):
            return forecast.entity in incident.entities
        case TopologyChanged() | ChangeSeen():
            return False
