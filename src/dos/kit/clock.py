"""The one place where DOS reads the machine's time.

Everything else takes a `Clock`. Simulation, replay and tests hand in a `ManualClock` and so run
the very code that production runs, only faster. All times are integers in milliseconds since
the Unix epoch (UTC), called `*_ms` or typed `Millis`; durations in configuration are seconds.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from datetime import UTC, datetime
from typing import NewType, Protocol

Millis = NewType("Millis", int)
"""Milliseconds since the Unix epoch, UTC."""

SECOND = 1_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR


class Clock(Protocol):
    """Where the present comes from."""

    def now(self) -> Millis:
        """Wall-clock time. May jump when the machine's clock is set."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go backwards; only differences mean something."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Suspend for that many seconds of this clock."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> Millis:
        return Millis(time.time_ns() // 1_000_000)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))


class ScaledClock:
    """Real time made faster: starts at `origin`, and runs `speed` times as fast as the machine.

    Used for live demonstrations of a simulated day. `speed` must be positive.
    """

    def __init__(self, origin: Millis, speed: float = 1.0) -> None:
        if speed <= 0:
            msg = "speed must be positive"
            raise ValueError(msg)
        self._origin = origin
        self._speed = speed
        self._started = time.monotonic()

    def now(self) -> Millis:
        return Millis(self._origin + round(self.monotonic() * SECOND))

    def monotonic(self) -> float:
        return (time.monotonic() - self._started) * self._speed

    def rebase(self, now: Millis) -> None:
        """Go on from `now`, as if the clock had been there at this moment."""
        self._origin = Millis(now - round(self.monotonic() * SECOND))

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds) / self._speed)


class ManualClock:
    """Virtual time: stands still until somebody calls `set` or `advance`.

    Tasks that sleep on it wake in order of their deadlines as the time passes them.
    """

    def __init__(self, origin: Millis = Millis(0)) -> None:
        self._now: int = origin
        self._origin: int = origin
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []
        self._ticket = itertools.count()

    def now(self) -> Millis:
        return Millis(self._now)

    def monotonic(self) -> float:
        return (self._now - self._origin) / SECOND

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        deadline = self._now + round(seconds * SECOND)
        heapq.heappush(self._sleepers, (deadline, next(self._ticket), woken))
        await woken

    def set(self, now: Millis) -> None:
        """Move to `now` (backwards is allowed: a clock that was set) and wake who is due."""
        self._now = now
        while self._sleepers and self._sleepers[0][0] <= self._now:
            _, _, woken = heapq.heappop(self._sleepers)
            if not woken.done():
                woken.set_result(None)

    def advance(self, seconds: float) -> None:
        """Move `seconds` forward."""
        self.set(Millis(self._now + round(seconds * SECOND)))


def to_datetime(at: Millis) -> datetime:
    """`at` as an aware UTC `datetime`."""
    return datetime.fromtimestamp(at / SECOND, tz=UTC)


def to_rfc3339(at: Millis) -> str:
    """`at` as `2026-11-23T14:30:00.000Z`, the form used on every boundary."""
    return to_datetime(at).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def from_rfc3339(text: str) -> Millis:
    """Parse an RFC 3339 / ISO 8601 time; one without a zone is taken as UTC.

    Raises:
        ValueError: `text` is not such a time.
    """
    parsed = datetime.fromisoformat(text)
    if parsed.tzinfo is None:
        parsed = parsed.replace(tzinfo=UTC)
    return Millis(round(parsed.timestamp() * SECOND))
