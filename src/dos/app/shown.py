"""Who is on an alert shows where its message stands, if the channel can change messages."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace

from dos.alerting.dispatch import Dispatcher
from dos.alerting.reply import Board
from dos.kit import log
from dos.kit.errors import PermanentError, TransientError
from dos.model.alert import Alert, AlertState, Notification
from dos.model.ids import AlertId
from dos.storage.base import Store

_WITHIN = 30.0
"""Seconds of real time for one message."""
_logger = log.get("app")


async def show_acknowledged(
    dispatcher: Dispatcher,
    store: Store,
    said: Sequence[AlertId],
    fires: Mapping[AlertId, Alert],
) -> None:
    """Let each channel show it that was told of these alerts.

    A kindness, not a notification: what fails is logged, and shows with the next notification.

    Args:
        dispatcher: Who reaches the channels.
        store: What they were told.
        said: Alerts that somebody is on.
        fires: What fires, as it stands.
    """
    for name, notifier in dispatcher.notifiers.items():
        if not isinstance(notifier, Board):
            continue
        words = dispatcher.words.get(name)
        try:
            for notification in await _told(store, name, said):
                shown = _as_of_now(notification, fires)
                await asyncio.wait_for(notifier.show(words.of(shown) if words else shown), _WITHIN)
        except (TransientError, PermanentError, TimeoutError) as error:
            _logger.warning("acknowledgement_not_shown", receiver=name, error=str(error))
        except Exception:
            _logger.exception("notifier_broken", receiver=name)


async def tell_quiet(
    notifier: object, notifications: Sequence[Notification], text: str, receiver: str
) -> None:
    """Let a channel say beside its messages that somebody silenced them; fails as above."""
    if not isinstance(notifier, Board):
        return
    subjects = {one.subject: one for one in notifications}
    try:
        for one in subjects.values():
            await asyncio.wait_for(notifier.note(one, text), _WITHIN)
    except (TransientError, PermanentError, TimeoutError) as error:
        _logger.warning("silence_not_shown", receiver=receiver, error=str(error))
    except Exception:
        _logger.exception("notifier_broken", receiver=receiver)


async def _told(store: Store, receiver: str, said: Sequence[AlertId]) -> list[Notification]:
    """The last notification about each matter that these alerts belong to."""
    last: dict[str, Notification] = {}
    for one in said:
        for row in await store.ledger(one):
            sent = row.notification
            if sent.receiver == receiver and row.given_up_at is None:
                known = last.get(sent.subject)
                if known is None or known.created_at <= sent.created_at:
                    last[sent.subject] = sent
    return list(last.values())


def _as_of_now(notification: Notification, fires: Mapping[AlertId, Alert]) -> Notification:
    alerts: list[Alert] = []
    for one in notification.alerts:
        known = fires.get(one.id)
        if known is not None and one.state is AlertState.FIRING:
            alerts.append(replace(one, acknowledged=known.acknowledged))
        else:
            alerts.append(one)
    return replace(notification, alert=alerts[0], others=tuple(alerts[1:]))
