"""Why somebody was told, or was not: every decision of the book leaves one of these."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from dos.kit.clock import Millis


class Reason(StrEnum):
    """Why a receiver was told (`told_…`) or was not."""

    TOLD_FIRING = "told_firing"
    """The first notification of the alert to this receiver."""
    TOLD_SEVERITY_ROSE = "told_severity_rose"
    """Worse than anything this receiver was told before."""
    TOLD_CAUSE_NAMED = "told_cause_named"
    """Another probable root cause than the one this receiver was told."""
    TOLD_RESOLVED = "told_resolved"
    """It is over."""
    DEDUPLICATED = "deduplicated"
    """Nothing that this receiver does not know already."""
    THROTTLED = "throttled"
    """Another cause is named, but the last notification is younger than `update_interval`."""
    GROUP_WAIT = "group_wait"
    """The first notification waits for `group_wait`."""
    BELOW_MIN_SEVERITY = "below_min_severity"
    """Less severe than the receiver's `min_severity`."""
    NOT_ROUTED = "not_routed"
    """No route leads from the alert to the receiver."""
    SILENCED = "silenced"
    """Somebody wants quiet about it; what a receiver was told is resolved all the same."""
    RESOLVED_UNTOLD = "resolved_untold"
    """Over before this receiver was told that it began."""
    NO_RECEIVER = "no_receiver"
    """The configuration has no receivers."""

    @property
    def told(self) -> bool:
        """Whether a notification was queued."""
        return self.value.startswith("told_")


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One decision about one receiver, or the same one several times in a row."""

    receiver: str
    """Empty when the decision is about all of them."""
    reason: Reason
    at: Millis
    """When it was first decided so."""
    until: Millis
    """When it was last decided so."""
    count: int = 1


MAX_DECISIONS = 100
"""Kept per alert; the oldest go first."""


def record(decisions: list[Decision], receiver: str, reason: Reason, now: Millis) -> None:
    """Append to `decisions`; an equal decision about the same receiver is counted instead."""
    for index in range(len(decisions) - 1, -1, -1):
        last = decisions[index]
        if last.receiver == receiver:
            if last.reason is reason and not reason.told:
                decisions[index] = replace(last, until=now, count=last.count + 1)
                return
            break
    decisions.append(Decision(receiver=receiver, reason=reason, at=now, until=now))
    del decisions[:-MAX_DECISIONS]
