"""Alerts, groups and silences as they stand: implements `dos.api.backend.AlertDesk`."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock

from dos.alerting.book import AlertBook
from dos.alerting.decision import Decision
from dos.alerting.desk import Desk, Seen
from dos.alerting.escalation import Escalation
from dos.alerting.fallback import Fallbacks
from dos.alerting.oncall import Shift
from dos.alerting.routing import Routing
from dos.kit.clock import Clock, Millis
from dos.model.alert import LabelPairs
from dos.model.ids import AlertId
from dos.model.silence import Silence


class StandingAlerts:
    """Reads what the pipeline holds.

    Args:
        desk: Posted alerts and silences.
        book: Alerts of DOS itself.
        escalation: Who was told further, and who is on call.
        fallbacks: Who was told instead.
        clock: The application's.
        lock: That guards the pipeline's state.
    """

    def __init__(
        self,
        desk: Desk,
        book: AlertBook,
        escalation: Escalation,
        fallbacks: Fallbacks,
        clock: Clock,
        lock: Lock,
    ) -> None:
        self._desk = desk
        self._book = book
        self._escalation = escalation
        self._fallbacks = fallbacks
        self._clock = clock
        self._lock = lock

    @property
    def routing(self) -> Routing:
        """By which routes alerts go."""
        return self._desk.routing

    def fires(self, alert_id: AlertId) -> bool:
        """Whether an alert with this id fires."""
        with self._lock:
            return any(one.id == alert_id for one in (*self._book.firing, *self._desk.firing))

    def alerts(self) -> Sequence[Seen]:
        """What fires now, oldest first."""
        with self._lock:
            return self._desk.seen(self._book.firing, self._clock.now())

    def groups(self) -> Sequence[tuple[str, LabelPairs, Sequence[Seen]]]:
        """Receiver, labels and alerts of each group."""
        with self._lock:
            return self._desk.groups(self._book.firing, self._clock.now())

    def explain(self, alert_id: AlertId) -> Sequence[Decision]:
        """Who was told about an alert and who was not, and why."""
        with self._lock:
            said = self._book.explain(alert_id) or self._desk.explain(alert_id)
            further = (*self._escalation.explain(alert_id), *self._fallbacks.explain(alert_id))
            return sorted([*said, *further], key=lambda one: one.at)

    def on_call(self) -> Sequence[tuple[str, Sequence[Shift]]]:
        """Each schedule with the shifts of those who are on call now."""
        with self._lock:
            schedules, now = self._escalation.schedules, self._clock.now()
            return [(name, one.current(now)) for name, one in schedules.items()]

    def shifts(self, name: str, start: Millis, end: Millis) -> Sequence[Shift]:
        """The whole shifts of a schedule that lie between two times, at least in part."""
        with self._lock:
            return self._escalation.schedules[name].shifts(start, end, whole=True)

    def silences(self) -> Sequence[Silence]:
        """All of them, also those that ended lately."""
        with self._lock:
            return list(self._desk.silences)

    def plan_silence(self, wanted: Silence) -> tuple[Silence, ...]:
        """What is to be delivered for it; the one that holds from then on comes last."""
        with self._lock:
            return self._desk.silences.plan(wanted, self._clock.now())

    def plan_end(self, silence_id: str) -> Silence:
        """What is to be delivered to end one."""
        with self._lock:
            return self._desk.silences.plan_end(silence_id, self._clock.now())
