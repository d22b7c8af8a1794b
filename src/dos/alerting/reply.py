"""What people say in a channel comes back: acknowledged there is acknowledged here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from dos.kit.clock import Millis
from dos.model.alert import Notification


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """Somebody said that he is on it."""

    key: str
    """What the channel calls that which it was told of; see `Listener.key`."""
    by: str
    at: Millis
    """When, by the channel's clock."""


@runtime_checkable
class Listener(Protocol):
    """A notifier whose channel calls back by a signed webhook."""

    def heard(self, headers: Mapping[str, str], body: bytes) -> Reply | None:
        """What a webhook says; None: nothing that matters here.

        Args:
            headers: Names in lower case.
            body: As it came, which is what is signed.

        Raises:
            PermissionError: It is not signed, or not with the secret of the configuration.
            ValueError: It is signed and cannot be understood.
        """
        ...

    def key(self, notification: Notification) -> str:
        """What the channel calls that which a notification is about."""
        ...
