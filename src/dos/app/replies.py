"""From a channel's webhook to acknowledged alerts, and to silences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from dos.alerting.reply import Listener, Reply
from dos.app.shown import tell_quiet
from dos.ingest.base import Delivery
from dos.kit.clock import MINUTE, SECOND, Millis, to_rfc3339
from dos.model.alert import Acknowledgement, Alert, LabelPairs, Notification
from dos.model.ids import AlertId
from dos.model.matchers import Matcher, Operator
from dos.model.silence import Silence

if TYPE_CHECKING:
    from dos.app.sentinel import Sentinel

_MOST = 50
"""Silences that one reply makes."""
_SKEW = MINUTE
"""How far the channel's clock may be behind."""


async def take_reply(
    sentinel: Sentinel, receiver: str, headers: Mapping[str, str], body: bytes
) -> int | None:
    """Acknowledge what a channel says that somebody is on, or be quiet about it.

    Returns:
        How many alerts, or silences; None if there is no room now.

    Raises:
        KeyError: There is no such receiver, or its kind has no webhook.
        PermissionError: The webhook is not signed as configured.
        ValueError: It cannot be understood.
    """
    listener: object = sentinel.dispatcher.notifiers.get(receiver)
    if not isinstance(listener, Listener):
        raise KeyError(receiver)
    reply = listener.heard(headers, body)
    if reply is None:
        return 0
    notifications = await _told(sentinel, receiver, listener, reply)
    now = sentinel.clock.now()
    if reply.quiet:
        silences = _silences(sentinel, notifications, reply, f"in {receiver}", now)
        if silences and not await sentinel.submit("push", Delivery(silences=silences)):
            return None
        if silences:
            until = to_rfc3339(max(one.ends_at for one in silences))
            text = f"Silenced by {reply.by} until {until}."
            sentinel.aside(tell_quiet(listener, notifications, text, receiver))
        return len(silences)
    said = tuple(
        Acknowledgement(alert=one.id, by=reply.by, at=now, note=f"in {receiver}")
        for one in _meant(sentinel, notifications, reply)
    )
    if said and not await sentinel.submit("push", Delivery(acknowledgements=said)):
        return None
    return len(said)


def _firing(sentinel: Sentinel) -> dict[AlertId, Alert]:
    parts = sentinel.runner.pipeline.parts
    with sentinel.runner.lock:
        return {one.id: one for one in (*parts.book.firing, *parts.desk.firing)}


async def _told(
    sentinel: Sentinel, receiver: str, listener: Listener, reply: Reply
) -> list[Notification]:
    """What the receiver was told, of alerts that fire, under the name that is replied to."""
    found: dict[str, Notification] = {}
    for alert in _firing(sentinel):
        for row in await sentinel.store.ledger(alert):
            sent = row.notification
            if sent.receiver == receiver and listener.key(sent) == reply.key:
                found[sent.id] = sent
    return list(found.values())


def _meant(sentinel: Sentinel, notifications: Sequence[Notification], reply: Reply) -> list[Alert]:
    """Alerts that fire, are nobody's yet, and were told by what is replied to."""
    told = {one.id for sent in notifications for one in sent.alerts}
    # A group keeps its name: an old reply, sent once more, is not about what began since.
    return [
        one
        for one in _firing(sentinel).values()
        if one.id in told and one.acknowledged is None and one.starts_at <= reply.at + _SKEW
    ]


def _silences(
    sentinel: Sentinel,
    notifications: Sequence[Notification],
    reply: Reply,
    comment: str,
    now: Millis,
) -> tuple[Silence, ...]:
    """Quiet about what is replied to: about the group or, where it has no labels, each alert."""
    ends = Millis(reply.at + round(reply.quiet * SECOND))
    wanted: dict[LabelPairs, None] = {}
    for sent in notifications:
        for labels in [sent.group] if sent.group else [_lasting(one) for one in sent.alerts]:
            wanted.setdefault(labels)
    planned: list[Silence] = []
    desk = sentinel.runner.pipeline.parts.desk
    with sentinel.runner.lock:
        holding = {one.matchers for one in desk.silences if one.ends_at >= ends}
        for labels in list(wanted)[:_MOST]:
            matchers = tuple(
                Matcher(name=name, operator=Operator.EQUAL, value=value) for name, value in labels
            )
            if ends > now and matchers and matchers not in holding:
                one = Silence(
                    matchers=matchers,
                    starts_at=now,
                    ends_at=ends,
                    created_by=reply.by,
                    comment=comment,
                    updated_at=now,
                )
                planned += desk.silences.plan(one, now)
    return tuple(planned)


def _lasting(alert: Alert) -> LabelPairs:
    """The labels that stay the same for an alert's whole life."""
    if alert.incident_id is None:
        return alert.labels
    return tuple(pair for pair in alert.labels if pair[0] in {"alertname", "incident"})
