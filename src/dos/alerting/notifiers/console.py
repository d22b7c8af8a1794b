"""Console: notifications as readable blocks on a stream of the process."""

from __future__ import annotations

import sys
from typing import Literal, TextIO

from pydantic import BaseModel, ConfigDict

from dos.alerting.channel import NotificationChannel
from dos.alerting.message import body_of, subject_of
from dos.kit.clock import Clock, to_rfc3339
from dos.kit.errors import TransientError
from dos.kit.plugins import Plugin
from dos.model.alert import Notification


class Config(BaseModel):
    """Keys of a receiver of type `console`."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    stream: Literal["stderr", "stdout"] = "stderr"
    """Where to write."""
    details: bool = True
    """Whether the text follows the subject; without it each notification is one line."""


class ConsoleNotifier(NotificationChannel):
    """Writes each notification at once, followed by a flush.

    Args:
        config: What to write, and where.
        name: Name of the receiver, shown on each line.
        clock: Unused; the line shows the time of the decision.
        stream: Instead of the process' own, for tests and embedding.
    """

    def __init__(
        self, config: Config, *, name: str, clock: Clock, stream: TextIO | None = None
    ) -> None:
        del clock
        self._config = config
        self._name = name
        self._stream = stream

    async def send(self, notification: Notification) -> None:
        """Write one notification.

        Raises:
            TransientError: The stream does not take it (a full disk, a pipe without a reader).
        """
        said = subject_of(notification)
        lines = [f"{to_rfc3339(notification.created_at)} {self._name}: {said}"]
        if self._config.details:
            lines += [f"    {line}" for line in body_of(notification).splitlines()]
        # Looked up at each call: whoever redirects sys.stderr (Rich's live view) gets the lines.
        stream = self._stream or (sys.stdout if self._config.stream == "stdout" else sys.stderr)
        try:
            stream.write("\n".join(lines) + "\n")
            stream.flush()
        except (OSError, ValueError) as error:
            msg = f"Receiver {self._name}: {self._config.stream} cannot be written: {error}."
            raise TransientError(msg) from error

    async def close(self) -> None:
        """Nothing to release: the stream belongs to the process."""


PLUGIN = Plugin(Config, ConsoleNotifier)
