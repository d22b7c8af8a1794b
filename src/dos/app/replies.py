"""From a channel's webhook to acknowledged alerts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from dos.alerting.reply import Listener, Reply
from dos.ingest.base import Delivery
from dos.kit.clock import MINUTE
from dos.model.alert import Acknowledgement, Alert

if TYPE_CHECKING:
    from dos.app.sentinel import Sentinel

_SKEW = MINUTE
"""How far the channel's clock may be behind."""


async def take_reply(
    sentinel: Sentinel, receiver: str, headers: Mapping[str, str], body: bytes
) -> int | None:
    """Acknowledge what a channel says that somebody is on.

    Returns:
        How many alerts; None if there is no room now.

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
    said = tuple(
        Acknowledgement(alert=one.id, by=reply.by, at=sentinel.clock.now(), note=f"in {receiver}")
        for one in await _meant(sentinel, receiver, listener, reply)
    )
    if said and not await sentinel.submit("push", Delivery(acknowledgements=said)):
        return None
    return len(said)


async def _meant(
    sentinel: Sentinel, receiver: str, listener: Listener, reply: Reply
) -> list[Alert]:
    """Alerts that fire, are nobody's yet, and were told by what is replied to."""
    parts = sentinel.runner.pipeline.parts
    with sentinel.runner.lock:
        fires = {one.id: one for one in (*parts.book.firing, *parts.desk.firing)}
    told: set[str] = set()
    for alert in fires.values():
        for row in await sentinel.store.ledger(alert.id):
            sent = row.notification
            if sent.receiver == receiver and listener.key(sent) == reply.key:
                told.update(one.id for one in sent.alerts)
    # A group keeps its name: an old reply, sent once more, is not about what began since.
    return [
        one
        for one in fires.values()
        if one.id in told and one.acknowledged is None and one.starts_at <= reply.at + _SKEW
    ]
