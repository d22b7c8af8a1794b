"""`kill -9` at every named step of a posted alert's way: nothing is lost, nothing told twice.

A process takes alerts in and dies at a step; another one goes on from what it left. Whatever a
sender was told is taken must be told to the receiver, and so must its end. The only message that
may come twice is one whose process died between the receiver's answer and the ledger, and then
both have the same idempotency key.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from random import Random
from typing import Any

import pytest

from dos.alerting.notifiers.webhook import WebhookNotifier
from dos.app.pipeline import Pipeline
from dos.app.sentinel import Sentinel
from dos.app.settings import Settings
from dos.bus.segment import SegmentLog
from dos.compute.checkpoint import FileCheckpointStore
from dos.ingest.base import Delivery
from dos.kit.clock import MINUTE, Millis, SystemClock
from dos.model.alert import PostedAlert
from dos.storage.sql.repositories import SqlStore
from tests.receiver import Received, webhook_receiver

STEPS: dict[str, tuple[type, str, bool]] = {
    "logged": (SegmentLog, "append", True),
    "decided": (Pipeline, "step", True),
    "uncommitted": (SqlStore, "commit", False),
    "committed": (SqlStore, "commit", True),
    "sending": (WebhookNotifier, "send", False),
    "taken": (WebhookNotifier, "send", True),
    "marked": (SqlStore, "sent", True),
    "checkpointing": (FileCheckpointStore, "save", False),
    "checkpointed": (FileCheckpointStore, "save", True),
}
"""Method, and whether the process dies after it has returned or before it is called."""
ANSWERED = "answered"
ROUTES = """
route: {receiver: hook, group_by: [alertname], group_wait: 0s, group_interval: 200ms}
receivers: [{name: hook, webhook_configs: [{url: "https://example.org/"}]}]
"""
LIFE = 20.0
"""Seconds after which a process that waits to be killed, or to be done, gives up."""
STARTER = get_context("forkserver")
STARTER.set_forkserver_preload(["tests.faults.test_kill9_posted"])


@dataclass(frozen=True)
class Life:
    """One process: what it has to post, and where it dies."""

    home: Path
    url: str
    step: str | None
    nth: int
    alerts: tuple[str, ...]


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def deadly(life: Life) -> Callable[[str], None]:
    """Counts what happens, and kills."""
    left = life.nth

    def happened(step: str) -> None:
        nonlocal left
        if step == life.step:
            left -= 1
            if left == 0:
                die()

    return happened


def trap(step: str, happened: Callable[[str], None]) -> None:
    """Watch a step of this process."""
    owner, name, after = STEPS[step]
    original = getattr(owner, name)

    async def later(*given: Any, **named: Any) -> Any:
        if not after:
            happened(step)
        result = await original(*given, **named)
        if after:
            happened(step)
        return result

    def at_once(*given: Any, **named: Any) -> Any:
        if not after:
            happened(step)
        result = original(*given, **named)
        if after:
            happened(step)
        return result

    setattr(owner, name, later if asyncio.iscoroutinefunction(original) else at_once)


def settings_of(life: Life) -> Settings:
    routes = life.home / "alertmanager.yml"
    routes.write_text(ROUTES)
    hook = {"type": "webhook", "name": "hook", "url": life.url, "allow_hosts": ["127.0.0.1"]}
    return Settings.model_validate(
        {
            "data_dir": str(life.home / "data"),
            "storage": {"checkpoint_every": 1},
            "alerting": {"routes_file": str(routes), "receivers": [hook], "flap_calm": 0},
            "sources": [],
        }
    )


def live(life: Life) -> None:
    """The whole process."""
    happened = deadly(life)
    if life.step in STEPS:
        trap(life.step, happened)
    asyncio.run(asyncio.wait_for(_live(life, happened), LIFE))


async def insist(sentinel: Sentinel, posted: PostedAlert) -> None:
    """As senders do, until it is taken."""
    for _ in range(200):
        if await sentinel.submit("push", Delivery(alerts=(posted,))):
            return
        await asyncio.sleep(0.05)
    raise AssertionError("never taken")


async def _live(life: Life, happened: Callable[[str], None]) -> None:
    clock = SystemClock()
    taken = life.home / "taken"
    known = set(taken.read_text().split()) if taken.exists() else set()
    async with Sentinel(settings_of(life), clock) as sentinel:
        for word in life.alerts:
            if word in known:
                continue
            name, _, kind = word.partition(":")
            now = clock.now()
            posted = PostedAlert(
                labels=(("alertname", name), ("severity", "critical")),
                starts_at=now,
                ends_at=now if kind == "over" else Millis(now + 60 * MINUTE),
                updated_at=now,
            )
            await insist(sentinel, posted)
            with taken.open("a") as file:
                file.write(f"{word}\n")  # the sender has its answer
            happened(ANSWERED)
            await asyncio.sleep(0.03)
        desk = sentinel.runner.pipeline.parts.desk
        # Nobody says when all is told; a process that is to be killed waits for that.
        while life.step or desk.is_busy or await sentinel.store.outbox(Millis(2**53)):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


def run(life: Life) -> int:
    process = STARTER.Process(target=live, args=(life,))
    process.start()
    process.join(2 * LIFE)
    if process.exitcode is None:
        process.kill()
        process.join()
    assert process.exitcode is not None
    return process.exitcode


def check(received: Received, words: set[str], kills: int) -> None:
    """Each beginning and each end was told, under one key."""
    bodies: dict[str, Any] = {}
    told: dict[str, set[str]] = {}
    order: dict[str, list[str]] = {}
    for key, body in received.requests:
        assert bodies.setdefault(key, body) == body, "the same key is the same message"
        (alert,) = body["alerts"]
        name, status = alert["labels"]["alertname"], alert["status"]
        told.setdefault(f"{name}:{'over' if status == 'resolved' else 'fires'}", set()).add(key)
        order.setdefault(name, []).append(status)
    assert told.keys() == words
    assert all(len(keys) == 1 for keys in told.values())
    assert all(said[0] == "firing" and said[-1] == "resolved" for said in order.values())
    assert len(received.requests) - len(bodies) <= kills


@pytest.mark.slow(seconds=15)
@pytest.mark.timeout(400)
@pytest.mark.parametrize("seed", range(20))
def test_a_kill_at_each_step_loses_nothing(tmp_path: Path, seed: int) -> None:
    rng = Random(seed)
    steps = [*STEPS, ANSWERED]
    rng.shuffle(steps)
    all_words: list[str] = []
    with webhook_receiver() as received:
        for number, step in enumerate(steps):
            # Those begun in this life, and the end of some begun before.
            fresh = [f"a{number}x{one}:fires" for one in range(3)]
            ends = [
                one.replace("fires", "over")
                for one in all_words
                if one.endswith("fires") and rng.random() < 0.5
            ]
            all_words += [*[one for one in ends if one not in all_words], *fresh]
            nth = 1 if step.startswith("checkpoint") else rng.randint(1, 3)
            life = Life(tmp_path, received.url, step, nth, tuple(all_words))
            assert run(life) == -signal.SIGKILL, step
        names = dict.fromkeys(one.partition(":")[0] for one in all_words)
        all_words += [f"{one}:over" for one in names if f"{one}:over" not in all_words]
        assert run(Life(tmp_path, received.url, None, 0, tuple(all_words))) == 0
    assert set((tmp_path / "taken").read_text().split()) == set(all_words)
    check(received, set(all_words), kills=len(steps))
