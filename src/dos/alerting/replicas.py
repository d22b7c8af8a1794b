"""Several replicas that decide for themselves, and tell people once.

Asked by the dispatcher before each delivery. When the ledger that they share cannot be reached,
each one tells what it decided: told twice is better than not told (`fails open`).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from dos.alerting.matter import FORECAST, FORECAST_NAME
from dos.alerting.message import ALERT_NAME
from dos.kit import log
from dos.kit.clock import SECOND, Clock, Millis
from dos.kit.errors import DosError
from dos.model.alert import Alert, AlertState, Notification, fingerprint_of
from dos.storage.telling import RESOLVED, Claim, Saying, SharedLedger

T = TypeVar("T")

ANSWERS_WITHIN = 2.0
"""Seconds of real time that a question may take."""
LEAST_WAIT = 0.5
_LEASE = 75.0
"""Seconds that a delivery may take until another replica tries; longer than a `send` may."""
_APART = 5.0
"""Seconds without a question after one that failed."""
_MORE = re.compile(r" and \d+ more$")
_logger = log.get("alerting")


def names_of(alert: Alert) -> frozenset[str]:
    """What an alert has in common with those of other replicas about the same.

    Of an incident the services that it is about, of a forecast its labels without its id, of all
    others the fingerprint.
    """
    labels, facts = dict(alert.labels), dict(alert.annotations)
    kind = labels.get("alertname")
    if kind == ALERT_NAME and alert.incident_id is not None:
        listed = _MORE.sub("", facts.get("affected", "")).split(", ")
        services = {*listed, labels.get("service", ""), facts.get("cause", "")} - {""}
        if services:
            return frozenset(f"incident:{one}" for one in services)
    if kind == FORECAST_NAME:
        kept = [pair for pair in alert.labels if pair[0] not in {FORECAST, "severity"}]
        return frozenset({f"forecast:{fingerprint_of(kept)}"})
    return frozenset({f"alert:{alert.fingerprint}"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """What the replicas say to a delivery."""

    notification: Notification
    """What to send, in the name under which the receiver knows it."""
    sayings: tuple[Saying, ...] = ()
    """Empty where nobody could be asked."""
    told_by: str | None = None
    """Another replica told it; nothing to do."""
    wait: float | None = None
    """Seconds; another replica is at it."""


class Replicas:
    """The other replicas, as seen from this one.

    Args:
        ledger: What they share.
        clock: The clock of the notifications.
    """

    def __init__(self, ledger: SharedLedger, clock: Clock) -> None:
        self.ledger = ledger
        self._clock = clock
        self._open = False
        self._opening = asyncio.Lock()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._late: set[asyncio.Task[Any]] = set()
        """Questions that were given up, and are not answered yet; no more are asked before."""
        self._ask_again = Millis(0)
        self.trouble: str | None = None
        """Why the others cannot be asked; None: they can."""

    async def ask(self, notification: Notification) -> Word:
        """Who tells it."""
        now = self._clock.now()
        sayings = tuple(_saying(notification, one) for one in notification.alerts)
        lease = Millis(now + round(_LEASE * SECOND))
        claim = await self.reach(lambda: self.ledger.claim(sayings, now, lease))
        if claim is None:
            return Word(notification=notification)
        if claim.told_by is not None:
            return Word(notification=notification, told_by=claim.told_by)
        if claim.wait_until is not None:
            left = (claim.wait_until - now) / SECOND
            return Word(notification=notification, wait=max(LEAST_WAIT, min(2.0, left)))
        return Word(notification=_renamed(notification, claim), sayings=sayings)

    async def sent(self, word: Word) -> None:
        """It was told."""
        if word.sayings:
            matters = [one.id for one in word.notification.alerts]
            now = self._clock.now()
            await self.reach(lambda: self.ledger.told(word.sayings, matters, now))

    async def failed(self, word: Word) -> None:
        """It could not be told."""
        if word.sayings:
            await self.reach(lambda: self.ledger.release(word.sayings))

    async def reach(self, question: Callable[[], Awaitable[T]]) -> T | None:
        """The ledger's answer; None when it has none in time."""
        if self._clock.now() < self._ask_again or self._late:
            return None
        # A task of its own: a driver that is cut off in the middle leaves its connection behind.
        task = asyncio.ensure_future(self._asked(question))
        self._tasks.add(task)
        task.add_done_callback(self._done)
        within = ANSWERS_WITHIN if self._open else 5 * ANSWERS_WITHIN
        done, _ = await asyncio.wait({task}, timeout=within)
        if not done:
            self._late.add(task)
            self._apart(f"No answer within {within:g} s.")
            return None
        try:
            found = task.result()
        except (DosError, OSError) as error:
            self._apart(str(error))
            return None
        if self.trouble is not None:
            _logger.info("replicas_together")
            self.trouble = None
        return found

    async def _asked(self, question: Callable[[], Awaitable[T]]) -> T:
        async with self._opening:
            if not self._open:
                await self.ledger.open()
                self._open = True
        return await question()

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        self._late.discard(task)
        if not task.cancelled():
            task.exception()  # of one that nobody waits for any more

    def _apart(self, reason: str) -> None:
        if self.trouble is None:
            _logger.warning("replicas_apart", error=reason)
        self.trouble = reason
        self._ask_again = Millis(self._clock.now() + round(_APART * SECOND))

    async def close(self) -> None:
        """Let questions end that are under way, and release the connections."""
        if self._tasks:
            _, left = await asyncio.wait(self._tasks, timeout=ANSWERS_WITHIN)
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)
        await self.ledger.close()


def _saying(notification: Notification, alert: Alert) -> Saying:
    over = alert.state is AlertState.RESOLVED
    return Saying(
        receiver=notification.receiver,
        alert=alert.id,
        names=names_of(alert),
        state=RESOLVED if over else f"{alert.state.value}:{alert.severity.value}",
        starts_at=alert.starts_at,
        decided_at=notification.created_at,
    )


def _renamed(notification: Notification, claim: Claim) -> Notification:
    """In the names under which the receiver knows the alerts: it finds what it was told before."""
    alerts = _with_ids(notification.alerts, claim)
    return replace(notification, alert=alerts[0], others=tuple(alerts[1:]))


def _with_ids(alerts: Sequence[Alert], claim: Claim) -> list[Alert]:
    return [
        one if one.id == matter else replace(one, id=matter)
        for one, matter in zip(alerts, claim.matters, strict=True)
    ]
