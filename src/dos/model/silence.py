"""Silences: for a while, nobody is told of alerts whose labels match."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from dos.kit.clock import Millis
from dos.model.matchers import Matchers, all_match


class SilenceState(StrEnum):
    """As in Alertmanager."""

    PENDING = "pending"
    ACTIVE = "active"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """Who asked for quiet about what, for how long and why.

    Raises:
        ValueError: It matches every alert, or ends before it begins.
    """

    id: str = ""
    """Empty until it is kept."""
    matchers: Matchers
    starts_at: Millis
    ends_at: Millis
    created_by: str
    comment: str
    updated_at: Millis

    def __post_init__(self) -> None:
        if all_match(self.matchers, {}):
            msg = "at least one matcher has to need a label that is not empty"
            raise ValueError(msg)
        if self.ends_at <= self.starts_at:
            msg = "it has to end after it begins"
            raise ValueError(msg)

    def state(self, now: Millis) -> SilenceState:
        """Whether it holds."""
        if now < self.starts_at:
            return SilenceState.PENDING
        return SilenceState.ACTIVE if now < self.ends_at else SilenceState.EXPIRED
