"""The alert book: which alerts fire, who was told what, and what is to be told now.

A plain synchronous state machine. `observe` takes an incident as of its last change, `tick` the
passing of time; both return events. Notifications leave as `NotificationQueued`, committed with
everything else of the step, and are delivered by `dos.alerting.dispatch`.

An incident makes one alert, and so does a forecast that something runs out. A receiver hears of it
when it begins, when it is worse than what the receiver knows, when another root cause is named (at
most once per `update_interval`), and when it is over. Who was told that it began is remembered with
the alert and not looked up in the configuration: the resolve goes to exactly those.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from dos.alerting import dependents, matter, message
from dos.alerting.base import AlertingConfig, Receiver
from dos.alerting.decision import Decision, Reason, record
from dos.alerting.dependents import Explained
from dos.alerting.matter import FORECAST, Matter
from dos.alerting.state import BookState, Firing, Told, decode, encode
from dos.kit.clock import SECOND, Millis
from dos.model.alert import Acknowledgement, Alert, AlertState, Notification, fingerprint_of
from dos.model.events import AlertChanged, Event, NotificationQueued
from dos.model.forecast import Forecast, ForecastState
from dos.model.graph import GraphSnapshot
from dos.model.ids import AlertId, derive_id
from dos.model.impact import Severity
from dos.model.incident import Incident, IncidentState

_CLOSED_KEPT = 500


class Switch(Protocol):
    """What routes and silences say of an alert."""

    def goes_to(self, receiver: str, labels: Mapping[str, str]) -> bool:
        """Whether a receiver hears of alerts with these labels."""
        ...

    def silenced(self, labels: Mapping[str, str], now: Millis) -> bool:
        """Whether somebody wants quiet about them now."""
        ...


class _Open:
    """Everybody hears everything."""

    def goes_to(self, _receiver: str, _labels: Mapping[str, str]) -> bool:
        return True

    def silenced(self, _labels: Mapping[str, str], _now: Millis) -> bool:
        return False


class AlertBook:
    """Turns incidents into alerts and notifications; see the module's text.

    Not thread-safe: owned by the pipeline. Reads no clock.

    Args:
        config: Receivers and intervals; a book loaded into another configuration still
            resolves what it told under the old one.
        switch: To whom alerts go, and which are to be quiet; without, all go to everybody.
    """

    def __init__(self, config: AlertingConfig | None = None, switch: Switch | None = None) -> None:
        self._config = config or AlertingConfig()
        self._switch = switch or _Open()
        self._state = BookState()

    @property
    def firing(self) -> Sequence[Alert]:
        """Alerts that fire, oldest first."""
        alerts = [one.alert for one in self._state.firing.values()]
        return sorted(alerts, key=lambda alert: (alert.starts_at, alert.id))

    def observe(self, incident: Incident, now: Millis) -> list[Event]:
        """Take in `incident` as of its last change.

        Returns:
            `AlertChanged` when the alert began, ended or changed its labels, or somebody is told;
            and a `NotificationQueued` for each receiver that is to be told.
        """
        known = self._state.firing.get(incident.id)
        severity = self._severity(incident, known.alert if known else None)
        over = incident.state is IncidentState.RESOLVED
        if over and known:
            severity = _worst_told(known)
        about = matter.of_incident(incident, severity, self._config.external_url)
        return self._take(known, about, now, over=over)

    def foresee(self, forecast: Forecast, now: Millis) -> list[Event]:
        """Take in a forecast whose alarm began, became critical or ended; returns as `observe`."""
        known = self._state.firing.get(forecast.id)
        severity = self._config.forecast_warning
        if forecast.state is ForecastState.CRITICAL:
            severity = self._config.forecast_critical
        if forecast.state is ForecastState.OVER and known:
            severity = _worst_told(known)
        about = matter.of_forecast(forecast, severity, self._config.external_url)
        return self._take(known, about, now, over=forecast.state is ForecastState.OVER)

    def acknowledge(self, said: Acknowledgement, now: Millis) -> list[Event]:
        """Somebody is on an alert; nothing, where it is unknown or over."""
        for one in self._state.firing.values():
            if one.alert.id == said.alert:
                one.alert = replace(one.alert, acknowledged=said, updated_at=now)
                record(one.decisions, "", Reason.ACKNOWLEDGED, now)
                return [AlertChanged(alert=one.alert)]
        return []

    def withdraw(self, alive: Collection[str], now: Millis) -> list[Event]:
        """Resolve alerts about forecasts that are not among `alive`: nobody will end them."""
        events: list[Event] = []
        for key, firing in list(self._state.firing.items()):
            if firing.alert.incident_id is None and key not in alive:
                facts = matter.withdrawn(firing.alert.annotations)
                firing.alert = replace(firing.alert, annotations=facts, updated_at=now)
                events += self._resolve(key, firing, now, now)
        return events

    def explained(self, incidents: Iterable[Incident], graph: GraphSnapshot) -> Explained:
        """Whose trouble comes from open incidents that receivers were told of."""
        told = [
            (one, self._state.firing[one.id])
            for one in incidents
            if one.id in self._state.firing and self._state.firing[one.id].told
        ]
        about = [
            (
                incident,
                dependents.Told(
                    fingerprint=firing.alert.fingerprint,
                    severity=_worst_told(firing),
                    receivers=tuple(firing.told),
                ),
            )
            for incident, firing in told
        ]
        return dependents.explained(about, graph, self._config.inhibit_dependents)

    @property
    def foretells(self) -> bool:
        """Whether an alert about a forecast fires."""
        return any(one.alert.incident_id is None for one in self._state.firing.values())

    def tick(self, now: Millis) -> list[Event]:
        """Send what was put off and is due. Cost: O(firing alerts)."""
        events: list[Event] = []
        for one in self._state.firing.values():
            if one.due is not None and one.due <= now:
                events += self._tell(one, now, changed=False)
        return events

    def explain(self, alert_id: AlertId) -> Sequence[Decision]:
        """Who was told about an alert and who was not, and why; oldest first.

        Empty for an alert that is unknown or ended long ago.
        """
        for one in self._state.firing.values():
            if one.alert.id == alert_id:
                return tuple(one.decisions)
        return tuple(self._state.closed.get(alert_id, ()))

    def adopt(self, alerts: Iterable[Alert], notified: Iterable[Notification]) -> list[Alert]:
        """Take over firing alerts that the store knows and this book does not.

        For a start whose state is older than the store, or gone: what was told under the lost
        state is known from the notifications, so nothing is told twice and everything resolved.

        Args:
            alerts: Alerts of the store; those that do not fire or are known are skipped.
            notified: All notifications about them, sent or still in the outbox.

        Returns:
            Those that are about neither an incident nor a forecast.
        """
        strangers: list[Alert] = []
        by_alert: dict[AlertId, list[Notification]] = {}
        for one in notified:
            by_alert.setdefault(one.alert.id, []).append(one)
        for alert in alerts:
            key = alert.incident_id or dict(alert.labels).get(FORECAST)
            if key is None:
                strangers.append(alert)
            elif alert.state is AlertState.FIRING and key not in self._state.firing:
                self._state.serial += 1
                self._state.firing[key] = _adopted(alert, by_alert.get(alert.id, []))
        return strangers

    def dump(self) -> bytes:
        """The whole state, exactly; see `load`."""
        return encode(self._state)

    def load(self, data: bytes) -> None:
        """Become what `dump` wrote.

        Raises:
            CorruptDataError: `data` was not written by `dump`.
        """
        self._state = decode(data)

    def _take(self, known: Firing | None, about: Matter, now: Millis, *, over: bool) -> list[Event]:
        """Something people are told of began, changed, or is `over`."""
        if known is None:
            return [] if over else self._fire(about, now)
        before = known.alert.labels
        self._refresh(known, about, now)
        if over:
            return self._resolve(about.key, known, about.ends_at, now)
        return self._tell(known, now, changed=known.alert.labels != before)

    def _fire(self, about: Matter, now: Millis) -> list[Event]:
        self._state.serial += 1
        fingerprint = fingerprint_of(about.identity)
        wait_until = Millis(now + round(self._config.group_wait * SECOND))
        firing = Firing(
            alert=Alert(
                id=AlertId(derive_id("alr", fingerprint, now, self._state.serial)),
                fingerprint=fingerprint,
                state=AlertState.FIRING,
                severity=about.severity,
                labels=about.labels,
                annotations=about.annotations,
                starts_at=about.starts_at,
                updated_at=now,
                incident_id=about.incident_id,
            ),
            cause=about.cause,
            wait_until=wait_until,
        )
        self._state.firing[about.key] = firing
        return self._tell(firing, now, changed=True)

    @staticmethod
    def _refresh(firing: Firing, about: Matter, now: Millis) -> None:
        firing.alert = replace(
            firing.alert,
            severity=about.severity,
            labels=about.labels,
            annotations=about.annotations,
            updated_at=now,
        )
        firing.cause = about.cause

    def _severity(self, incident: Incident, known: Alert | None) -> Severity:
        if incident.impact:
            return incident.impact.severity
        return known.severity if known else self._config.default_severity

    def _tell(self, firing: Firing, now: Millis, *, changed: bool) -> list[Event]:
        """Tell each receiver what it does not know; put off what has to wait."""
        firing.due = None
        queued: list[Event] = []
        if not self._config.receivers:
            record(firing.decisions, "", Reason.NO_RECEIVER, now)
        elif now < firing.wait_until:
            record(firing.decisions, "", Reason.GROUP_WAIT, now)
            firing.due = firing.wait_until
        else:
            for receiver in self._config.receivers:
                reason, update = self._decide(firing, receiver, now)
                record(firing.decisions, receiver.name, reason, now)
                if reason.told:
                    alert = _with_update(firing.alert, update)
                    queued.append(self._queue(firing, receiver.name, alert, now))
        if queued:
            firing.generation += 1
        return [AlertChanged(alert=firing.alert), *queued] if queued or changed else []

    def _decide(self, firing: Firing, receiver: Receiver, now: Millis) -> tuple[Reason, str]:
        """Whether `receiver` is to be told now and why, and the sentence that says what is new."""
        told = firing.told.get(receiver.name)
        severity = firing.alert.severity
        labels = dict(firing.alert.labels)
        if told is None and not self._switch.goes_to(receiver.name, labels):
            return Reason.NOT_ROUTED, ""
        if self._switch.silenced(labels, now):
            firing.due = now  # somebody may end the silence at any time
            return Reason.SILENCED, ""
        if told is None:
            below = severity > receiver.min_severity
            return (Reason.BELOW_MIN_SEVERITY if below else Reason.TOLD_FIRING), ""
        if severity < told.severity:
            return Reason.TOLD_SEVERITY_ROSE, message.rose(told.severity, severity)
        if firing.cause is None or firing.cause == told.cause:
            return Reason.DEDUPLICATED, ""
        again = Millis(told.at + round(self._config.update_interval * SECOND))
        if now < again:
            firing.due = again if firing.due is None else min(firing.due, again)
            return Reason.THROTTLED, ""
        return Reason.TOLD_CAUSE_NAMED, message.renamed(told.cause, firing.cause, now)

    def _queue(self, firing: Firing, receiver: str, alert: Alert, now: Millis) -> Event:
        before = firing.told.get(receiver)
        firing.told[receiver] = Told(
            at=now,
            severity=min(before.severity, alert.severity) if before else alert.severity,
            cause=firing.cause or (before.cause if before else None),
        )
        return _queued(firing, receiver, alert, now)

    def _resolve(
        self, key: str, firing: Firing, ends_at: Millis | None, now: Millis
    ) -> list[Event]:
        ended = Millis(max(firing.alert.starts_at, ends_at or now))
        alert = replace(firing.alert, state=AlertState.RESOLVED, ends_at=ended)
        events: list[Event] = [AlertChanged(alert=alert)]
        for receiver in sorted(firing.told):
            record(firing.decisions, receiver, Reason.TOLD_RESOLVED, now)
            events.append(_queued(firing, receiver, alert, now))
        for one in self._config.receivers:
            if one.name not in firing.told:
                record(firing.decisions, one.name, Reason.RESOLVED_UNTOLD, now)
        del self._state.firing[key]
        closed = self._state.closed
        closed[alert.id] = firing.decisions
        for oldest in list(closed)[:-_CLOSED_KEPT]:
            del closed[oldest]
        return events


def _worst_told(firing: Firing) -> Severity:
    """With what severity an alert is resolved: that under which its receivers know it.

    What it has calmed down to by its end would be another label set, and a receiver that matches
    by labels, as Alertmanager does, would take it for another alert and keep the first one firing.
    """
    told = [one.severity for one in firing.told.values()]
    return min(told, default=firing.alert.severity)


def _with_update(alert: Alert, update: str) -> Alert:
    if not update:
        return alert
    return replace(alert, annotations=tuple(sorted((*alert.annotations, ("update", update)))))


def _queued(firing: Firing, receiver: str, alert: Alert, now: Millis) -> NotificationQueued:
    return NotificationQueued(
        notification=Notification(
            id=_notification_id(alert.id, firing.generation, receiver),
            receiver=receiver,
            alert=alert,
            created_at=now,
        )
    )


def _notification_id(alert_id: AlertId, generation: int, receiver: str) -> str:
    return derive_id("ntf", alert_id, generation, receiver)


def _adopted(alert: Alert, notified: Sequence[Notification]) -> Firing:
    """The state of a firing alert as far as its notifications tell it."""
    firing = Firing(alert=alert, cause=_cause_of(alert), wait_until=alert.updated_at)
    generations = {
        _notification_id(alert.id, generation, receiver): generation
        for receiver in {one.receiver for one in notified}
        for generation in range(len(notified))
    }
    # By generation and not by time: two may have been queued within one millisecond.
    for one in sorted(notified, key=lambda one: generations.get(one.id, 0)):
        before = firing.told.get(one.receiver)
        severity = one.alert.severity
        firing.told[one.receiver] = Told(
            at=one.created_at,
            severity=min(before.severity, severity) if before else severity,
            cause=_cause_of(one.alert) or (before.cause if before else None),
        )
        firing.generation = max(firing.generation, generations.get(one.id, 0) + 1)
    if not firing.told:
        firing.due = firing.wait_until
    return firing


def _cause_of(alert: Alert) -> str | None:
    return dict(alert.annotations).get("cause")
