"""Alerts, and the notifications that leave through the outbox."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from dos.kit.clock import Millis
from dos.model.ids import AlertId, IncidentId
from dos.model.impact import Severity

LabelPairs = tuple[tuple[str, str], ...]
"""Labels or annotations, sorted by name."""


def fingerprint_of(labels: Iterable[tuple[str, str]]) -> str:
    """Hash of `labels`, 16 hexadecimal digits as in Alertmanager; their order does not matter."""
    text = "\x1f".join(f"{name}\x1e{value}" for name, value in sorted(labels))
    return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=8).hexdigest()


class AlertState(StrEnum):
    """As in Alertmanager."""

    FIRING = "firing"
    RESOLVED = "resolved"


class Phase(StrEnum):
    """How far somebody who is on an alert has come."""

    ACKNOWLEDGED = "acknowledged"
    INVESTIGATING = "investigating"
    MITIGATING = "mitigating"
    """The cause is known; something is being done about it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledgement:
    """Somebody is on an alert: it is told to nobody else for that reason alone, nor again."""

    alert: AlertId
    by: str
    at: Millis
    note: str = ""
    phase: Phase = Phase.ACKNOWLEDGED


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
    generator_url: str = ""
    """Where it was made, of alerts that others sent."""
    acknowledged: Acknowledgement | None = None
    """Who is on it; None: nobody said so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PostedAlert:
    """An alert as another system sent it, Prometheus for example."""

    labels: LabelPairs
    """What it is: equal ones are the same alert."""
    annotations: LabelPairs = ()
    starts_at: Millis
    ends_at: Millis | None = None
    """When it ended or, in the future, when it will count as over; None: a while after it was last
    sent."""
    updated_at: Millis
    """When it was taken in."""
    generator_url: str = ""

    @property
    def fingerprint(self) -> str:
        """Of its labels; equal ones are the same alert."""
        return fingerprint_of(self.labels)

    def over(self, now: Millis) -> bool:
        """Whether it is known to have ended."""
        return self.ends_at is not None and self.ends_at <= now


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """One message to one receiver; a row of the outbox."""

    id: str
    """Idempotency key: derived from what is told and to whom, so the same on every retry."""
    receiver: str
    alert: Alert
    """What it is about; of a group, the first one."""
    created_at: Millis
    others: tuple[Alert, ...] = ()
    """The further alerts of a group."""
    route: str = ""
    """The route that a group was made by, as its matchers; empty where there is no group."""
    group: LabelPairs = ()
    """Labels that all alerts of the group have, because the route groups by them."""

    @property
    def alerts(self) -> tuple[Alert, ...]:
        """All that it is about."""
        return (self.alert, *self.others)

    @property
    def subject(self) -> str:
        """What it is about: notifications of one subject to one receiver keep their order."""
        if not self.route:
            return self.alert.id
        labels = ", ".join(f'{name}="{value}"' for name, value in self.group)
        return f"{self.route}:{{{labels}}}"

    @property
    def state(self) -> AlertState:
        """Firing as long as any of them fires, as in Alertmanager."""
        firing = any(one.state is AlertState.FIRING for one in self.alerts)
        return AlertState.FIRING if firing else AlertState.RESOLVED
