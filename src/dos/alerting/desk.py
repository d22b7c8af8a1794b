"""The desk: alerts that other systems send, silences, and who is told of what by which route.

    posted alerts ─▶ alerts that begin and end ─▶ groups by route ─▶ notifications

A plain state machine on given times, as the alert book beside it, whose alerts (about incidents and
forecasts) go by the same routes and silences (`goes_to`, `silenced`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pydantic import TypeAdapter, ValidationError

from dos.alerting.decision import Decision, Reason, record
from dos.alerting.dependents import Explained, explains, services_of
from dos.alerting.groups import Groups, KeptGroups, Message
from dos.alerting.routing import Routing
from dos.alerting.silences import Silences
from dos.kit.clock import MINUTE, Millis
from dos.kit.errors import CorruptDataError
from dos.model.alert import (
    Acknowledgement,
    Alert,
    AlertState,
    LabelPairs,
    Notification,
    PostedAlert,
    fingerprint_of,
)
from dos.model.events import AlertChanged, Event, NotificationQueued
from dos.model.ids import AlertId, EntityId, derive_id
from dos.model.impact import Severity
from dos.model.silence import Silence

_SEVERITIES = {
    **dict.fromkeys(("sev1", "critical", "page", "emergency", "fatal", "disaster"), Severity.SEV1),
    **dict.fromkeys(("sev2", "error", "high", "major", "average"), Severity.SEV2),
    **dict.fromkeys(("sev3", "warning", "warn", "ticket", "medium", "minor"), Severity.SEV3),
    **dict.fromkeys(("sev4", "info", "low", "none", "informational"), Severity.SEV4),
}
_NEVER = Millis(2**53)
_CLOSED_KEPT = 500
_OWN_LASTS = 5 * MINUTE
"""Alerts of DOS itself have no end to be seen; who asks is told one that is always to come."""


@dataclass(slots=True, kw_only=True)
class _State:
    """What is written down."""

    serial: int = 0
    """Alerts begun and notifications made so far; part of their ids."""
    groups: KeptGroups = field(default_factory=KeptGroups)
    silences: tuple[Silence, ...] = ()
    alerts: tuple[tuple[str, Alert], ...] = ()
    decisions: tuple[tuple[AlertId, tuple[Decision, ...]], ...] = ()


_STATE: TypeAdapter[_State] = TypeAdapter(_State)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """An alert as it stands."""

    alert: Alert
    ends_at: Millis
    """When it will count as over, unless it is sent again."""
    receivers: tuple[str, ...]
    silenced_by: tuple[str, ...]
    inhibited_by: tuple[str, ...]


class Desk:
    """Takes alerts in and says who is to be told; see the module's text.

    Not thread-safe: owned by the pipeline. Reads no clock.

    Args:
        routing: Routes, inhibition, intervals, and from which severity on receivers are told.
    """

    def __init__(self, routing: Routing) -> None:
        self.routing = routing
        self.silences = Silences()
        self.explained: Explained = {}
        """Whose trouble comes from an incident that somebody was told of."""
        self.in_maintenance: Collection[EntityId] = ()
        """Services at which planned work is going on; of those in `services`."""
        self._serial = 0
        self._alerts: dict[str, Alert] = {}
        """By fingerprint: what fires, or is over and still has to be told so."""
        self._decisions: dict[AlertId, list[Decision]] = {}
        """Oldest alert first; of those that are over the newest few hundred."""
        self._check_at = _NEVER
        """No alert ends by itself before this time."""
        self._groups = Groups(
            routing.tree,
            inhibit=routing.inhibit,
            intervals=routing.intervals,
            silenced=lambda labels, at: self.silences.by(labels, at) is not None,
            unwanted=self._unwanted,
            acknowledged=self._is_acknowledged,
            resolve_timeout=routing.resolve_timeout,
            flap_calm=routing.flap_calm,
        )

    @property
    def is_busy(self) -> bool:
        """Whether there is anything to be told, or about to end."""
        return bool(self._alerts) or self._groups.next_due is not None

    @property
    def firing(self) -> Sequence[Alert]:
        """Posted alerts that fire."""
        return [one for one in self._alerts.values() if one.state is AlertState.FIRING]

    @property
    def services(self) -> set[EntityId]:
        """Whom the alerts that fire may be about."""
        return {name for one in self.firing for name in services_of(dict(one.labels))}

    def take(
        self, alerts: Sequence[PostedAlert], silences: Sequence[Silence], now: Millis
    ) -> list[Event]:
        """Take in what was posted; alerts that begin are `AlertChanged`."""
        for silence in silences:
            self.silences.put(silence)
        self._groups.take(alerts, now)
        events: list[Event] = []
        for print_ in dict.fromkeys(one.fingerprint for one in alerts):
            posted = self._groups.find(print_)
            if posted is not None:
                events += self._follow(print_, posted, now)
        return events

    def acknowledge(self, said: Acknowledgement, now: Millis) -> list[Event]:
        """Somebody is on an alert; nothing, where it is unknown or over."""
        for print_, alert in self._alerts.items():
            if alert.id == said.alert and alert.state is AlertState.FIRING:
                self._alerts[print_] = replace(alert, acknowledged=said, updated_at=now)
                record(self._decisions.setdefault(alert.id, []), "", Reason.ACKNOWLEDGED, now)
                return [AlertChanged(alert=self._alerts[print_])]
        return []

    def tick(self, now: Millis) -> list[Event]:
        """What ended by itself, and what is to be told by now."""
        events: list[Event] = []
        self.silences.forget(now)
        if now >= self._check_at:
            self._check_at = _NEVER
            for print_ in list(self._alerts):
                posted = self._groups.find(print_)
                if posted is not None:
                    events += self._follow(print_, posted, now)
        for message in self._groups.tick(now):
            events += self._notify(message)
        if self._groups.decided:
            self._record(now)
            over = [
                print_
                for print_, alert in self._alerts.items()
                if alert.state is AlertState.RESOLVED and print_ not in self._groups
            ]
            for print_ in over:
                del self._alerts[print_]
            self._forget()
        return events

    def goes_to(self, receiver: str, labels: Mapping[str, str]) -> bool:
        """Whether a route leads from an alert with these labels to a receiver."""
        return any(
            receiver in (route.receiver, *self.routing.channels(route.receiver))
            for route in self.routing.tree.of(labels)
        )

    def silenced(self, labels: Mapping[str, str], now: Millis) -> bool:
        """Whether somebody wants quiet about it."""
        return self.silences.by(labels, now) is not None

    def seen(self, own: Iterable[Alert], now: Millis) -> list[Seen]:
        """What fires now, oldest first.

        Args:
            own: Alerts that were not posted: those of the alert book.
            now: The time.
        """
        self._groups.watch(now)
        # `inhibit_rules` are for alerts that were posted: what DOS finds is told all the same.
        found = [
            replace(self._seen(alert, now + _OWN_LASTS, now), inhibited_by=()) for alert in own
        ]
        for posted in self._groups.alerts:
            ends_at = self._groups.ends(posted)
            if ends_at > now:
                found.append(self._seen(self._alerts[posted.fingerprint], ends_at, now))
        return sorted(found, key=lambda one: (one.alert.starts_at, one.alert.id))

    def groups(self, own: Iterable[Alert], now: Millis) -> list[tuple[str, LabelPairs, list[Seen]]]:
        """Receiver, labels and alerts of each group; an own alert is a group by itself."""
        by_id = {one.alert.id: one for one in self.seen(own, now)}
        found: list[tuple[str, LabelPairs, list[Seen]]] = []
        for receiver, labels, posted in self._groups.walk():
            known = [self._alerts.get(one.fingerprint) for one in posted]
            ids = [one.id for one in known if one is not None]
            members = [by_id.pop(one) for one in ids if one in by_id]
            if members:
                found.append((receiver, labels, members))
                by_id |= {one.alert.id: one for one in members}  # other receivers have it too
        posted_ids = {one.id for one in self._alerts.values()}
        for one in by_id.values():
            if one.alert.id not in posted_ids:
                found += [(receiver, one.alert.labels, [one]) for receiver in one.receivers]
        return found

    def _seen(self, alert: Alert, ends_at: int, now: Millis) -> Seen:
        labels = dict(alert.labels)
        inhibitor = self._groups.inhibited_by(labels)
        by = () if inhibitor is None else (fingerprint_of(inhibitor.items()),)
        receivers = tuple(dict.fromkeys(one.receiver for one in self.routing.tree.of(labels)))
        told = explains(self.explained, labels, alert.severity)
        hear = [one for name in receivers for one in self.routing.channels(name)]
        if told is not None and all(one in told.receivers for one in hear):
            by = (*by, told.fingerprint)
        if self._is_worked_on(labels):
            by = (*by, "maintenance")
        return Seen(
            alert=alert,
            ends_at=Millis(ends_at),
            receivers=receivers,
            silenced_by=tuple(one.id for one in self.silences.all_by(labels, now)),
            inhibited_by=by,
        )

    def explain(self, alert_id: AlertId) -> Sequence[Decision]:
        """Who was told about an alert and who was not, and why; oldest first.

        Empty for an alert that is unknown or ended long ago.
        """
        return tuple(self._decisions.get(alert_id, ()))

    def adopt(self, alerts: Iterable[Alert], now: Millis) -> None:
        """Take over firing alerts that the store knows and this desk does not.

        Nobody may send them any more: they count as over after the usual time.
        """
        mine = [
            one
            for one in alerts
            if one.state is AlertState.FIRING and one.fingerprint not in self._alerts
        ]
        for alert in mine:
            self._alerts[alert.fingerprint] = alert
            posted = PostedAlert(
                labels=alert.labels,
                annotations=alert.annotations,
                starts_at=alert.starts_at,
                updated_at=now,
            )
            self._groups.take([posted], now)
            self._check_at = min(self._check_at, self._groups.ends(posted))

    def dump(self) -> bytes:
        """The whole state, exactly; see `load`."""
        return _STATE.dump_json(
            _State(
                serial=self._serial,
                groups=self._groups.dump(),
                silences=tuple(self.silences),
                alerts=tuple(self._alerts.items()),
                decisions=tuple((one, tuple(said)) for one, said in self._decisions.items()),
            )
        )

    def load(self, data: bytes, now: Millis) -> None:
        """Become what `dump` wrote, perhaps under another configuration.

        Raises:
            CorruptDataError: `data` was not written by `dump`.
        """
        try:
            state = _STATE.validate_json(data)
        except ValidationError as error:
            msg = f"The checkpoint of posted alerts cannot be read: {error.errors()[0]['msg']}."
            raise CorruptDataError(
                msg, remedy="Delete the checkpoint; firing alerts are taken over from the store."
            ) from error
        self._serial = state.serial
        self._alerts = dict(state.alerts)
        self._decisions = {one: list(said) for one, said in state.decisions}
        self._check_at = Millis(0)
        for silence in state.silences:
            self.silences.put(silence)
        self._groups.load(state.groups, now)

    def _follow(self, print_: str, posted: PostedAlert, now: Millis) -> list[Event]:
        """What a posted alert, as it stands now, is to those who follow alerts."""
        ends_at, known = self._groups.ends(posted), self._alerts.get(print_)
        firing = known is not None and known.state is AlertState.FIRING
        if ends_at <= now:
            if known is None or not firing:
                return []
            over = _alert_of(posted, known.id, AlertState.RESOLVED, ends_at, now)
            self._alerts[print_] = replace(over, acknowledged=known.acknowledged)
            return [AlertChanged(alert=self._alerts[print_])]
        self._check_at = min(self._check_at, ends_at)
        if known is not None and firing:
            # Its text may have changed; who asks is given the new one, but it is no event.
            fresh = _alert_of(posted, known.id, AlertState.FIRING, None, now)
            self._alerts[print_] = replace(fresh, acknowledged=known.acknowledged)
            return []
        self._serial += 1
        name = AlertId(derive_id("alr", print_, now, self._serial))
        self._alerts[print_] = _alert_of(posted, name, AlertState.FIRING, None, now)
        record(self._decisions.setdefault(name, []), "", Reason.GROUP_WAIT, now)
        return [AlertChanged(alert=self._alerts[print_])]

    def _record(self, now: Millis) -> None:
        """Remember why somebody was told, or was not."""
        for print_, receiver, decided in self._groups.decided:
            known = self._alerts.get(print_)
            if known is None:
                continue
            nobody = decided.told and not self.routing.channels(receiver)
            reason = Reason.NO_RECEIVER if nobody else decided
            record(self._decisions.setdefault(known.id, []), receiver, reason, now)

    def _forget(self) -> None:
        alive = {one.id for one in self._alerts.values()}
        over = [one for one in self._decisions if one not in alive]
        for one in over[:-_CLOSED_KEPT]:
            del self._decisions[one]

    def _notify(self, message: Message) -> list[Event]:
        """The notifications: one for each channel that its receiver has."""
        channels = self.routing.channels(message.receiver)
        if not channels:
            return []
        told = [self._told(one, AlertState.FIRING, message.at) for one in message.firing]
        told.sort(key=lambda one: (one.severity, one.starts_at, one.labels))
        told += [self._told(one, AlertState.RESOLVED, message.at) for one in message.resolved]
        self._serial += 1
        events: list[Event] = []
        for name in channels:
            wanted = [one for one in told if one.severity <= self.routing.least[name]]
            if wanted:
                sent = Notification(
                    id=derive_id("ntf", message.key, name, message.at, self._serial),
                    receiver=name,
                    alert=wanted[0],
                    others=tuple(wanted[1:]),
                    created_at=message.at,
                    route=message.route,
                    group=message.group,
                )
                events.append(NotificationQueued(notification=sent))
        return events

    def _told(self, posted: PostedAlert, state: AlertState, now: Millis) -> Alert:
        known = self._alerts[posted.fingerprint]
        ended = self._groups.ends(posted) if state is AlertState.RESOLVED else None
        told = _alert_of(posted, known.id, state, ended, now)
        return replace(told, acknowledged=known.acknowledged)

    def _is_worked_on(self, labels: Mapping[str, str]) -> bool:
        works = self.in_maintenance
        return bool(works) and any(one in works for one in services_of(labels))

    def _is_acknowledged(self, print_: str) -> bool:
        known = self._alerts.get(print_)
        return known is not None and known.acknowledged is not None

    def _unwanted(self, receiver: str, labels: Mapping[str, str]) -> Reason | None:
        severity, channels = severity_of(labels), self.routing.channels(receiver)
        if channels and all(severity > self.routing.least[one] for one in channels):
            return Reason.BELOW_MIN_SEVERITY
        if self._is_worked_on(labels):
            return Reason.MAINTENANCE
        told = explains(self.explained, labels, severity)
        heard = told is not None and channels and all(one in told.receivers for one in channels)
        return Reason.EXPLAINED if heard else None


def severity_of(labels: Mapping[str, str]) -> Severity:
    """From the label `severity` or `priority`, in the words that are in use; else in between."""
    for name in ("severity", "priority", "level"):
        found = _SEVERITIES.get(labels.get(name, "").lower())
        if found is not None:
            return found
    return Severity.SEV3


def _alert_of(
    posted: PostedAlert, alert_id: AlertId, state: AlertState, ended: Millis | None, now: Millis
) -> Alert:
    return Alert(
        id=alert_id,
        fingerprint=posted.fingerprint,
        state=state,
        severity=severity_of(dict(posted.labels)),
        labels=posted.labels,
        annotations=posted.annotations,
        starts_at=posted.starts_at,
        ends_at=None if ended is None else max(ended, posted.starts_at),
        updated_at=now,
        generator_url=posted.generator_url,
    )
