"""An alert that means nothing, to see whether a channel works."""

from __future__ import annotations

from dataclasses import replace

from dos.alerting.channel import notification_of
from dos.kit.clock import Millis
from dos.model.alert import Alert, AlertState, Notification, fingerprint_of
from dos.model.ids import AlertId, derive_id
from dos.model.impact import Severity

NAME = "DosTest"


def trial(receiver: str, severity: Severity, now: Millis) -> tuple[Notification, Notification]:
    """The beginning of a test alert and its end, for one receiver."""
    labels = (("alertname", NAME), ("receiver", receiver), ("severity", severity.value))
    said = f"A test of the receiver {receiver}: nothing is wrong."
    fires = Alert(
        id=AlertId(derive_id("alr", NAME, receiver, now)),
        fingerprint=fingerprint_of(labels),
        state=AlertState.FIRING,
        severity=severity,
        labels=labels,
        annotations=(("description", said), ("summary", said)),
        starts_at=now,
        updated_at=now,
    )
    over = replace(
        fires, state=AlertState.RESOLVED, ends_at=Millis(now + 1), updated_at=Millis(now + 1)
    )
    return notification_of(fires, receiver), notification_of(over, receiver)
