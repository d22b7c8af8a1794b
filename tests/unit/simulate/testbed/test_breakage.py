"""Faults inside a service use what they claim to use, and give it back."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import pytest

from dos.kit.clock import ManualClock, SystemClock
from dos.simulate.testbed.breakage import Breakage, InjectedError
from dos.simulate.testbed.children import resident_bytes
from dos.simulate.testbed.faults import FaultKind, InjectedFault
from dos.simulate.testbed.spec import MEBIBYTE


def fault(kind: FaultKind, **keys: object) -> InjectedFault:
    return InjectedFault.model_validate({"type": kind, "service": "inventory", **keys})


@asynccontextmanager
async def running(breakage: Breakage) -> AsyncIterator[None]:
    task = asyncio.create_task(breakage.run())
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def used_cpu(breakage: Breakage, seconds: float) -> float:
    """CPU seconds of this process while `breakage` runs."""
    async with running(breakage):
        before = time.process_time()
        await asyncio.sleep(seconds)
        return time.process_time() - before


async def test_a_burn_takes_cpu_time_and_holds_up_the_loop() -> None:
    idle = await used_cpu(Breakage(SystemClock(), Random(1)), 0.6)
    breakage = Breakage(SystemClock(), Random(1))
    breakage.inject(fault(FaultKind.CPU_BURN, severity=1.0))
    async with running(breakage):
        gaps = []
        for _ in range(5):
            began = time.monotonic()
            await asyncio.sleep(0.001)
            gaps.append(time.monotonic() - began)
        before = time.process_time()
        await asyncio.sleep(0.6)
        burnt = time.process_time() - before
    assert burnt > 10 * idle
    assert max(gaps) > 0.05  # a request would have waited as long


async def test_memory_is_really_taken_and_given_back() -> None:
    breakage = Breakage(SystemClock(), Random(1))
    before = resident_bytes(os.getpid())
    breakage.inject(fault(FaultKind.MEMORY_GROWTH, severity=1.0))
    async with running(breakage):
        async with asyncio.timeout(30):
            while breakage.held < 8 * MEBIBYTE:  # noqa: ASYNC110  nobody tells
                await asyncio.sleep(0.02)
        grown = resident_bytes(os.getpid()) - before
        assert grown > 0.9 * breakage.held - MEBIBYTE
        breakage.clear()
        async with asyncio.timeout(30):
            while breakage.held:  # noqa: ASYNC110  nobody tells
                await asyncio.sleep(0.02)
    assert resident_bytes(os.getpid()) - before < grown / 2


async def test_errors_hit_their_share_of_requests() -> None:
    breakage = Breakage(SystemClock(), Random(1))
    await breakage.meet()
    breakage.inject(fault(FaultKind.ERRORS, severity=0.3))
    failed = 0
    for _ in range(1000):
        try:
            await breakage.meet()
        except InjectedError:
            failed += 1
    assert 250 < failed < 350
    breakage.clear()
    await breakage.meet()


async def test_a_request_sleeps_as_long_as_the_severity_says() -> None:
    clock = ManualClock()
    breakage = Breakage(clock, Random(1))
    breakage.inject(fault(FaultKind.SLEEP, severity=0.4, duration=10))
    request = asyncio.create_task(breakage.meet())
    await asyncio.sleep(0)
    clock.advance(0.39)
    await asyncio.sleep(0)
    assert not request.done()
    clock.advance(0.01)
    await request
    clock.advance(10)
    await breakage.meet()  # over: it would never return otherwise


class Disk:
    """A disk with room for so many bytes."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.written = 0

    async def fill(self, count: int) -> bool:
        self.written = min(self.room, self.written + count)
        return self.written < self.room

    async def free(self) -> None:
        self.written = 0


async def test_the_disk_is_filled_until_the_fault_is_over() -> None:
    disk = Disk(MEBIBYTE)
    breakage = Breakage(SystemClock(), Random(1), fill=disk.fill, free=disk.free)
    breakage.inject(fault(FaultKind.DISK_FULL, severity=1.0))
    async with running(breakage):
        async with asyncio.timeout(30):
            while disk.written < MEBIBYTE:  # noqa: ASYNC110  nobody tells
                await asyncio.sleep(0.02)
        breakage.clear()
        async with asyncio.timeout(30):
            while disk.written:  # noqa: ASYNC110  nobody tells
                await asyncio.sleep(0.02)


@pytest.mark.parametrize("kind", [kind for kind in FaultKind if kind.inside])
def test_every_fault_ends_by_itself(kind: FaultKind) -> None:
    clock = ManualClock()
    breakage = Breakage(clock, Random(1))
    breakage.inject(fault(kind, duration=5))
    assert breakage.strength(kind) == 0.7
    clock.advance(5)
    assert breakage.strength(kind) == 0.0
