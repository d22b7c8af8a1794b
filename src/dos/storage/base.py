"""The ports of storage.

`Store` keeps decisions: every step's events, the projections made from them (incidents, alerts,
anomalies, graph, changes) and the outbox of notifications, all in one transaction. `History`
keeps samples. `app` chooses the adapters; one contract suite runs over all of them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from dos.kit.clock import Millis
from dos.model.alert import Alert, AlertState, Notification
from dos.model.anomaly import Anomaly
from dos.model.change import Change
from dos.model.events import Decisions, Recorded
from dos.model.feedback import Feedback, FeedbackKind
from dos.model.graph import GraphSnapshot
from dos.model.ids import AlertId, EntityId, FeedbackId, IncidentId, SeriesId
from dos.model.incident import Incident, IncidentState
from dos.model.telemetry import Float32Array, Int64Array, MetricBatch, Series


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """How far the store has come."""

    seq: int = 0
    """Sequence number of the last event; 0 when there is none."""
    offset: int = 0
    """Position in the intake log after the last committed input."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A notification that is still to be delivered."""

    notification: Notification
    attempts: int = 0
    not_before: Millis = Millis(0)
    last_error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """The delivery state of a notification, sent or not, as the API shows it."""

    notification: Notification
    attempts: int
    sent_at: Millis | None
    given_up_at: Millis | None
    last_error: str | None


class Store(Protocol):
    """Decisions and what follows from them. All methods are safe to call concurrently."""

    async def open(self) -> None:
        """Connect, migrate to the current schema; must be called first.

        Raises:
            CorruptDataError: The store fails its integrity check.
            PermanentError: The schema is newer than this DOS.
        """
        ...

    async def close(self) -> None:
        """Release everything; idempotent."""
        ...

    async def position(self) -> Position:
        """How far the store has come."""
        ...

    async def commit(self, decisions: Decisions) -> None:
        """Write events, projections, outbox rows and the offset in one transaction.

        Idempotent: events whose sequence number is not beyond `position().seq` are skipped,
        and with all events skipped nothing changes but a larger offset.

        Raises:
            ValueError: The first new sequence number leaves a gap.
        """
        ...

    async def events(
        self, *, after: int = 0, limit: int = 1000, types: Collection[str] | None = None
    ) -> Sequence[Recorded]:
        """Events with sequence number beyond `after`, oldest first."""
        ...

    async def incident(self, incident_id: IncidentId) -> Incident | None:
        """One incident as of its last event."""
        ...

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
        """Incidents, newest `(opened_at, id)` first.

        Args:
            state: Only those in this state.
            entity: Only those in which this entity was abnormal.
            since: Only those not resolved before this time.
            until: Only those opened before this time.
            before: Keyset cursor: `(opened_at, id)` of the last row of the page before.
            limit: Rows at most.
        """
        ...

    async def alert(self, alert_id: AlertId) -> Alert | None:
        """One alert as of its last event."""
        ...

    async def alerts(
        self,
        *,
        state: AlertState | None = None,
        incident: IncidentId | None = None,
        before: tuple[Millis, AlertId] | None = None,
        limit: int = 100,
    ) -> Sequence[Alert]:
        """Alerts, newest `(starts_at, id)` first; `before` is the keyset cursor."""
        ...

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
        ...

    async def changes(
        self,
        *,
        entity: EntityId | None = None,
        since: Millis | None = None,
        until: Millis | None = None,
        limit: int = 1000,
    ) -> Sequence[Change]:
        """Changes of the watched system, newest first."""
        ...

    async def feedback_entry(self, feedback_id: FeedbackId) -> Feedback | None:
        """One piece of feedback as it stands now."""
        ...

    async def feedback(
        self,
        *,
        kind: FeedbackKind | None = None,
        holds: bool | None = None,
        since: Millis | None = None,
        until: Millis | None = None,
        limit: int = 1000,
    ) -> Sequence[Feedback]:
        """Feedback about `[since, until]`, newest `(given_at, id)` first; `holds`: not undone."""
        ...

    async def graph(self, at: Millis | None = None) -> GraphSnapshot:
        """The graph as it was known at `at` (None: now)."""
        ...

    async def outbox(self, now: Millis, limit: int = 100) -> Sequence[Outgoing]:
        """Notifications neither sent nor given up whose `not_before` has come, oldest first."""
        ...

    async def sent(self, notification_id: str, at: Millis, note: str = "") -> None:
        """The receiver took it; `note`, if any, says how, in the place of the last error."""
        ...

    async def retry(self, notification_id: str, not_before: Millis, error: str) -> None:
        """Delivery failed; try again from `not_before` on."""
        ...

    async def give_up(self, notification_id: str, at: Millis, error: str) -> None:
        """Delivery failed for good."""
        ...

    async def ledger(self, alert_id: AlertId) -> Sequence[Ledger]:
        """What was sent, or is to be sent, about one alert; oldest first."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Window:
    """Samples of several series on one time grid."""

    times: Int64Array
    """`[time]` ms; ascending, evenly spaced by the history's resolution."""
    values: Float32Array
    """`[time, series]`; NaN where there is no sample."""


class History(Protocol):
    """Recent samples. Synchronous: it is called inside a pipeline step."""

    @property
    def resolution(self) -> int:
        """Width of a time slot in ms; the last sample in a slot is the slot's value."""
        ...

    def append(self, batch: MetricBatch) -> None:
        """Keep the samples; those older than the retention are dropped. Cost: O(samples)."""
        ...

    def window(self, series: Sequence[SeriesId], start: Millis, end: Millis) -> Window:
        """Samples of `series` in `[start, end]`, clipped to what is kept. Unknown ids are NaN."""
        ...


class LongHistory(Protocol):
    """Samples of weeks and months, to be read in stretches. May be slow: it reads files."""

    def series(self) -> Sequence[Series]:
        """All series with samples here, in order of their ids."""
        ...

    def span(self) -> tuple[Millis, Millis] | None:
        """From when to when there may be samples; None where there are none."""
        ...

    def read(self, series: Sequence[SeriesId], start: Millis, end: Millis) -> MetricBatch:
        """Samples of `series` in `[start, end]`, sorted by `(series_id, timestamp)`.

        Raises:
            CorruptDataError: A file is damaged; names it.
        """
        ...
