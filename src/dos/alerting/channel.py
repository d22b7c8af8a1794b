"""What every channel to people has in common, for programs that use one by itself.

    from dos import SlackNotifier

    slack = SlackNotifier.of(webhook_url="https://hooks.slack.com/services/…")
    await slack.send_alert(alert)

Inside DOS a channel is built from the configuration, and `dos.alerting.dispatch` calls `send`.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from typing import Any, Self

from pydantic import ValidationError

from dos.kit.clock import Clock, SystemClock
from dos.kit.errors import ConfigError
from dos.kit.plugins import Plugin
from dos.model.alert import Alert, Notification
from dos.model.ids import derive_id


class NotificationChannel(ABC):
    """A way to tell somebody; the built-in ones are in `dos.alerting.notifiers`."""

    @classmethod
    def of(cls, *, name: str = "", clock: Clock | None = None, **keys: object) -> Self:
        """A channel from the keys that its section of the configuration has.

        Args:
            name: What errors call it; the name of its kind where it is empty.
            clock: For times; the machine's where it is None.
            keys: As in the configuration.

        Raises:
            ConfigError: A key is unknown, missing or wrong; the message names it, not its value.
        """
        module = sys.modules[cls.__module__]
        plugin: Plugin[Any, Self] = module.PLUGIN
        try:
            config = plugin.config.model_validate(keys)
        except ValidationError as error:
            said = "; ".join(
                f"{'.'.join(str(part) for part in one['loc']) or 'keys'}: {one['msg']}"
                for one in error.errors(include_input=False, include_url=False)
            )
            msg = f"{cls.__name__}: {said}"
            raise ConfigError(msg) from None  # the cause would show the values
        kind = cls.__module__.rpartition(".")[2]
        return plugin.build(config, name=name or kind, clock=clock or SystemClock())

    @abstractmethod
    async def send(self, notification: Notification) -> None:
        """Deliver one notification; see `dos.alerting.base`.

        Raises:
            TransientError: Not delivered; trying again may help.
            PermanentError: Not delivered; somebody has to change something first.
        """

    @abstractmethod
    async def close(self) -> None:
        """Release connections; idempotent."""

    async def send_alert(self, alert: Alert) -> None:
        """Tell about one alert, in the state in which it is.

        Sent twice it has the same idempotency key. Raises as `send`.
        """
        await self.send(notification_of(alert, type(self).__name__))


def notification_of(alert: Alert, receiver: str) -> Notification:
    """The notification of one alert by itself."""
    return Notification(
        id=derive_id("ntf", alert.id, alert.state, alert.updated_at, receiver),
        receiver=receiver,
        alert=alert,
        created_at=alert.updated_at,
    )
