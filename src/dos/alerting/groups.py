"""Groups of alerts, and when their receivers are told: Alertmanager's dispatcher and stages.

A plain state machine on given times; it reads no clock and sends nothing. `take` takes alerts in,
`tick` returns what is to be sent by now. Data flow of a group that is due, stage by stage:

    alerts of the group ─▶ inhibited? ─▶ silenced? ─▶ route muted? ─▶ news for the receiver? ─▶ send

Each stage leaves a reason on each alert that it holds back. The times are Alertmanager's: a group
waits `group_wait` for company, then looks every `group_interval`, and tells the same again after
`repeat_interval`. What differs, on purpose: an alert that a receiver was told about is resolved
there *whatever* happened in between, also where it is silenced or inhibited by then (Alertmanager
issues 226 and 2754).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from dos.alerting.inhibition import Inhibitor, InhibitRule
from dos.alerting.routes import Route
from dos.alerting.timeinterval import TimeInterval
from dos.kit.clock import SECOND, Millis

LabelPairs = tuple[tuple[str, str], ...]
"""Sorted by name."""
RESOLVE_TIMEOUT = 300.0
"""Seconds after which an alert without an end that nobody sends again counts as over."""


class Held(StrEnum):
    """Why an alert of a group was not told of."""

    INHIBITED = "inhibited"
    SILENCED = "silenced"
    ROUTE_MUTED = "route_muted"
    """By a time interval of the route."""
    KNOWN = "known"
    """The receiver knows already, and it is not yet time to repeat it."""
    NEVER_TOLD = "never_told"
    """It is over, and the receiver was never told that it began."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """An alert as somebody sent it."""

    labels: LabelPairs
    annotations: LabelPairs = ()
    starts_at: Millis
    ends_at: Millis | None = None
    """When it ended or, in the future, when it will count as over; None: `RESOLVE_TIMEOUT` after
    it was last sent."""
    updated_at: Millis
    generator_url: str = ""

    @property
    def fingerprint(self) -> str:
        """Of its labels; equal ones are the same alert."""
        text = "\x1f".join(f"{name}\x1e{value}" for name, value in self.labels)
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

    def over(self, now: Millis) -> bool:
        """Whether it has ended."""
        return self.ends_at is not None and self.ends_at <= now


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What one receiver is to be told of one group now."""

    receiver: str
    route: str
    group: LabelPairs
    firing: tuple[Live, ...]
    resolved: tuple[Live, ...]
    at: Millis

    @property
    def key(self) -> str:
        """Alertmanager's group key: route and labels."""
        labels = ", ".join(f'{name}="{value}"' for name, value in self.group)
        return f"{self.route}:{{{labels}}}"


@dataclass(slots=True, kw_only=True)
class _Known:
    """What a receiver knows of a group."""

    at: Millis
    firing: set[str] = field(default_factory=set)
    resolved: set[str] = field(default_factory=set)


@dataclass(slots=True, kw_only=True)
class _Group:
    route: Route
    labels: LabelPairs
    due: Millis
    flushed: bool = False
    alerts: dict[str, Live] = field(default_factory=dict)
    known: _Known | None = None
    held: dict[str, Held] = field(default_factory=dict)
    """Of the last look."""


class Groups:
    """All groups; see the module's text.

    Args:
        tree: The routes.
        inhibit: Rules of inhibition.
        intervals: Time intervals by name.
        silenced: Whether a silence holds an alert with these labels back at that time.
        resolve_timeout: Seconds; see `RESOLVE_TIMEOUT`.
    """

    def __init__(
        self,
        tree: Route,
        *,
        inhibit: Sequence[InhibitRule] = (),
        intervals: Mapping[str, TimeInterval] | None = None,
        silenced: Callable[[Mapping[str, str], Millis], bool] | None = None,
        resolve_timeout: float = RESOLVE_TIMEOUT,
    ) -> None:
        self._tree = tree
        self._inhibitor = Inhibitor(inhibit)
        self._intervals = intervals or {}
        self._silenced = silenced or (lambda _labels, _at: False)
        self._timeout = round(resolve_timeout * SECOND)
        self._alerts: dict[str, Live] = {}
        self._groups: dict[tuple[str, LabelPairs], _Group] = {}

    def take(self, alerts: Iterable[Live], now: Millis) -> None:
        """Take alerts in; one that is known is brought up to date."""
        for alert in alerts:
            print_ = alert.fingerprint
            self._alerts[print_] = merged = self._merged(self._alerts.get(print_), alert)
            labels = dict(merged.labels)
            for route in self._tree.of(labels):
                self._put(route, route.group(labels), print_, merged, now)

    def tick(self, now: Millis) -> list[Message]:
        """What is to be sent by now. Cost: O(alerts of groups that are due)."""
        sent: list[Message] = []
        due = sorted(key for key, group in self._groups.items() if group.due <= now)
        if not due:
            return sent
        self._inhibitor.watch(
            dict(one.labels) for one in self._alerts.values() if not self._ended(one, now)
        )
        for key in due:
            group = self._groups[key]
            message = self._look(group, now)
            if message is not None:
                sent.append(message)
            group.flushed = True
            group.due = Millis(now + round(group.route.group_interval * SECOND))
            if not group.alerts:
                del self._groups[key]
        kept = {print_ for group in self._groups.values() for print_ in group.alerts}
        self._alerts = {
            print_: alert
            for print_, alert in self._alerts.items()
            if print_ in kept or not self._ended(alert, now)
        }
        return sent

    @property
    def next_due(self) -> Millis | None:
        """When `tick` has something to do."""
        return min((one.due for one in self._groups.values()), default=None)

    def why(self, labels: Mapping[str, str]) -> Iterator[tuple[str, Held | None]]:
        """For each receiver of an alert why it was not told at the last look; None: it was."""
        print_ = Live(
            labels=tuple(sorted(labels.items())), starts_at=Millis(0), updated_at=Millis(0)
        ).fingerprint
        for _, group in sorted(self._groups.items()):
            if print_ in group.alerts:
                yield group.route.receiver, group.held.get(print_)

    def _merged(self, known: Live | None, alert: Live) -> Live:
        """As Alertmanager merges: one that goes on keeps its start."""
        if known is None:
            return alert
        until, end = self._end(known), self._end(alert)
        ends_inside = known.starts_at < end < until
        starts_inside = known.starts_at < alert.starts_at < until
        if not (ends_inside or starts_inside):
            return alert
        started = min(known.starts_at, alert.starts_at)
        if alert.ends_at is None or known.ends_at is None or alert.over(alert.updated_at):
            return replace(alert, starts_at=started)
        return replace(alert, starts_at=started, ends_at=max(known.ends_at, alert.ends_at))

    def _put(self, route: Route, labels: LabelPairs, print_: str, alert: Live, now: Millis) -> None:
        group = self._groups.get((route.path, labels))
        if group is None:
            if self._ended(alert, now):
                return  # nobody was told of it
            wait = round(route.group_wait * SECOND)
            group = _Group(route=route, labels=labels, due=Millis(now + wait))
            self._groups[route.path, labels] = group
        if not group.flushed and alert.starts_at + route.group_wait * SECOND < now:
            group.due = min(group.due, now)  # it has waited long enough elsewhere
        group.alerts[print_] = alert

    def _ended(self, alert: Live, now: Millis) -> bool:
        return self._end(alert) <= now

    def _end(self, alert: Live) -> Millis:
        """When it ended or, as far as is known, will."""
        if alert.ends_at is None:
            return Millis(alert.updated_at + self._timeout)
        return alert.ends_at

    def _look(self, group: _Group, now: Millis) -> Message | None:
        """Go through the stages."""
        group.held = {}
        told = group.known.firing if group.known else set()
        firing: dict[str, Live] = {}
        resolved: dict[str, Live] = {}
        muted = self._muted(group.route, now)
        for print_, alert in list(group.alerts.items()):
            ended = self._ended(alert, now)
            if ended and print_ in told:
                resolved[print_] = alert  # whatever holds it back now
            elif ended:
                group.held[print_] = Held.NEVER_TOLD
            elif (reason := self._held(alert, now)) is not None:
                group.held[print_] = reason
            elif muted:
                group.held[print_] = Held.ROUTE_MUTED
            else:
                firing[print_] = alert
            if ended and print_ not in told:
                del group.alerts[print_]
        if not self._news(group, firing, resolved, now):
            group.held |= dict.fromkeys(firing, Held.KNOWN)
            return None
        # Those held back by now, and told of before, go on being known as firing.
        still = {one for one in told if one in group.alerts and one not in resolved}
        group.known = _Known(at=now, firing=set(firing) | still, resolved=set(resolved))
        for print_ in resolved:
            del group.alerts[print_]
        return Message(
            receiver=group.route.receiver,
            route=group.route.path,
            group=group.labels,
            firing=tuple(firing[one] for one in sorted(firing)),
            resolved=tuple(resolved[one] for one in sorted(resolved)),
            at=now,
        )

    def _held(self, alert: Live, now: Millis) -> Held | None:
        labels = dict(alert.labels)
        if self._inhibitor.by(labels) is not None:
            return Held.INHIBITED
        return Held.SILENCED if self._silenced(labels, now) else None

    def _muted(self, route: Route, now: Millis) -> bool:
        def holds(names: Sequence[str]) -> bool:
            return any(self._intervals[name].holds(now) for name in names)

        active = route.active_time_intervals
        return holds(route.mute_time_intervals) or (bool(active) and not holds(active))

    @staticmethod
    def _news(
        group: _Group, firing: Mapping[str, Live], resolved: Mapping[str, Live], now: Millis
    ) -> bool:
        """Whether the receiver has to be told."""
        known = group.known
        if known is None:
            return bool(firing)
        if not set(firing) <= known.firing or resolved:
            return True
        repeat = round(group.route.repeat_interval * SECOND)
        return bool(firing) and known.at + repeat <= now
