"""Delivery on virtual time: order, retries, circuit, crash and give-up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from random import Random

import pytest

from dos.alerting.base import AlertingConfig, Notifier, Receiver
from dos.alerting.book import AlertBook
from dos.alerting.dispatch import DeliveryPolicy, Dispatcher
from dos.kit.clock import ManualClock, SystemClock
from dos.kit.errors import PermanentError, TransientError
from dos.kit.retry import CircuitState
from dos.model.alert import AlertState, Notification
from dos.storage.memory import MemoryStore
from tests.unit.alerting.builders import START, at, commit, incident, notifications, resolved

Behaviour = Callable[[Notification], None]


class Recorder:
    """A notifier that remembers what it took, after `behave` had its say."""

    def __init__(self, behave: Behaviour = lambda _: None) -> None:
        self.behave = behave
        self.tried: list[str] = []
        self.took: list[Notification] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.closed = False

    async def send(self, notification: Notification) -> None:
        self.tried.append(notification.id)
        await self.gate.wait()
        self.behave(notification)
        self.took.append(notification)

    async def close(self) -> None:
        self.closed = True


class World:
    """A store, a book, virtual time and a dispatcher."""

    def __init__(self, receivers: Mapping[str, Notifier], **policy: float) -> None:
        self.clock = ManualClock(START)
        self.store = MemoryStore()
        self.book = AlertBook(
            AlertingConfig(receivers=tuple(Receiver(name=name) for name in receivers))
        )
        self.receivers = receivers
        self.policy = DeliveryPolicy(**policy)  # type: ignore[arg-type]  # floats only
        self.dispatcher = self.another()

    def another(self) -> Dispatcher:
        """A dispatcher as after a restart."""
        return Dispatcher(self.store, self.receivers, self.clock, Random(7), self.policy)

    async def fire(self, name: str = "inc-1") -> list[Notification]:
        events = self.book.observe(incident(name), self.clock.now())
        await commit(self.store, events, self.clock.now())
        self.dispatcher.wake()
        return notifications(events)

    async def resolve(self, name: str = "inc-1") -> list[Notification]:
        over = resolved(incident(name), self.clock.now())
        events = self.book.observe(over, self.clock.now())
        await commit(self.store, events, self.clock.now())
        self.dispatcher.wake()
        return notifications(events)

    async def pass_time(self, seconds: float, step: float = 0.5) -> None:
        for _ in range(round(seconds / step)):
            self.clock.advance(step)
            await settle()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.dispatcher.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def settle() -> None:
    for _ in range(100):
        await asyncio.sleep(0)


def failing(times: int, error: Exception) -> Behaviour:
    left = iter(range(times))

    def behave(_: Notification) -> None:
        if next(left, None) is not None:
            raise error

    return behave


async def test_firing_and_resolve_arrive_in_order_and_are_marked_as_sent() -> None:
    channel = Recorder()
    world = World({"a": channel})
    async with world.running():
        await world.fire()
        await world.resolve()
        await settle()
    assert [one.alert.state for one in channel.took] == [AlertState.FIRING, AlertState.RESOLVED]
    rows = await world.store.ledger(channel.took[0].alert.id)
    assert [row.sent_at for row in rows] == [START, START]
    assert await world.dispatcher.drain(1) == 0
    await world.dispatcher.close()
    assert channel.closed


async def test_a_transient_failure_is_retried_with_the_same_id() -> None:
    channel = Recorder(failing(3, TransientError("busy")))
    world = World({"a": channel})
    async with world.running():
        sent = await world.fire()
        await world.pass_time(30)
    assert channel.tried == [sent[0].id] * 4
    assert [one.id for one in channel.took] == [sent[0].id]
    assert world.dispatcher.status()[0].error is None


async def test_a_resolve_waits_for_the_retry_of_what_it_resolves() -> None:
    channel = Recorder(failing(1, TransientError("busy", retry_after=20)))
    world = World({"a": channel})
    async with world.running():
        fired = await world.fire()
        await settle()
        over = await world.resolve()
        other = await world.fire("inc-2")
        await world.pass_time(19)
        assert [one.id for one in channel.took] == [other[0].id]
        await world.pass_time(2)
    assert [one.id for one in channel.took] == [other[0].id, fired[0].id, over[0].id]


async def test_a_slow_channel_delays_no_other() -> None:
    slow, quick = Recorder(), Recorder()
    slow.gate.clear()
    world = World({"slow": slow, "quick": quick})
    async with world.running():
        for number in range(5):
            await world.fire(f"inc-{number}")
            await settle()
        assert len(quick.took) == 5
        assert len(slow.tried) == 1
        slow.gate.set()
        await settle()
        assert len(slow.took) == 5


async def test_a_dead_channels_backlog_hides_no_other_channel() -> None:
    dead = Recorder(failing(10**6, TransientError("down")))
    quick = Recorder()
    world = World({"dead": dead})
    for number in range(250):
        await world.fire(f"inc-{number}")
    world.book = AlertBook(AlertingConfig(receivers=(Receiver(name="quick"),)))
    world.dispatcher.add({"quick": quick})
    async with world.running():
        await settle()
        await world.fire("inc-last")
        await settle()
    assert len(quick.took) == 1
    assert len(dead.tried) == 5
    status = {one.name: one for one in world.dispatcher.status()}
    assert status["dead"].circuit is CircuitState.OPEN
    assert status["dead"].error == "down"
    assert status["quick"].circuit is CircuitState.CLOSED


async def test_an_open_circuit_lets_one_trial_through_and_closes_again() -> None:
    channel = Recorder(failing(6, TransientError("down")))
    world = World({"a": channel}, cooldown=30.0)
    async with world.running():
        for number in range(6):
            await world.fire(f"inc-{number}")
        await settle()
        assert len(channel.tried) == 5
        await world.pass_time(29)
        assert len(channel.tried) == 5
        await world.pass_time(2)
        assert len(channel.tried) == 6
        await world.pass_time(62)
    assert len(channel.took) == 6


async def test_a_permanent_error_is_tried_three_times_and_frees_the_resolve() -> None:
    refuse = PermanentError("no such channel")
    channel = Recorder(failing(3, refuse))
    world = World({"a": channel})
    async with world.running():
        fired = await world.fire()
        await settle()
        await world.resolve()
        await world.pass_time(121)
    assert channel.tried[:3] == [fired[0].id] * 3
    assert [one.alert.state for one in channel.took] == [AlertState.RESOLVED]
    row = (await world.store.ledger(fired[0].alert.id))[0]
    assert row.given_up_at is not None
    assert row.last_error == "no such channel"


async def test_what_cannot_be_delivered_for_a_day_is_given_up() -> None:
    channel = Recorder(failing(10**6, TransientError("down")))
    world = World({"a": channel}, max_age=600.0)
    async with world.running():
        fired = await world.fire()
        await world.pass_time(700, step=5)
    row = (await world.store.ledger(fired[0].alert.id))[0]
    assert row.given_up_at is not None
    assert row.given_up_at >= at(600)


async def test_a_crash_between_send_and_ledger_repeats_with_the_same_id() -> None:
    channel = Recorder()
    world = World({"a": channel})
    fired = await world.fire()
    channel.gate.clear()
    async with world.running():
        await settle()
        assert channel.tried == [fired[0].id]
    channel.gate.set()
    world.dispatcher = world.another()
    async with world.running():
        await settle()
    assert channel.tried == [fired[0].id] * 2


async def test_a_ledger_that_cannot_be_written_does_not_send_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    channel = Recorder()
    world = World({"a": channel})
    real, failures = world.store.sent, iter([True, True])

    async def flaky(notification_id: str, when: object) -> None:
        if next(failures, False):
            raise OSError("disk full")
        await real(notification_id, when)  # type: ignore[arg-type]  # handed through

    monkeypatch.setattr(world.store, "sent", flaky)
    async with world.running():
        fired = await world.fire()
        await world.pass_time(5)
    assert channel.tried == [fired[0].id]
    assert (await world.store.ledger(fired[0].alert.id))[0].sent_at is not None


async def test_a_broken_notifier_stops_nobody() -> None:
    broken, good = Recorder(failing(10**6, KeyError("oops"))), Recorder()
    world = World({"broken": broken, "good": good})
    async with world.running():
        await world.fire()
        await settle()
    assert len(good.took) == 1
    error = {one.name: one.error for one in world.dispatcher.status()}["broken"]
    assert error == "The notifier failed unexpectedly: KeyError: 'oops'."


async def test_a_send_that_does_not_return_is_cut_off_and_repeated() -> None:
    channel = Recorder()
    channel.gate.clear()
    world = World({"a": channel}, send_timeout=10.0)
    async with world.running():
        await world.fire()
        await world.pass_time(11)
        assert world.dispatcher.status()[0].error == "The notifier did not return within 10 s."
        channel.gate.set()
        await world.pass_time(5)
    assert len(channel.took) == 1


async def test_a_store_that_is_away_for_a_while_is_survived(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    channel = Recorder()
    world = World({"a": channel})
    real, failures = world.store.outbox, iter([True, True])

    async def flaky(*args: object) -> object:
        if next(failures, False):
            raise OSError("database is locked")
        return await real(*args)  # type: ignore[arg-type]  # handed through

    monkeypatch.setattr(world.store, "outbox", flaky)
    async with world.running():
        await world.fire()
        await world.pass_time(12)
    assert len(channel.took) == 1


async def test_rows_of_a_receiver_that_is_gone_wait_for_it_to_come_back() -> None:
    channel = Recorder()
    world = World({"a": channel})
    await world.fire()
    world.dispatcher = Dispatcher(world.store, {}, world.clock, Random(7), world.policy)
    async with world.running():
        await world.pass_time(10)
        assert await world.dispatcher.drain(1) == 1
        world.dispatcher.add({"a": channel})
        await settle()
    assert len(channel.took) == 1


async def test_a_replaced_notifier_takes_over_and_the_old_one_is_closed() -> None:
    old, new = Recorder(failing(10**6, PermanentError("wrong token"))), Recorder()
    world = World({"a": old})
    async with world.running():
        await world.fire()
        await settle()
        world.dispatcher.add({"a": new})
        await world.pass_time(61)
    assert len(new.took) == 1
    await world.dispatcher.close()
    assert old.closed
    assert new.closed


async def test_drain_delivers_without_run_and_leaves_what_is_put_off() -> None:
    good, dead = Recorder(), Recorder(failing(10**6, TransientError("down", retry_after=600)))
    world = World({"good": good, "dead": dead})
    await world.fire()
    await world.resolve()
    assert await world.dispatcher.drain(5) == 2
    assert len(good.took) == 2


async def test_drain_ends_in_time_when_a_channel_hangs() -> None:
    hanging = Recorder()
    hanging.gate.clear()
    world = World({"a": hanging})
    clock = SystemClock()
    world.dispatcher = Dispatcher(world.store, {"a": hanging}, clock, Random(7))
    await world.fire()
    before = clock.monotonic()
    assert await world.dispatcher.drain(0.1) == 1
    assert clock.monotonic() - before < 5
