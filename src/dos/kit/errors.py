"""The error family of DOS.

Plugins raise `TransientError` (try again later may help) or `PermanentError` (it will not,
until somebody changes something); supervision decides about retries from that alone.
"""

from __future__ import annotations


class DosError(Exception):
    """An error DOS raises on purpose.

    Args:
        message: What went wrong and where, as one sentence for a person.
        remedy: What to do about it, as one sentence; shown after the message.
    """

    def __init__(self, message: str, *, remedy: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}" if self.remedy else self.message


class TransientError(DosError):
    """The other side is unreachable, slow or overloaded: retry with backoff."""

    def __init__(
        self, message: str, *, remedy: str | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message, remedy=remedy)
        self.retry_after = retry_after
        """Seconds the other side asked us to wait (HTTP `Retry-After`), if it did."""


class PermanentError(DosError):
    """Retrying cannot help: bad credentials, unknown endpoint, malformed data."""


class ConfigError(PermanentError):
    """The configuration is wrong; the message names file, line and what to write instead."""


class CorruptDataError(PermanentError):
    """Stored or recorded data fails its integrity check; the message names the place."""
