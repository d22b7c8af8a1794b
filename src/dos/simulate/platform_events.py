"""What the platform writes down of itself: events such as Kubernetes keeps them.

Like the API server's event recorder, equal events of one object are one event with a count.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

from dos.kit.clock import Millis

EVENTS_KEPT = 1_000
"""Events remembered at most; the one that has been quiet for longest goes first."""


@dataclass(frozen=True, slots=True)
class Involved:
    """The object that an event is about."""

    kind: str
    """`Pod`, `Node`, `Deployment`, `StatefulSet`."""
    namespace: str
    """Empty for nodes."""
    name: str
    uid: str


@dataclass(slots=True, kw_only=True)
class PlatformEvent:
    """Something that happened to an object, as often as `count` says."""

    number: int
    """Of its first time; grows from event to event."""
    about: Involved
    reason: str
    message: str
    warning: bool
    component: str
    """Who says so: `kubelet`, `kernel-monitor`, `deployment-controller`, …"""
    first: Millis
    last: Millis
    count: int = 1


class EventLog:
    """The newest events, bounded."""

    def __init__(self, kept: int = EVENTS_KEPT) -> None:
        self._kept = kept
        self._events: OrderedDict[tuple[Involved, str, str], PlatformEvent] = OrderedDict()
        self._numbered = 0

    def __iter__(self) -> Iterator[PlatformEvent]:
        """The one that was seen least recently first."""
        return iter(list(self._events.values()))

    def __len__(self) -> int:
        return len(self._events)

    def note(
        self,
        at: Millis,
        about: Involved,
        reason: str,
        message: str,
        *,
        component: str,
        warning: bool = False,
        times: int = 1,
    ) -> None:
        """Write an event down, or count it if it is there already."""
        key = (about, reason, message)
        known = self._events.pop(key, None)
        if known is None:
            self._numbered += 1
            known = PlatformEvent(
                number=self._numbered,
                about=about,
                reason=reason,
                message=message,
                warning=warning,
                component=component,
                first=at,
                last=at,
                count=times,
            )
        else:
            known.last, known.count = at, known.count + times
        self._events[key] = known
        while len(self._events) > self._kept:
            self._events.popitem(last=False)
