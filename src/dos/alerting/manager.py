"""Alerts and channels for programs that embed DOS: each alert is told once, to those concerned.

    monitor ─▶ AlertManager.notify ─▶ deduplicate ─▶ route by severity ─▶ channels, side by side

This is the small face: everything lives in this process. What `dos serve` does (routes, groups,
silences, escalation, a durable outbox) is in `dos.alerting.desk` and `dos.alerting.dispatch`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from random import Random

from dos.alerting.base import Notifier
from dos.alerting.channel import notification_of
from dos.kit.clock import Clock, SystemClock
from dos.kit.errors import ConfigError, PermanentError, TransientError
from dos.kit.retry import Backoff
from dos.model.alert import Acknowledgement, Alert, AlertState
from dos.model.ids import AlertId
from dos.model.impact import Severity

Outcome = Mapping[str, Exception | None]
"""By channel: None where it took the notification, else why it did not."""


class AlertManager:
    """Tells channels of alerts; not thread-safe.

    Args:
        channels: By name, such as `email`, `slack` and `pagerduty`.
        routes: Which channels hear of which severity. Without, sev1 and sev2 go to all channels,
            what is less severe to the first.
        clock: For the pauses between tries.
        tries: How often a channel that cannot take a notification is tried.
        timeout: Seconds a channel gets for one try.

    Raises:
        ConfigError: A route names a channel that there is not.
    """

    def __init__(
        self,
        channels: Mapping[str, Notifier] | None = None,
        *,
        routes: Mapping[Severity, Sequence[str]] | None = None,
        clock: Clock | None = None,
        tries: int = 3,
        timeout: float = 30.0,
    ) -> None:
        self.channels: dict[str, Notifier] = dict(channels or {})
        self.alerts: list[Alert] = []
        """What fires and was taken in, oldest first."""
        self._routes = dict(routes or {})
        self._clock = clock or SystemClock()
        self._tries = tries
        self._timeout = timeout
        self._rng = Random(0)  # noqa: S311  jitter of retries, not a secret
        self._told: dict[str, set[str]] = {}
        """By fingerprint: channels that take the alert for firing."""
        for names in self._routes.values():
            self._check(names)

    def deduplicate(self, alerts: Iterable[Alert]) -> list[Alert]:
        """Those that say something new, and from now on they are known.

        New is an alert that begins, that is more severe than before, or that ends having been
        known as firing.
        """
        known = {one.fingerprint: one for one in self.alerts}
        news: list[Alert] = []
        for alert in alerts:
            before = known.get(alert.fingerprint)
            if alert.state is AlertState.RESOLVED:
                if known.pop(alert.fingerprint, None) is not None:
                    news.append(alert)
            elif before is None or alert.severity < before.severity:
                news.append(alert)
            if alert.state is AlertState.FIRING:
                by = before.acknowledged if before else None
                known[alert.fingerprint] = replace(alert, acknowledged=alert.acknowledged or by)
        self.alerts = list(known.values())
        return news

    async def notify(self, *alerts: Alert) -> list[tuple[Alert, Outcome]]:
        """Tell of what is new among `alerts`; returns what was told, and how that went."""
        return [(one, await self.send_alert(one)) for one in self.deduplicate(alerts)]

    async def send_alert(self, alert: Alert, channels: Sequence[str] | None = None) -> Outcome:
        """Tell of one alert now, whether it is known or not.

        The end of an alert goes to those who were told of it, whatever the routes say.

        Args:
            alert: Which.
            channels: Names of those to be told; None: by severity.

        Raises:
            ConfigError: There is no channel of that name.
        """
        told = self._told.setdefault(alert.fingerprint, set())
        resolved = alert.state is AlertState.RESOLVED
        if channels is None:
            channels = sorted(told) if resolved and told else self._of(alert.severity)
        self._check(channels)
        names = list(dict.fromkeys(channels))
        errors = await asyncio.gather(*(self._deliver(name, alert) for name in names))
        outcome = dict(zip(names, errors, strict=True))
        took = {name for name, error in outcome.items() if error is None}
        told -= took
        if not resolved:
            told |= took
        if not told:
            del self._told[alert.fingerprint]
        return outcome

    def acknowledge(self, alert_id: AlertId, by: str, note: str = "") -> Alert | None:
        """Somebody is on an alert; None where it does not fire."""
        for at, alert in enumerate(self.alerts):
            if alert.id == alert_id:
                said = Acknowledgement(alert=alert_id, by=by, at=self._clock.now(), note=note)
                self.alerts[at] = replace(alert, acknowledged=said)
                return self.alerts[at]
        return None

    async def close(self) -> None:
        """Release the channels."""
        for channel in self.channels.values():
            await channel.close()

    def _of(self, severity: Severity) -> Sequence[str]:
        if severity in self._routes:
            return self._routes[severity]
        names = list(self.channels)
        return names if severity <= Severity.SEV2 else names[:1]

    def _check(self, names: Iterable[str]) -> None:
        for name in names:
            if name not in self.channels:
                known = ", ".join(sorted(self.channels)) or "none"
                msg = f"There is no channel {name!r}."
                raise ConfigError(msg, remedy=f"There are: {known}.")

    async def _deliver(self, name: str, alert: Alert) -> Exception | None:
        """Try until the channel takes it; a channel in trouble never holds up another."""
        notification = notification_of(alert, name)
        delays = Backoff().delays(self._rng)
        failed: Exception | None = None
        for left in reversed(range(self._tries)):
            try:
                sending = self.channels[name].send(notification)
                await asyncio.wait_for(sending, self._timeout)
            except PermanentError as error:
                return error
            except TransientError as error:
                failed = error
                pause = max(next(delays), error.retry_after or 0.0)
            except TimeoutError:
                failed = TransientError(f"{name} did not answer within {self._timeout:g} s.")
                pause = next(delays)
            else:
                return None
            if left:
                await self._clock.sleep(min(pause, self._timeout))
        return failed
