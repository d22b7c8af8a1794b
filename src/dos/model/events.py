"""The decisions of the pipeline as typed events, in order, each written once.

`Recorded` adds the sequence number; its JSON form is canonical (fixed key order, no spaces),
so that two runs can be compared byte by byte.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from dos.kit.clock import Millis
from dos.model.alert import Alert, Notification
from dos.model.anomaly import Anomaly
from dos.model.change import Change
from dos.model.entity import Entity
from dos.model.feedback import Feedback
from dos.model.forecast import Forecast
from dos.model.graph import Edge
from dos.model.incident import Incident


@dataclass(frozen=True, slots=True, kw_only=True)
class TopologyChanged:
    """Entities or edges appeared, changed or went."""

    type: Literal["topology_changed"] = field(default="topology_changed", init=True)
    version: int
    entities: tuple[Entity, ...] = ()
    """New or changed."""
    edges: tuple[Edge, ...] = ()
    """New."""
    gone: tuple[Edge, ...] = ()
    """Not seen for longer than the edge's time to live."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeSeen:
    """A change of the watched system was reported."""

    type: Literal["change_seen"] = field(default="change_seen", init=True)
    change: Change


@dataclass(frozen=True, slots=True, kw_only=True)
class AnomalyStarted:
    """A series became abnormal."""

    type: Literal["anomaly_started"] = field(default="anomaly_started", init=True)
    anomaly: Anomaly


@dataclass(frozen=True, slots=True, kw_only=True)
class AnomalyEnded:
    """A series is normal again."""

    type: Literal["anomaly_ended"] = field(default="anomaly_ended", init=True)
    anomaly: Anomaly


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentChanged:
    """An incident was opened, updated or resolved; `incident.state` and `.reason` say which."""

    type: Literal["incident_changed"] = field(default="incident_changed", init=True)
    incident: Incident


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertChanged:
    """An alert fired, changed or was resolved."""

    type: Literal["alert_changed"] = field(default="alert_changed", init=True)
    alert: Alert


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationQueued:
    """A notification was put into the outbox."""

    type: Literal["notification_queued"] = field(default="notification_queued", init=True)
    notification: Notification


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedbackChanged:
    """Somebody gave feedback, or undid it."""

    type: Literal["feedback_changed"] = field(default="feedback_changed", init=True)
    feedback: Feedback


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastChanged:
    """The alarm of a forecast began, became critical or ended; `forecast.state` says which."""

    type: Literal["forecast_changed"] = field(default="forecast_changed", init=True)
    forecast: Forecast


Event = Annotated[
    TopologyChanged
    | ChangeSeen
    | FeedbackChanged
    | AnomalyStarted
    | AnomalyEnded
    | ForecastChanged
    | IncidentChanged
    | AlertChanged
    | NotificationQueued,
    Field(discriminator="type"),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """An event in its place."""

    seq: int
    """1, 2, 3, … without gaps, over the whole life of a store."""
    at: Millis
    """The pipeline's time of the decision."""
    event: Event

    def to_json(self) -> bytes:
        """Canonical JSON, one line without the line feed."""
        return RECORDED.dump_json(self)


RECORDED: TypeAdapter[Recorded] = TypeAdapter(Recorded)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decisions:
    """What one step of the pipeline decided; committed in one transaction."""

    offset: int
    """Position after this input in the intake log; committed with the events."""
    at: Millis
    events: tuple[Recorded, ...] = ()
