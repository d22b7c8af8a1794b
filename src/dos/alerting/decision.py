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
    TOLD_AGAIN = "told_again"
    """Nothing new of this alert, but `repeat_interval` is over, or its group has news."""
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
    MAINTENANCE = "maintenance"
    """Planned work is going on at its service; what somebody was told is resolved all the same."""
    FLAPPING = "flapping"
    """It is over for now, but it began again right after it was last told to be over: its end is
    told when it has been over for `flap_calm`."""
    EXPLAINED = "explained"
    """It depends on the root cause of an incident that this receiver was told of."""
    INHIBITED = "inhibited"
    """Another alert that fires says enough (`inhibit_rules`)."""
    ROUTE_MUTED = "route_muted"
    """A time interval of the route mutes it now."""
    ROUTE_GONE = "route_gone"
    """The configuration has this route no more; what was told by it is still resolved."""
    ACKNOWLEDGED = "acknowledged"
    """Somebody is on it: it is not told again, nor to anybody further."""
    TOLD_ESCALATED = "told_escalated"
    """Nobody acknowledged it in time."""
    TOLD_FALLBACK = "told_fallback"
    """Another receiver, whose fallback this is, could not be reached."""
    TOLD_AT_ONCE = "told_at_once"
    """A step of an escalation that comes with the first notification."""
    NOBODY_ON_CALL = "nobody_on_call"
    """A step of an escalation had nobody to tell, so that the next one came at once."""
    RESOLVED_UNTOLD = "resolved_untold"
    """Over before this receiver was told that it began."""
    NO_RECEIVER = "no_receiver"
    """There is nobody to tell: no receiver at all, or the route's has no channel."""

    @property
    def told(self) -> bool:
        """Whether a notification was queued."""
        return self.value.startswith("told_")

    @property
    def sentence(self) -> str:
        """The same for people."""
        return _SENTENCES[self]


_SENTENCES = {
    Reason.TOLD_FIRING: "told that it began",
    Reason.TOLD_SEVERITY_ROSE: "told that it is worse than it was told before",
    Reason.TOLD_CAUSE_NAMED: "told of another probable cause",
    Reason.TOLD_RESOLVED: "told that it is over",
    Reason.TOLD_AGAIN: "told again, with its group or because repeat_interval is over",
    Reason.DEDUPLICATED: "not told: it knows all of it already",
    Reason.THROTTLED: "not told of another cause yet: update_interval is not over",
    Reason.GROUP_WAIT: "nobody is told before group_wait is over",
    Reason.BELOW_MIN_SEVERITY: "not told: less severe than its min_severity",
    Reason.NOT_ROUTED: "not told: no route leads to it",
    Reason.SILENCED: "not told: silenced",
    Reason.MAINTENANCE: "not told: planned work is going on at its service",
    Reason.FLAPPING: "not told that it is over yet: it comes and goes, and flap_calm is not over",
    Reason.EXPLAINED: "not told: an incident it was told of explains it, by a dependency",
    Reason.INHIBITED: "not told: inhibited by another alert that fires",
    Reason.ROUTE_MUTED: "not told: a time interval mutes the route",
    Reason.ROUTE_GONE: "not told: the route is no longer in the configuration",
    Reason.ACKNOWLEDGED: "somebody is on it: it is not told again, nor to anybody further",
    Reason.TOLD_ESCALATED: "told because nobody acknowledged it in time",
    Reason.TOLD_FALLBACK: "told because another receiver could not be reached",
    Reason.TOLD_AT_ONCE: "told at once, as its escalation says",
    Reason.NOBODY_ON_CALL: "nobody told by this step, the next one comes at once",
    Reason.RESOLVED_UNTOLD: "not told that it is over: it never heard that it began",
    Reason.NO_RECEIVER: "nobody told: there is no receiver with a channel",
}


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
    note: str = ""
    """More about it: why somebody is on call."""

    @property
    def sentence(self) -> str:
        """The reason for people, with the note."""
        return f"{self.reason.sentence}: {self.note}" if self.note else self.reason.sentence


MAX_DECISIONS = 100
"""Kept per alert; the oldest go first."""


def record(
    decisions: list[Decision], receiver: str, reason: Reason, now: Millis, note: str = ""
) -> None:
    """Append to `decisions`; an equal decision about the same receiver is counted instead."""
    for index in range(len(decisions) - 1, -1, -1):
        last = decisions[index]
        if last.receiver == receiver:
            if last.reason is reason and last.note == note and not reason.told:
                decisions[index] = replace(last, until=now, count=last.count + 1)
                return
            break
    decisions.append(Decision(receiver=receiver, reason=reason, at=now, until=now, note=note))
    del decisions[:-MAX_DECISIONS]
