"""What people say in a channel comes back: acknowledged there is acknowledged here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from dos.kit.clock import Millis
from dos.model.alert import Notification


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """Somebody said that he is on it, or wants quiet about it."""

    key: str
    """What the channel calls that which it was told of; see `Listener.key`."""
    by: str
    at: Millis
    """When, by the channel's clock."""
    quiet: float = 0.0
    """Seconds of quiet that are wanted; 0: he is on it."""


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


@runtime_checkable
class Board(Protocol):
    """A notifier whose messages can be changed after they were sent."""

    async def show(self, notification: Notification) -> None:
        """Let the message of a notification say who is on it, without telling anybody anew.

        May be called while `send` is at work, and not at all: what it shows has to be in what is
        sent next as well. Nothing is done about a message that is not there.

        Args:
            notification: As it was sent, with who is on its alerts by now.

        Raises:
            TransientError: It could not be changed.
            PermanentError: It cannot be changed.
        """
        ...

    async def note(self, notification: Notification, text: str) -> None:
        """Say something beside the message of a notification; as `show`, else."""
        ...
