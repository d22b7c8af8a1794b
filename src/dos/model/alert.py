"""Alerts, and the notifications that leave through the outbox."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from dos.kit.clock import Millis
from dos.model.ids import AlertId, IncidentId
from dos.model.impact import Severity


class AlertState(StrEnum):
    """As in Alertmanager."""

    FIRING = "firing"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """Something a person is told about once, and told when it is over."""

    id: AlertId
    fingerprint: str
    """Hash of the labels that identify it; equal fingerprints are the same alert."""
    state: AlertState
    severity: Severity
    labels: tuple[tuple[str, str], ...]
    """Sorted by name."""
    annotations: tuple[tuple[str, str], ...]
    starts_at: Millis
    ends_at: Millis | None = None
    updated_at: Millis
    incident_id: IncidentId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """One message to one receiver; a row of the outbox."""

    id: str
    """Idempotency key: derived from alert, state and receiver, so the same on every retry."""
    receiver: str
    alert: Alert
    created_at: Millis
