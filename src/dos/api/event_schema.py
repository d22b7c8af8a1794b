"""What the API answers about events: a type for each, told apart by `type`."""

from __future__ import annotations

from dataclasses import fields
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from dos.api.alert_schema import AlertOut
from dos.api.forecast_schema import ForecastOut
from dos.api.schemas import (
    AnomalyOut,
    ChangeOut,
    EdgeOut,
    EntityOut,
    FeedbackOut,
    IncidentOut,
)
from dos.api.wire import Time, Wire
from dos.model.events import Recorded


class NotificationOut(Wire):
    """A notification as it was queued."""

    id: str
    receiver: str
    alert: AlertOut
    created_at: Time


class _EventOut(Wire):
    seq: int = Field(description="1, 2, 3, … without gaps; the event's id on the stream.")
    at: Time


class TopologyChangedOut(_EventOut):
    """Entities or edges appeared, changed or went."""

    type: Literal["topology_changed"]
    version: int
    entities: tuple[EntityOut, ...]
    edges: tuple[EdgeOut, ...]
    gone: tuple[EdgeOut, ...]


class ChangeSeenOut(_EventOut):
    """A change of the watched system was reported."""

    type: Literal["change_seen"]
    change: ChangeOut


class FeedbackChangedOut(_EventOut):
    """Somebody gave feedback, or undid it."""

    type: Literal["feedback_changed"]
    feedback: FeedbackOut


class AnomalyEventOut(_EventOut):
    """A series became abnormal, or normal again."""

    type: Literal["anomaly_started", "anomaly_ended"]
    anomaly: AnomalyOut


class ForecastChangedOut(_EventOut):
    """The alarm of a forecast began, became critical or ended."""

    type: Literal["forecast_changed"]
    forecast: ForecastOut


class IncidentChangedOut(_EventOut):
    """An incident was opened, updated or resolved."""

    type: Literal["incident_changed"]
    incident: IncidentOut


class AlertChangedOut(_EventOut):
    """An alert fired, changed or was resolved."""

    type: Literal["alert_changed"]
    alert: AlertOut


class NotificationQueuedOut(_EventOut):
    """A notification was put into the outbox."""

    type: Literal["notification_queued"]
    notification: NotificationOut


EventOut = Annotated[
    TopologyChangedOut
    | ChangeSeenOut
    | FeedbackChangedOut
    | AnomalyEventOut
    | ForecastChangedOut
    | IncidentChangedOut
    | AlertChangedOut
    | NotificationQueuedOut,
    Field(discriminator="type"),
]

EVENT_OUT: TypeAdapter[EventOut] = TypeAdapter(EventOut)


def event_out(recorded: Recorded) -> EventOut:
    """A recorded event with its own fields beside `seq` and `at`."""
    event = recorded.event
    own = {one.name: getattr(event, one.name) for one in fields(event)}
    return EVENT_OUT.validate_python({"seq": recorded.seq, "at": recorded.at, **own})
