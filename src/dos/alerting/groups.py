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

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from dos.alerting.decision import Reason
from dos.alerting.inhibition import Inhibitor, InhibitRule
from dos.alerting.routes import Route
from dos.alerting.timeinterval import TimeInterval
from dos.kit.clock import SECOND, Millis
from dos.model.alert import LabelPairs, PostedAlert

RESOLVE_TIMEOUT = 300.0
"""Seconds after which an alert without an end that nobody sends again counts as over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What one receiver is to be told of one group now."""

    receiver: str
    route: str
    group: LabelPairs
    firing: tuple[PostedAlert, ...]
    resolved: tuple[PostedAlert, ...]
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
    path: str
    receiver: str
    labels: LabelPairs
    due: Millis
    interval: float
    """Seconds between looks: `group_interval` of the route, also when that is gone."""
    flushed: bool = False
    alerts: dict[str, None] = field(default_factory=dict)
    """Fingerprints, in the order in which they came."""
    known: _Known | None = None

    @property
    def key(self) -> _Key:
        return self.path, self.receiver, self.labels


@dataclass(frozen=True, slots=True, kw_only=True)
class _KeptGroup:
    """A group as it is written: sorted, so that equal states are equal bytes."""

    path: str
    receiver: str
    labels: LabelPairs
    due: Millis
    interval: float
    flushed: bool
    alerts: tuple[str, ...]
    known_at: Millis | None
    firing: tuple[str, ...]
    resolved: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptGroups:
    """The whole state, to be written down."""

    alerts: tuple[PostedAlert, ...] = ()
    groups: tuple[_KeptGroup, ...] = ()
    ended: tuple[tuple[str, Millis], ...] = ()
    flapping: tuple[str, ...] = ()


_FIRING = frozenset({Reason.TOLD_FIRING, Reason.TOLD_AGAIN, Reason.FLAPPING})


class Groups:
    """All groups; see the module's text.

    Args:
        tree: The routes.
        inhibit: Rules of inhibition.
        intervals: Time intervals by name.
        silenced: Whether a silence holds an alert with these labels back at that time.
        acknowledged: Whether somebody is on the alert with this fingerprint.
        unwanted: Why a receiver is not to hear of alerts with these labels now, if it is not.
        resolve_timeout: Seconds; see `RESOLVE_TIMEOUT`.
        flap_calm: Seconds. An alert that begins again so soon after its end was told is flapping:
            from then on it counts as firing until it was over for so long. 0: never.
    """

    def __init__(
        self,
        tree: Route,
        *,
        inhibit: Sequence[InhibitRule] = (),
        intervals: Mapping[str, TimeInterval] | None = None,
        silenced: Callable[[Mapping[str, str], Millis], bool] | None = None,
        unwanted: Callable[[str, Mapping[str, str]], Reason | None] | None = None,
        acknowledged: Callable[[str], bool] | None = None,
        resolve_timeout: float = RESOLVE_TIMEOUT,
        flap_calm: float = 0.0,
    ) -> None:
        self._tree = tree
        self._routes = {(route.path, route.receiver): route for route in tree.walk()}
        self._inhibitor = Inhibitor(inhibit)
        self._intervals = intervals or {}
        self._silenced = silenced or (lambda _labels, _at: False)
        self._unwanted = unwanted or (lambda _receiver, _labels: None)
        self._acknowledged = acknowledged or (lambda _print: False)
        self._timeout = round(resolve_timeout * SECOND)
        self._calm = round(flap_calm * SECOND)
        self._alerts: dict[str, PostedAlert] = {}
        self._groups: dict[_Key, _Group] = {}
        self._told_over: dict[str, Millis] = {}
        """When the end of an alert was told, as long as it may turn out to flap."""
        self._flapping: set[str] = set()
        self.decided: list[tuple[str, str, Reason]] = []
        """Fingerprint, receiver and reason: what the last `tick` decided."""

    def take(self, alerts: Iterable[PostedAlert], now: Millis) -> None:
        """Take alerts in; one that is known is brought up to date."""
        for alert in alerts:
            print_ = alert.fingerprint
            if not self._ended(alert, now):
                told_over = self._told_over.pop(print_, None)
                if told_over is not None and now - told_over <= self._calm:
                    self._flapping.add(print_)
            self._alerts[print_] = merged = self._merged(self._alerts.get(print_), alert)
            labels = dict(merged.labels)
            for route in self._tree.of(labels):
                self._put(route, route.group(labels), print_, merged, now)

    def tick(self, now: Millis) -> list[Message]:
        """What is to be sent by now. Cost: O(alerts of groups that are due)."""
        sent: list[Message] = []
        self.decided = []
        due = sorted(key for key, group in self._groups.items() if group.due <= now)
        if not due:
            return sent
        self.watch(now)
        for key in due:
            group = self._groups[key]
            message = self._look(group, now)
            if message is not None:
                sent.append(message)
            group.flushed = True
            group.due = Millis(now + round(group.interval * SECOND))
            if not group.alerts:
                del self._groups[key]
        kept = {print_ for group in self._groups.values() for print_ in group.alerts}
        self._alerts = {
            print_: alert
            for print_, alert in self._alerts.items()
            if print_ in kept or not self._ended(alert, now)
        }
        self._flapping &= self._alerts.keys()
        self._told_over = {
            print_: at for print_, at in self._told_over.items() if now - at <= self._calm
        }
        return sent

    @property
    def next_due(self) -> Millis | None:
        """When `tick` has something to do."""
        return min((one.due for one in self._groups.values()), default=None)

    def __contains__(self, print_: str) -> bool:
        return print_ in self._alerts

    @property
    def alerts(self) -> Iterable[PostedAlert]:
        """All that fires, or is over and not yet told so."""
        return self._alerts.values()

    def find(self, print_: str) -> PostedAlert | None:
        """The alert with this fingerprint, brought up to date."""
        return self._alerts.get(print_)

    def watch(self, now: Millis) -> None:
        """Bring up to date what `inhibited_by` goes by."""
        self._inhibitor.watch(
            dict(one.labels) for one in self._alerts.values() if not self._ended(one, now)
        )

    def inhibited_by(self, labels: Mapping[str, str]) -> Mapping[str, str] | None:
        """Labels of what keeps an alert quiet, if anything does; as of the last `watch`."""
        return self._inhibitor.by(labels)

    def ends(self, alert: PostedAlert) -> Millis:
        """When it ended or, as far as is known, will."""
        return self._end(alert)

    def walk(self) -> Iterator[tuple[str, LabelPairs, Sequence[PostedAlert]]]:
        """Receiver, labels and alerts of each group."""
        for _, group in sorted(self._groups.items()):
            yield group.receiver, group.labels, [self._alerts[one] for one in group.alerts]

    def dump(self) -> KeptGroups:
        """The whole state; see `load`."""
        return KeptGroups(
            alerts=tuple(self._alerts.values()),
            groups=tuple(_kept(group) for _, group in sorted(self._groups.items())),
            ended=tuple(sorted(self._told_over.items())),
            flapping=tuple(sorted(self._flapping)),
        )

    def load(self, kept: KeptGroups, now: Millis) -> None:
        """Become what `dump` wrote, perhaps under another configuration.

        Alerts go by the routes that there are now. Groups of routes that are gone stay until what
        they told is resolved, and tell nothing new.
        """
        self._alerts = {one.fingerprint: one for one in kept.alerts}
        self._told_over, self._flapping = dict(kept.ended), set(kept.flapping)
        self._groups = {}
        for one in kept.groups:
            route = self._routes.get((one.path, one.receiver))
            interval = one.interval if route is None else route.group_interval
            group = _Group(
                path=one.path,
                receiver=one.receiver,
                labels=one.labels,
                due=Millis(min(one.due, now + round(interval * SECOND))),
                interval=interval,
                flushed=one.flushed,
                alerts=dict.fromkeys(one.alerts),
            )
            if one.known_at is not None:
                group.known = _Known(
                    at=one.known_at, firing=set(one.firing), resolved=set(one.resolved)
                )
            self._groups[group.key] = group
        for print_, alert in self._alerts.items():
            if self._ended(alert, now):
                continue
            labels = dict(alert.labels)
            for route in self._tree.of(labels):
                group_labels = route.group(labels)
                group_now = self._groups.get((route.path, route.receiver, group_labels))
                if group_now is None or print_ not in group_now.alerts:
                    self._put(route, group_labels, print_, alert, now)

    def _merged(self, known: PostedAlert | None, alert: PostedAlert) -> PostedAlert:
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

    def _put(
        self, route: Route, labels: LabelPairs, print_: str, alert: PostedAlert, now: Millis
    ) -> None:
        key = (route.path, route.receiver, labels)
        group = self._groups.get(key)
        if group is None:
            if self._ended(alert, now):
                return  # nobody was told of it
            wait = round(route.group_wait * SECOND)
            group = _Group(
                path=route.path,
                receiver=route.receiver,
                labels=labels,
                due=Millis(now + wait),
                interval=route.group_interval,
            )
            self._groups[key] = group
        if not group.flushed and alert.starts_at + route.group_wait * SECOND < now:
            group.due = min(group.due, now)  # it has waited long enough elsewhere
        group.alerts[print_] = None

    def _ended(self, alert: PostedAlert, now: Millis) -> bool:
        return self._end(alert) <= now

    def _end(self, alert: PostedAlert) -> Millis:
        """When it ended or, as far as is known, will."""
        if alert.ends_at is None:
            return Millis(alert.updated_at + self._timeout)
        calm = self._calm if self._flapping and alert.fingerprint in self._flapping else 0
        return Millis(alert.ends_at + calm)

    def _look(self, group: _Group, now: Millis) -> Message | None:
        """Go through the stages."""
        reasons: dict[str, Reason] = {}
        told = group.known.firing if group.known else set()
        route = self._route(group)
        gone = (group.path, group.receiver) not in self._routes
        muted = self._muted(route, now)
        for print_ in list(group.alerts):
            alert, known = self._alerts[print_], print_ in told
            ended = self._ended(alert, now)
            if ended:  # whatever holds it back now
                reasons[print_] = Reason.TOLD_RESOLVED if known else Reason.RESOLVED_UNTOLD
            elif gone:
                reasons[print_] = Reason.ROUTE_GONE
            else:
                held = self._held(group.receiver, alert, now)
                reasons[print_] = held or _fires(alert, now, known=known, muted=muted)
            if (ended or gone) and not known:
                del group.alerts[print_]
        firing = [one for one, why in reasons.items() if why in _FIRING]
        resolved = [one for one, why in reasons.items() if why is Reason.TOLD_RESOLVED]
        # A repetition is for those whom nobody minds.
        alone = [one for one in firing if not self._acknowledged(one)]
        repeats = bool(alone) and self._is_due_again(group, route, now)
        news = repeats or _news(group.known, set(firing), bool(resolved))
        if not news:
            quiet = Reason.DEDUPLICATED if alone else Reason.ACKNOWLEDGED
            reasons |= {one: quiet for one in firing if reasons[one] is not Reason.FLAPPING}
        else:
            self._told_over |= dict.fromkeys(resolved if self._calm else (), now)
        self.decided += [(one, group.receiver, why) for one, why in reasons.items()]
        if not news:
            return None
        # Those held back by now, and told of before, go on being known as firing.
        still = {one for one in told if one in group.alerts and one not in resolved}
        group.known = _Known(at=now, firing=set(firing) | still, resolved=set(resolved))
        for print_ in resolved:
            del group.alerts[print_]
        return Message(
            receiver=group.receiver,
            route=group.path,
            group=group.labels,
            firing=tuple(self._alerts[one] for one in sorted(firing)),
            resolved=tuple(self._alerts[one] for one in sorted(resolved)),
            at=now,
        )

    @staticmethod
    def _is_due_again(group: _Group, route: Route, now: Millis) -> bool:
        repeat = round(route.repeat_interval * SECOND)
        return group.known is not None and group.known.at + repeat <= now

    def _route(self, group: _Group) -> Route:
        found = self._routes.get((group.path, group.receiver))
        return found or Route(receiver=group.receiver, path=group.path)

    def _held(self, receiver: str, alert: PostedAlert, now: Millis) -> Reason | None:
        labels = dict(alert.labels)
        if self._inhibitor.by(labels) is not None:
            return Reason.INHIBITED
        if self._silenced(labels, now):
            return Reason.SILENCED
        return self._unwanted(receiver, labels)

    def _muted(self, route: Route, now: Millis) -> bool:
        def holds(names: Sequence[str]) -> bool:
            return any(self._intervals[name].holds(now) for name in names)

        active = route.active_time_intervals
        return holds(route.mute_time_intervals) or (bool(active) and not holds(active))


_Key = tuple[str, str, LabelPairs]
"""Route, receiver, labels."""


def _kept(group: _Group) -> _KeptGroup:
    known = group.known
    return _KeptGroup(
        path=group.path,
        receiver=group.receiver,
        labels=group.labels,
        due=group.due,
        interval=group.interval,
        flushed=group.flushed,
        alerts=tuple(group.alerts),
        known_at=known.at if known else None,
        firing=tuple(sorted(known.firing)) if known else (),
        resolved=tuple(sorted(known.resolved)) if known else (),
    )


def _fires(alert: PostedAlert, now: Millis, *, known: bool, muted: bool) -> Reason:
    """What is to be said of an alert that fires, to those who perhaps know it."""
    if muted:
        return Reason.ROUTE_MUTED
    if not known:
        return Reason.TOLD_FIRING
    return Reason.FLAPPING if alert.over(now) else Reason.TOLD_AGAIN


def _news(known: _Known | None, firing: set[str], resolved: bool) -> bool:
    """Whether there is anything that the receiver does not know."""
    if known is None:
        return bool(firing)
    return resolved or not firing <= known.firing
