"""Alerts on the wire, and the ledger of what was sent about them."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import Field, computed_field

from dos.alerting.decision import Decision
from dos.api.wire import Labels, Time, Wire
from dos.model.alert import AlertState, Phase
from dos.model.ids import AlertId, IncidentId
from dos.model.impact import Severity
from dos.storage.base import Ledger


class AcknowledgementOut(Wire):
    """Somebody is on an alert."""

    by: str
    at: Time
    note: str
    phase: Phase = Field(description="How far they have come.")


class AlertStatus(StrEnum):
    """Where an alert stands, for people."""

    FIRING = "firing"
    ACKNOWLEDGED = "acknowledged"
    INVESTIGATING = "investigating"
    MITIGATING = "mitigating"
    SUPPRESSED = "suppressed"
    """It fires, and nobody is told: silenced, inhibited, explained, or work is planned."""
    RESOLVED = "resolved"


class AlertOut(Wire):
    """Something a person is told once, and told when it is over."""

    id: AlertId
    fingerprint: str
    state: AlertState
    severity: Severity
    labels: Labels
    annotations: Labels
    starts_at: Time
    ends_at: Time | None
    updated_at: Time
    incident_id: IncidentId | None
    acknowledged: AcknowledgementOut | None = Field(
        default=None, description="Who is on it; null: nobody said so."
    )
    suppressed: bool = Field(
        default=False,
        description="Nobody is told: silenced, inhibited, explained by an incident, or work is "
        "planned. Of what fires now only, and not in the stream.",
    )

    @computed_field(description="Where it stands, in one word.")  # type: ignore[prop-decorator]  # mypy knows no decorated ones
    @property
    def status(self) -> AlertStatus:
        """Where it stands."""
        if self.state is AlertState.RESOLVED:
            return AlertStatus.RESOLVED
        if self.acknowledged is not None:
            return AlertStatus(self.acknowledged.phase.value)
        return AlertStatus.SUPPRESSED if self.suppressed else AlertStatus.FIRING


class DeliveryOut(Wire):
    """What became of one notification."""

    id: str = Field(description="Idempotency key: the same on every try.")
    receiver: str
    alert_state: AlertState = Field(description="What it tells.")
    state: Literal["pending", "sent", "given_up"]
    created_at: Time
    attempts: int
    sent_at: Time | None
    given_up_at: Time | None
    last_error: str | None

    @staticmethod
    def of(row: Ledger) -> DeliveryOut:
        """A row of the ledger."""
        return DeliveryOut(
            id=row.notification.id,
            receiver=row.notification.receiver,
            alert_state=row.notification.alert.state,
            state=_delivery_state(row),
            created_at=row.notification.created_at,
            attempts=row.attempts,
            sent_at=row.sent_at,
            given_up_at=row.given_up_at,
            last_error=row.last_error,
        )


def _delivery_state(row: Ledger) -> Literal["pending", "sent", "given_up"]:
    if row.sent_at is not None:
        return "sent"
    return "pending" if row.given_up_at is None else "given_up"


class DecisionOut(Wire):
    """Why a receiver was told of an alert, or was not."""

    receiver: str = Field(description="Empty when it is about all of them.")
    reason: str
    sentence: str
    at: Time = Field(description="When it was first decided so.")
    until: Time = Field(description="When it was last decided so.")
    count: int = Field(description="How many times in a row.")

    @staticmethod
    def of(one: Decision) -> DecisionOut:
        """A decision of the alert book or the desk."""
        return DecisionOut(
            receiver=one.receiver,
            reason=one.reason.value,
            sentence=one.sentence,
            at=one.at,
            until=one.until,
            count=one.count,
        )


class AlertDetail(AlertOut):
    """An alert with the ledger of its notifications, and who was told or not and why."""

    notifications: tuple[DeliveryOut, ...] = Field(default=(), description="Oldest first.")
    decisions: tuple[DecisionOut, ...] = Field(
        default=(), description="Oldest first; empty for an alert that ended long ago."
    )
