"""The running application on virtual time: its tasks, its bounds, and how it stops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from dos.app import sentinel as module
from dos.app.backend import SentinelBackend
from dos.app.sentinel import CAPACITY, Sentinel, log_directory
from dos.kit.clock import ManualClock, Millis, SystemClock
from dos.kit.errors import ConfigError, TransientError
from dos.model.alert import AlertState, Notification
from dos.model.events import Decisions
from dos.model.incident import IncidentReason, IncidentState
from dos.storage.memory import MemoryStore
from tests.unit.app import played


class Inbox:
    """A receiver that keeps what it is told, or refuses it."""

    def __init__(self) -> None:
        self.told: list[Notification] = []
        self.closed = False
        self.refuses = False

    async def send(self, notification: Notification) -> None:
        if self.refuses:
            raise TransientError("The inbox is full.")
        self.told.append(notification)

    async def close(self) -> None:
        self.closed = True


PUSHED: dict[str, Any] = {"sources": [{"type": "push"}]}


def build(
    clock: ManualClock | None = None, inbox: Inbox | None = None, **sections: Any
) -> Sentinel:
    return Sentinel(
        played.settings(**{**PUSHED, **sections}),
        clock or ManualClock(played.START),
        offload=False,
        extra_receivers={"inbox": inbox or Inbox()},
    )


async def until(true: Callable[[], bool], seconds: float = 20.0) -> None:
    """Let the tasks run until `true`."""
    real = SystemClock()
    deadline = real.monotonic() + seconds
    while not true():
        assert real.monotonic() < deadline, "it never came true"
        await asyncio.sleep(0.001)


async def push(sentinel: Sentinel, clock: ManualClock, count: int) -> None:
    """The first deliveries of the standard run through the mailbox, each at its time."""
    progress = sentinel.runner.progress
    for number, (at, delivery) in enumerate(played.played()[:count], start=1):
        clock.set(at)
        assert sentinel.mailbox.offer(("push", delivery))
        await until(lambda taken=number: progress.intakes >= taken)  # type: ignore[misc]


@pytest.fixture
async def idle() -> AsyncIterator[Sentinel]:
    """Open, with nothing running."""
    one = build()
    await one.open()
    yield one
    await one.close()


async def test_what_is_pushed_is_decided_on_and_told() -> None:
    clock, inbox = ManualClock(played.START), Inbox()
    async with build(clock, inbox) as sentinel:
        # Without the time between them there are no heartbeats: the decisions are those of
        # the standard run.
        await push(sentinel, clock, len(played.played()))
        events = await sentinel.store.events(limit=10_000)
        assert len(events) > 50
        await until(lambda: len(inbox.told) >= 4)
        assert not await sentinel.store.outbox(clock.now())
        assert sentinel.failure is None
    assert inbox.closed
    states = [one.alert.state for one in inbox.told if "update" not in dict(one.alert.annotations)]
    assert states == [AlertState.FIRING, AlertState.RESOLVED] * 2


async def test_heartbeats_resolve_what_silent_sources_leave_open() -> None:
    clock, inbox = ManualClock(played.START), Inbox()
    quick = {"resolve_after": 15.0, "alone_after": 30.0, "stale_after": 60.0}
    async with build(clock, inbox, incidents=quick) as sentinel:
        await push(sentinel, clock, 20)
        assert await sentinel.store.incidents(state=IncidentState.OPEN)
        for _ in range(90):
            clock.advance(1)
            await asyncio.sleep(0.002)
        await until(lambda: not sentinel.runner.pipeline.parts.correlator.open)
        (over,) = await sentinel.store.incidents()
        assert over.reason is IncidentReason.STALE
        await until(lambda: inbox.told[-1:] != [] and inbox.told[-1].alert.ends_at is not None)


async def test_a_full_mailbox_refuses_and_counts(idle: Sentinel) -> None:
    backend = SentinelBackend(idle)
    _, delivery = played.played()[0]
    assert all(backend.offer(delivery) for _ in range(CAPACITY))
    assert not backend.offer(delivery)
    assert not backend.offer(delivery)
    assert idle.mailbox.refused == 2
    text = backend.metrics_text().decode()
    assert f"dos_mailbox_waiting {CAPACITY}.0" in text
    assert "dos_mailbox_refused_total 2.0" in text


async def test_what_waits_in_the_mailbox_is_taken_before_it_stops() -> None:
    sentinel = build()
    await sentinel.open()
    for _, delivery in played.played()[:5]:
        assert sentinel.mailbox.offer(("push", delivery))
    await sentinel.close()
    assert sentinel.runner.progress.intakes == 5
    assert len(sentinel.mailbox) == 0


async def test_trouble_with_the_store_shows_and_stopping_does_not_hang(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "DRAIN", 0.05)

    async def refuse(_: MemoryStore, decisions: Decisions) -> None:
        raise TransientError(f"{len(decisions.events)} events find no disk.")

    clock, sentinel = ManualClock(played.START), build()
    await sentinel.open()
    sentinel.start()
    monkeypatch.setattr(MemoryStore, "commit", refuse)
    with capture_logs() as logs:
        sentinel.mailbox.offer(("push", played.played()[0][1]))
        sentinel.mailbox.offer(("push", played.played()[1][1]))
        await until(lambda: sentinel.failure is not None)
        ready = SentinelBackend(sentinel).ready()
        assert not ready.ok
        assert ready.components[0].name == "pipeline"
        assert "store does not take what must be kept" in ready.components[0].detail
        assert "find no disk" in ready.components[0].detail
        await sentinel.close()
    assert "stopped with work left" in [line["event"] for line in logs]
    assert clock.now() == played.START


async def test_a_task_that_dies_makes_it_unready(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> Decisions:
        raise ZeroDivisionError("a bug")

    sentinel = build()
    await sentinel.open()
    monkeypatch.setattr(sentinel.runner.pipeline, "step", broken)
    sentinel.start()
    sentinel.mailbox.offer(("push", played.played()[0][1]))
    await until(lambda: sentinel.failure is not None)
    assert "The task 'pipeline' died: ZeroDivisionError('a bug')" in str(sentinel.failure)
    assert not SentinelBackend(sentinel).ready().ok
    with pytest.raises(ZeroDivisionError):
        await sentinel.close()


async def test_a_receiver_in_trouble_shows_and_the_rest_goes_on() -> None:
    clock, inbox = ManualClock(played.START), Inbox()
    inbox.refuses = True
    with capture_logs():
        async with build(clock, inbox) as sentinel:
            await push(sentinel, clock, 16)
            await until(lambda: any(one.error for one in sentinel.dispatcher.status()))
            ready = SentinelBackend(sentinel).ready()
            assert ready.ok
            (receiver,) = [one for one in ready.components if one.name == "receiver:inbox"]
            assert not receiver.ok
            assert "inbox is full" in receiver.detail
            inbox.refuses = False
            for _ in range(60):
                clock.advance(1)
                await asyncio.sleep(0.001)
            await until(lambda: bool(inbox.told))


async def test_housekeeping_outlives_a_full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    sentinel = build(storage={"url": "memory://", "checkpoint_every": 0.01})
    tries: list[int] = []

    def full() -> None:
        tries.append(1)
        if len(tries) < 3:
            raise TransientError("No space left on device.")

    await sentinel.open()
    monkeypatch.setattr(sentinel.runner, "checkpoint", full)
    with capture_logs() as logs:
        sentinel.start()
        await until(lambda: len(tries) >= 5)
        await sentinel.close()
    assert sentinel.failure is None
    assert [line["event"] for line in logs].count("no checkpoint") == 2


async def test_it_goes_on_where_it_stopped(tmp_path: Path) -> None:
    keys: dict[str, Any] = {"storage": {"url": None}, "data_dir": tmp_path / "data"}
    clock, inbox = ManualClock(played.START), Inbox()
    deliveries = played.played()
    lines: list[bytes] = []
    stopped_at = Millis(0)
    for part in (deliveries[:20], deliveries[20:50], deliveries[50:]):
        sentinel = build(clock, inbox, **keys)
        await sentinel.open()
        assert sentinel.resumed_at == stopped_at
        sentinel.start(live=False)
        for at, delivery in part:
            clock.set(at)
            await sentinel.take("simulator", delivery)
        lines = [one.to_json() for one in await sentinel.store.events(limit=10_000)]
        stopped_at = clock.now()
        await sentinel.close()

    def decided(recorded: list[bytes]) -> list[bytes]:
        """Without numbers and notifications: here is one receiver instead of two."""
        kept = [line for line in recorded if b"notification_queued" not in line]
        return [line[line.index(b',"at"') :] for line in kept]

    assert decided(lines) == decided(played.lines(played.uninterrupted()))


async def test_two_processes_in_one_directory_are_refused(tmp_path: Path) -> None:
    keys: dict[str, Any] = {"storage": {"url": None}, "data_dir": tmp_path / "data"}
    first = build(**keys)
    await first.open()
    with pytest.raises(Exception, match="Another DOS process writes to"):
        build(**keys)
    await first.close()


async def test_an_error_while_opening_releases_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys: dict[str, Any] = {"storage": {"url": None}, "data_dir": tmp_path / "data"}
    broken = build(**keys)

    async def fail() -> Millis:
        raise ConfigError("No.")

    monkeypatch.setattr(broken.runner, "recover", fail)
    with pytest.raises(ConfigError, match="No"):
        async with broken:
            pytest.fail("it must not start")
    async with build(**keys):
        pass  # neither the log nor the database is still locked


def test_the_log_lies_in_the_recording_where_there_is_one(tmp_path: Path) -> None:
    memory = played.settings()
    assert log_directory(memory) is None
    disk = played.settings(storage={"url": None}, data_dir=tmp_path)
    assert log_directory(disk) == tmp_path / "intake"
    recorded = played.settings(recording={"path": tmp_path / "rec"})
    assert log_directory(recorded) == tmp_path / "rec" / "intake"
