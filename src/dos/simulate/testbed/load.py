"""Requests from outside: an open loop, because users do not wait for each other.

Arrivals are a Poisson process of a fixed rate. A system that slows down therefore gets no relief,
which is what a closed loop would give it (Schroeder, Wierman & Harchol-Balter, *Open versus
closed: a cautionary tale*, NSDI 2006). What users see is measured here.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from random import Random

import httpx2

from dos.kit.clock import Clock
from dos.simulate.testbed import spec
from dos.simulate.testbed.spec import GATEWAY, JOURNEYS, Journey

PATIENCE = 10.0
"""Seconds a user waits."""
_MOST_AT_ONCE = 400
"""Requests under way; arrivals beyond are given up at once and count as failed."""
_WINDOW = 10.0
"""Seconds that `Load.recent` looks back."""
_USERS = 500
_ITEMS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What users saw in some time."""

    rate: float
    """Requests that ended, per second."""
    failed: float
    """Ratio of them that failed."""
    p95: float
    """Seconds; 0 when none succeeded."""


class Load:
    """Sends requests to the gateway and remembers how they went.

    Args:
        rate: Arrivals per second on average.
        rng: Draws arrivals, journeys and users.
        clock: Paces and times.
    """

    def __init__(self, rate: float, rng: Random, clock: Clock) -> None:
        self._rate = rate
        self._rng = rng
        self._clock = clock
        self._ended: deque[tuple[float, float, bool]] = deque()
        self._under_way: set[asyncio.Task[None]] = set()
        self.total = 0
        self.failed = 0

    async def run(self, address: str) -> None:
        """Send to the gateway at `address` until cancelled."""
        limits = httpx2.Limits(max_connections=_MOST_AT_ONCE)
        async with httpx2.AsyncClient(timeout=PATIENCE, trust_env=False, limits=limits) as client:
            try:
                await self._arrive(client, f"http://{address}")
            finally:
                for task in self._under_way:
                    task.cancel()
                await asyncio.gather(*self._under_way, return_exceptions=True)

    def recent(self) -> Seen:
        """The last ten seconds."""
        now = self._clock.monotonic()
        self._forget(now)
        good = sorted(seconds for _, seconds, fine in self._ended if fine)
        count = len(self._ended)
        span = min(_WINDOW, max(1.0, now - self._ended[0][0])) if count else _WINDOW
        return Seen(
            rate=count / span,
            failed=1 - len(good) / count if count else 0.0,
            p95=good[min(len(good) - 1, int(0.95 * len(good)))] if good else 0.0,
        )

    async def _arrive(self, client: httpx2.AsyncClient, gateway: str) -> None:
        due = self._clock.monotonic()
        while True:
            due += self._rng.expovariate(self._rate)
            await self._clock.sleep(max(0.0, due - self._clock.monotonic()))
            if len(self._under_way) >= _MOST_AT_ONCE:
                self._note(0.0, fine=False)
                continue
            task = asyncio.create_task(self._request(client, gateway, self._draw()))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)

    async def _request(self, client: httpx2.AsyncClient, gateway: str, journey: Journey) -> None:
        operation = spec.service(GATEWAY).operation(journey.operation)
        who = {"user": self._rng.randrange(_USERS), "item": self._rng.randrange(_ITEMS)}
        began = self._clock.monotonic()
        try:
            answer = await client.request(operation.method, gateway + operation.route, params=who)
            fine = answer.is_success
        except httpx2.HTTPError:
            fine = False
        self._note(self._clock.monotonic() - began, fine=fine)

    def _draw(self) -> Journey:
        (journey,) = self._rng.choices(JOURNEYS, [one.share for one in JOURNEYS])
        return journey

    def _note(self, seconds: float, *, fine: bool) -> None:
        now = self._clock.monotonic()
        self._ended.append((now, seconds, fine))
        self.total += 1
        self.failed += not fine
        self._forget(now)

    def _forget(self, now: float) -> None:
        while self._ended and self._ended[0][0] < now - _WINDOW:
            self._ended.popleft()
