"""Delivery: takes notifications from the durable outbox to the receivers.

One task (`run`) reads the outbox; each receiver that has something due gets a task of its own, so
that a slow or dead channel never delays another. Within a receiver notifications go one at a
time, oldest first; one that waits for its next try is overtaken by those of other alerts, never
by those of its own: a resolve does not leave before what it resolves was sent or given up.

Delivery is at least once. Only after the receiver took a notification is it marked as sent; a
crash in between repeats it with the same id.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from random import Random
from typing import Any

from dos.alerting.base import Notifier
from dos.alerting.replicas import Replicas, Word
from dos.alerting.words import Words
from dos.kit import log
from dos.kit.clock import SECOND, Clock, Millis
from dos.kit.errors import DosError, PermanentError, TransientError
from dos.kit.retry import Backoff, CircuitBreaker, CircuitState
from dos.model.alert import Notification
from dos.storage.base import Outgoing, Store

_END_OF_TIME = Millis(2**53)
"""Read the outbox as of then: what waits for its next try must be seen, to hold back its kin."""
_FIRST_READ = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryPolicy:
    """When to try again, and when to stop."""

    backoff: Backoff = field(default_factory=lambda: Backoff(first=1.0, ceiling=60.0, floor=0.5))
    max_age: float = 86_400.0
    """Seconds after which a notification that could not be delivered is given up."""
    permanent_tries: int = 3
    """Tries before an error that retrying should not help is believed: a receiver that is
    being deployed answers 404 for a minute."""
    permanent_delay: float = 60.0
    """Seconds between those tries."""
    send_timeout: float = 60.0
    """Seconds after which a `send` that does not return counts as failed."""
    threshold: int = 5
    """Failures in a row that open a receiver's circuit."""
    cooldown: float = 30.0
    """Seconds an open circuit waits before one trial."""
    fallback_after: float = 30.0
    """Seconds after which what a receiver did not take is for its fallback."""
    poll: float = 5.0
    """Seconds between looks at the outbox when nobody calls `wake`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiverStatus:
    """How delivery to one receiver goes."""

    name: str
    circuit: CircuitState
    pending: int
    """Notifications waiting, as of the last look at the outbox."""
    failures: int
    """Failures in a row."""
    error: str | None
    """The last failure; None once it works again."""


class _Lane:
    """One receiver: its notifier, its circuit breaker and the task that delivers now."""

    def __init__(self, notifier: Notifier, breaker: CircuitBreaker) -> None:
        self.notifier = notifier
        self.breaker = breaker
        self.task: asyncio.Task[None] | None = None
        self.pending = 0
        self.error: str | None = None
        self.took_at = Millis(0)
        """When it last took something, or was first asked to."""

    @property
    def busy(self) -> bool:
        return self.task is not None and not self.task.done()


class Dispatcher:
    """Delivers what is in the outbox; see the module's text.

    Args:
        store: Holds the outbox and the ledger.
        receivers: Notifiers by receiver name.
        clock: The clock that also made `Notification.created_at`.
        rng: For the jitter of the backoff; seeded by the caller.
        policy: When to try again, and when to stop.
    """

    def __init__(
        self,
        store: Store,
        receivers: Mapping[str, Notifier],
        clock: Clock,
        rng: Random,
        policy: DeliveryPolicy | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._rng = rng
        self._policy = policy or DeliveryPolicy()
        self._lanes: dict[str, _Lane] = {}
        self._wake = asyncio.Event()
        self._taken: set[str] = set()
        """Sent, but the ledger could not be written: to be marked, not sent again."""
        self._just_handled: set[str] = set()
        """Handled since the outbox was last begun to be read."""
        self._retired: list[Notifier] = []
        self.undelivered: Callable[[Sequence[Notification]], Awaitable[bool]] | None = None
        """Told once of each notification that is for a fallback; False: tell it again."""
        self.fallbacks: Collection[str] = ()
        """Receivers that have a fallback."""
        self.words: Mapping[str, Words] = {}
        """By receiver: texts of its own."""
        self.replicas: Replicas | None = None
        """Others that decide the same; None: there are none."""
        self._reported: set[str] = set()
        self._running = False
        self._looked = asyncio.Event()
        """Set after each look at the outbox."""
        self._in_flight = False
        """Whether, as of that look, a delivery was on its way; each one's end is a new look."""
        self._next_due = 0.0
        """When, as of that look, something not on its way can be delivered; ms."""
        self._log = log.get("alerting")
        self.add(receivers)

    def add(self, receivers: Mapping[str, Notifier]) -> None:
        """Add receivers, or replace the notifier of known ones, while running.

        A receiver that the configuration dropped is kept: what it was told is still resolved.
        """
        for name, notifier in receivers.items():
            breaker = CircuitBreaker(
                self._clock, threshold=self._policy.threshold, cooldown=self._policy.cooldown
            )
            lane = self._lanes.get(name)
            if lane is None:
                self._lanes[name] = _Lane(notifier, breaker)
            elif lane.notifier is not notifier:
                # The lane stays: a delivery on its way is not started a second time beside it.
                self._retired.append(lane.notifier)
                lane.notifier, lane.breaker = notifier, breaker
        self.wake()

    @property
    def notifiers(self) -> Mapping[str, Notifier]:
        """By receiver."""
        return {name: lane.notifier for name, lane in self._lanes.items()}

    def wake(self) -> None:
        """Look at the outbox now."""
        self._wake.set()

    def status(self) -> Sequence[ReceiverStatus]:
        """How delivery goes, by receiver."""
        return [
            ReceiverStatus(
                name=name,
                circuit=lane.breaker.state,
                pending=lane.pending,
                failures=lane.breaker.failures,
                error=lane.error,
            )
            for name, lane in sorted(self._lanes.items())
        ]

    async def run(self) -> None:
        """Deliver until cancelled. A delivery that is cut off is repeated by the next run."""
        self._running = True
        try:
            async with asyncio.TaskGroup() as tasks:
                while True:
                    self._wake.clear()
                    wait = self._policy.poll
                    try:
                        wait = min(wait, await self._round(tasks))
                    except Exception:  # noqa: BLE001  supervision: the store may be away for a while
                        self._log.exception("outbox_unreadable", retry_in=wait)
                    await self._first(self._wake.wait(), self._clock.sleep(wait))
        finally:
            self._running = False

    async def drain(self, timeout: float) -> int:  # noqa: ASYNC109  on the injected clock
        """Deliver what can be delivered within `timeout` seconds; `run` may run or not.

        Does not wait for what is put off beyond then, or has no receiver.

        Returns:
            How many notifications are left; they stay in the outbox for the next start.
        """
        deadline = self._clock.now() + timeout * SECOND
        work = None if self._running else asyncio.create_task(self.run(), name="drain")
        try:
            await self._first(self._settled(deadline), self._clock.sleep(timeout))
        finally:
            if work:
                work.cancel()
                await asyncio.gather(work, return_exceptions=True)
        return len(await self._pending())

    async def _settled(self, deadline: float) -> None:
        """Return once nothing is on its way and nothing becomes due before `deadline`."""
        self._looked.clear()
        self.wake()
        while True:
            await self._looked.wait()
            self._looked.clear()
            if not self._in_flight and self._next_due > deadline:
                return

    async def close(self) -> None:
        """Release the notifiers; after `run` was cancelled."""
        for notifier in [*self._retired, *(lane.notifier for lane in self._lanes.values())]:
            await notifier.close()

    async def _round(self, tasks: asyncio.TaskGroup) -> float:
        """Start a delivery wherever something is due; returns seconds until more is."""
        now = self._clock.now()
        by_receiver: dict[str, list[Outgoing]] = {}
        # What a lane finishes while the outbox is read may be in what was read as still to do:
        # without this it would be sent twice.
        self._just_handled.clear()
        rows = await self._pending()
        for row in [one for one in rows if one.notification.id not in self._just_handled]:
            by_receiver.setdefault(row.notification.receiver, []).append(row)
        for name in sorted(by_receiver.keys() - self._lanes.keys()):
            await self._orphans(name, by_receiver[name], now)
        self._report(rows, now, tasks)
        next_due = math.inf
        self._in_flight = any(lane.busy for lane in self._lanes.values())
        for name, lane in self._lanes.items():
            heads = _heads(by_receiver.get(name, ()))
            lane.pending = len(by_receiver.get(name, ()))
            if lane.busy or not heads:
                continue
            trial = now + lane.breaker.seconds_until_trial() * SECOND
            due = [row for row in heads if row.not_before <= now]
            if due and trial <= now:
                lane.task = tasks.create_task(self._deliver(lane, due), name=f"deliver-{name}")
                self._in_flight = True
            else:
                next_due = min(next_due, max(trial, min(row.not_before for row in heads)))
        self._next_due = next_due
        self._looked.set()
        return (next_due - now) / SECOND

    def _report(self, rows: Sequence[Outgoing], now: Millis, tasks: asyncio.TaskGroup) -> None:
        """Tell of what waits for a receiver that cannot be reached, where it has a fallback."""
        limit = now - round(self._policy.fallback_after * SECOND)
        late: list[Notification] = []
        for name in self.fallbacks:
            lane = self._lanes.get(name)
            if lane is None:
                continue
            mine = [row for row in rows if row.notification.receiver == name]
            if not mine or not lane.took_at:
                lane.took_at = now  # nothing was asked of it before
            for row in mine:
                # A receiver that works off a backlog can be reached.
                refused = row.attempts > 0 or lane.took_at <= limit
                if refused and row.notification.created_at <= limit:
                    late.append(row.notification)
        new = [one for one in late if one.id not in self._reported]
        self._reported &= {row.notification.id for row in rows}
        if new and self.undelivered is not None:
            self._reported.update(one.id for one in new)
            tasks.create_task(self._tell(self.undelivered, new), name="fallback")

    async def _tell(
        self,
        undelivered: Callable[[Sequence[Notification]], Awaitable[bool]],
        new: Sequence[Notification],
    ) -> None:
        self._log.warning("not_delivered_in_time", notifications=[one.id for one in new])
        if not await undelivered(new):
            self._reported.difference_update(one.id for one in new)

    async def _pending(self) -> Sequence[Outgoing]:
        """Everything not yet delivered, oldest first.

        The limit is doubled until all fits: a dead receiver's backlog must not hide the rows of
        the others.
        """
        limit = _FIRST_READ
        while True:
            rows = await self._store.outbox(_END_OF_TIME, limit)
            if len(rows) < limit:
                return rows
            limit *= 2

    async def _deliver(self, lane: _Lane, rows: Sequence[Outgoing]) -> None:
        """Deliver `rows`, at most one per alert, until the circuit opens."""
        try:
            for row in rows:
                if lane.breaker.seconds_until_trial() > 0:
                    break
                await self._deliver_one(lane, row)
        except Exception:  # noqa: BLE001  supervision: the store may be away for a while
            self._log.exception("ledger_unwritable")
            await self._clock.sleep(self._policy.backoff.first)
        finally:
            self._wake.set()

    async def _deliver_one(self, lane: _Lane, row: Outgoing) -> None:
        notification = row.notification
        if notification.id not in self._taken:
            word = await self.replicas.ask(notification) if self.replicas else None
            if word is not None and await self._left_to_others(row, word):
                self._just_handled.add(notification.id)
                return
            try:
                await self._send(lane, word.notification if word else notification)
            except (TransientError, PermanentError) as error:
                lane.breaker.failed()
                lane.error = str(error)
                if word and self.replicas:
                    await self.replicas.failed(word)
                await self._failed(row, error)
                self._just_handled.add(notification.id)
                return
            self._taken.add(notification.id)
            if word and self.replicas:
                await self.replicas.sent(word)
            lane.breaker.succeeded()
            lane.error, lane.took_at = None, self._clock.now()
        await self._store.sent(notification.id, self._clock.now())
        self._just_handled.add(notification.id)
        self._taken.discard(notification.id)

    async def _left_to_others(self, row: Outgoing, word: Word) -> bool:
        """Whether another replica told it, or is at it."""
        now = self._clock.now()
        if word.told_by is not None:
            self._log.info("told_by_another", notification=row.notification.id, by=word.told_by)
            note = f"The replica {word.told_by} told it."
            await self._store.sent(row.notification.id, now, note)
            return True
        if word.wait is not None:
            note = "Another replica is telling it."
            due = Millis(now + round(word.wait * SECOND))
            await self._store.retry(row.notification.id, due, note)
            return True
        return False

    async def _send(self, lane: _Lane, notification: Notification) -> None:
        """Call the notifier, bounded in time; whatever it raises becomes one of our errors."""
        words = self.words.get(notification.receiver)
        if words:
            notification = words.of(notification)
        try:
            done = await self._first(
                lane.notifier.send(notification), self._clock.sleep(self._policy.send_timeout)
            )
        except (TransientError, PermanentError):
            raise
        except Exception as error:  # supervision: a plugin's mistake must not stop the others
            self._log.exception("notifier_broken", receiver=notification.receiver)
            msg = f"The notifier failed unexpectedly: {type(error).__name__}: {error}."
            raise PermanentError(msg) from error
        if not done:
            msg = f"The notifier did not return within {self._policy.send_timeout:g} s."
            raise TransientError(msg)

    async def _failed(self, row: Outgoing, error: DosError) -> None:
        """Put off, or give up."""
        now = self._clock.now()
        notification, tries = row.notification, row.attempts + 1
        told = {"notification": notification.id, "receiver": notification.receiver}
        too_old = now - notification.created_at > self._policy.max_age * SECOND
        permanent = isinstance(error, PermanentError)
        if too_old or (permanent and tries >= self._policy.permanent_tries):
            self._log.error("notification_given_up", tries=tries, error=str(error), **told)
            await self._store.give_up(notification.id, now, str(error))
            return
        delay = self._policy.permanent_delay if permanent else self._delay(row.attempts)
        if isinstance(error, TransientError) and error.retry_after is not None:
            delay = max(delay, min(error.retry_after, self._policy.max_age))
        self._log.warning("notification_failed", retry_in=round(delay, 1), error=str(error), **told)
        await self._store.retry(notification.id, Millis(now + round(delay * SECOND)), str(error))

    def _delay(self, attempts: int) -> float:
        steps = min(attempts, 32)  # far beyond the ceiling, and never a long walk
        return next(islice(self._policy.backoff.delays(self._rng), steps, None))

    async def _orphans(self, name: str, rows: Sequence[Outgoing], now: Millis) -> None:
        """Rows whose receiver this configuration does not know: kept for when it comes back."""
        error = f"There is no receiver {name!r} in the configuration."
        for row in rows:
            if now - row.notification.created_at > self._policy.max_age * SECOND:
                self._log.error("notification_given_up", receiver=name, error=error)
                await self._store.give_up(row.notification.id, now, error)

    async def _first(
        self, work: Coroutine[Any, Any, Any], limit: Coroutine[Any, Any, None]
    ) -> bool:
        """Run `work` until `limit` ends; True when `work` ended first. Its error is raised."""
        job, timer = asyncio.ensure_future(work), asyncio.ensure_future(limit)
        try:
            await asyncio.wait({job, timer}, return_when=asyncio.FIRST_COMPLETED)
            if job.done():
                await job
                return True
            return False
        finally:
            for task in (job, timer):
                task.cancel()
            await asyncio.gather(job, timer, return_exceptions=True)


def _heads(rows: Sequence[Outgoing]) -> list[Outgoing]:
    """The oldest undelivered row of each alert or group, in order of age."""
    heads: dict[str, Outgoing] = {}
    for row in rows:
        heads.setdefault(row.notification.subject, row)
    return list(heads.values())
