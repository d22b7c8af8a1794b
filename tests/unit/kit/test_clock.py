from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dos.kit.clock import (
    DAY,
    ManualClock,
    Millis,
    ScaledClock,
    SystemClock,
    from_rfc3339,
    to_datetime,
    to_rfc3339,
)


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_virtual_time_stands_still_until_it_is_moved() -> None:
    clock = ManualClock(Millis(5_000))
    woken: list[str] = []

    async def sleeper(name: str, seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append(name)

    tasks = [asyncio.create_task(sleeper(n, s)) for n, s in (("c", 3), ("a", 1), ("b", 2))]
    await turns()
    assert woken == []
    clock.advance(0.999)
    await turns()
    assert woken == []
    clock.advance(0.001)
    await turns()
    assert woken == ["a"]
    clock.set(Millis(60_000))
    await turns()
    assert woken == ["a", "b", "c"], "in the order of their deadlines"
    assert clock.now() == 60_000
    assert clock.monotonic() == 55.0
    await asyncio.gather(*tasks)


async def test_who_was_cancelled_is_not_woken() -> None:
    clock = ManualClock()
    task = asyncio.create_task(clock.sleep(1))
    await turns()
    task.cancel()
    clock.advance(2)
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_clock_set_back_wakes_nobody() -> None:
    clock = ManualClock(Millis(10_000))
    task = asyncio.create_task(clock.sleep(1))
    await turns()
    clock.set(Millis(0))
    await turns()
    assert not task.done()
    clock.set(Millis(11_000))
    await task


@pytest.mark.parametrize("seconds", [0, -1])
async def test_sleeping_for_nothing_lets_others_run(seconds: float) -> None:
    await ManualClock().sleep(seconds)
    await SystemClock().sleep(seconds)


async def test_scaled_time_runs_faster() -> None:
    with pytest.raises(ValueError, match="positive"):
        ScaledClock(Millis(0), 0)
    clock, real = ScaledClock(Millis(DAY), 1000.0), SystemClock()
    before, started = clock.now(), real.monotonic()
    await clock.sleep(20)
    took = real.monotonic() - started
    assert clock.now() - before >= 19_900
    assert 0.015 <= took < 15
    clock.rebase(Millis(7 * DAY))
    assert 7 * DAY <= clock.now() < 8 * DAY


def test_the_machines_clock_goes_forward() -> None:
    clock = SystemClock()
    assert clock.now() > Millis(1_700_000_000_000)
    assert clock.monotonic() <= clock.monotonic()


def test_times_on_the_boundary() -> None:
    at = from_rfc3339("2026-11-23T14:30:00.250Z")
    assert to_rfc3339(at) == "2026-11-23T14:30:00.250Z"
    assert from_rfc3339("2026-11-23T15:30:00.250+01:00") == at
    assert from_rfc3339("2026-11-23T14:30:00.250") == at, "without a zone it is UTC"
    assert to_datetime(Millis(0)).isoformat() == "1970-01-01T00:00:00+00:00"
    with pytest.raises(ValueError, match="yesterday"):
        from_rfc3339("yesterday")


@given(at=st.integers(0, 4_102_444_800_000))
def test_times_survive_the_boundary(at: int) -> None:
    assert from_rfc3339(to_rfc3339(Millis(at))) == at
