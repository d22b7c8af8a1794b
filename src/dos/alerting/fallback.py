"""Fallback: who is told when a receiver cannot be reached.

    delivery: "not delivered" ─▶ intake log ─▶ pipeline ─▶ a notification to the fallback

That something was not delivered comes back into the pipeline as input, so that what is decided on
it is logged and replayed like everything else. Delivery to the first receiver is still tried, and
once it works again it hears everything. The fallback is told what fires and nobody is on, and when
that is over.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pydantic import TypeAdapter, ValidationError

from dos.alerting.decision import Decision, Reason, record
from dos.kit.clock import Millis
from dos.kit.errors import ConfigError, CorruptDataError
from dos.model.alert import Alert, AlertState, Notification
from dos.model.events import AlertChanged, Event, NotificationQueued
from dos.model.ids import AlertId, derive_id


@dataclass(slots=True, kw_only=True)
class _Told:
    """What fallbacks were told of one alert that fires."""

    receivers: list[str] = field(default_factory=list)
    instead_of: list[str] = field(default_factory=list)
    """Notifications that were not delivered."""
    decisions: list[Decision] = field(default_factory=list)


_STATE: TypeAdapter[dict[AlertId, _Told]] = TypeAdapter(dict[AlertId, _Told])


class Fallbacks:
    """Decides whom else to tell; see the module's text. Reads no clock.

    Args:
        instead: Receiver by the receiver whose fallback it is.

    Raises:
        ConfigError: They go round in a circle.
    """

    def __init__(self, instead: Mapping[str, str]) -> None:
        self.instead = instead
        self._told: dict[AlertId, _Told] = {}
        for name in instead:
            seen, at = [name], instead[name]
            while at in instead and at not in seen:
                seen.append(at)
                at = instead[at]
            if at in seen:
                msg = f"alerting.receivers: fallbacks go round in a circle: {', '.join(seen)}."
                raise ConfigError(msg, remedy="Leave the last one without a fallback.")

    def take(
        self, undelivered: Sequence[Notification], firing: Iterable[Alert], now: Millis
    ) -> list[Event]:
        """Tell the fallbacks of what was not delivered, of alerts that still fire.

        Args:
            undelivered: Notifications that did not reach their receiver.
            firing: All alerts that fire, as they stand.
            now: The time.
        """
        if not undelivered:
            return []
        nobodys = {one.id: one for one in firing if one.acknowledged is None}
        events: list[Event] = []
        for one in undelivered:
            name = self.instead.get(one.receiver)
            alerts = [nobodys[alert.id] for alert in one.alerts if alert.id in nobodys]
            if name is None or one.state is AlertState.RESOLVED or not alerts:
                continue
            known = [self._told.setdefault(alert.id, _Told()) for alert in alerts]
            if all(one.id in told.instead_of for told in known):
                continue
            for told in known:
                told.instead_of.append(one.id)
                if name not in told.receivers:
                    told.receivers.append(name)
                record(told.decisions, name, Reason.TOLD_FALLBACK, now)
            text = f"{one.receiver} could not be reached."
            events.append(_queued(one, [_with(alert, text) for alert in alerts], name, now))
        return events

    def follow(self, events: Iterable[Event], now: Millis) -> list[Event]:
        """Fallbacks that were told of an alert are told that it is over."""
        found: list[Event] = []
        for event in events:
            if isinstance(event, AlertChanged) and event.alert.state is AlertState.RESOLVED:
                told = self._told.pop(event.alert.id, None)
                for name in told.receivers if told else ():
                    over = Notification(
                        id=derive_id("ntf", event.alert.id, "fallback", "resolved", name),
                        receiver=name,
                        alert=event.alert,
                        created_at=now,
                    )
                    found.append(NotificationQueued(notification=over))
        return found

    def explain(self, alert_id: AlertId) -> Sequence[Decision]:
        """Which fallbacks were told, oldest first."""
        told = self._told.get(alert_id)
        return tuple(told.decisions) if told else ()

    def dump(self) -> bytes:
        """The whole state, exactly; see `load`."""
        return _STATE.dump_json(self._told)

    def load(self, data: bytes) -> None:
        """Become what `dump` wrote, perhaps with other fallbacks.

        Raises:
            CorruptDataError: `data` was not written by `dump`.
        """
        try:
            self._told = _STATE.validate_json(data)
        except ValidationError as error:
            msg = f"The checkpoint of fallbacks cannot be read: {error.errors()[0]['msg']}."
            raise CorruptDataError(
                msg, remedy="Delete the checkpoint; what is not delivered falls back again."
            ) from error


def _with(alert: Alert, text: str) -> Alert:
    facts = {**dict(alert.annotations), "update": text}
    return replace(alert, annotations=tuple(sorted(facts.items())))


def _queued(
    one: Notification, alerts: Sequence[Alert], name: str, now: Millis
) -> NotificationQueued:
    return NotificationQueued(
        notification=replace(
            one,
            id=derive_id("ntf", one.id, "fallback", name),
            receiver=name,
            alert=alerts[0],
            others=tuple(alerts[1:]),
            created_at=now,
        )
    )
