"""Faults a service does to itself: they use what they claim to use, and end by themselves.

Faults arrive over the control endpoint. Those that hit requests (`sleep`, `errors`) are asked at
each request; the others work in one task of the service's event loop, so that a burnt CPU holds
up requests exactly as a hot loop in a handler would.
"""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random

from dos.kit import log
from dos.kit.clock import Clock
from dos.simulate.testbed.faults import FaultKind, InjectedFault
from dos.simulate.testbed.spec import MEBIBYTE

SLICE = 0.1
"""Seconds of one round of burning and resting."""
MOST_BURN = 0.95
"""Share of the time that is burnt at most: requests still get a turn."""
MOST_SLEEP = 1.0
"""Seconds each request waits at full severity."""
GROWTH = 8 * MEBIBYTE
"""Bytes a second that memory grows by at full severity."""
MOST_MEMORY = 512 * MEBIBYTE
"""Bytes that are held at most, if no limit ends it before."""
FILLING = 8 * MEBIBYTE
"""Bytes a second that are written to the disk at full severity."""
_PAGE = mmap.PAGESIZE
_log = log.get("testbed")


class InjectedError(Exception):
    """The failure that the `errors` fault makes of a request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Running:
    fault: InjectedFault
    since: float
    """Of the monotonic clock."""


class Breakage:
    """What is broken in this process now.

    Args:
        clock: Faults end by it.
        rng: Chooses the requests that fail.
        fill: Writes so many bytes to the service's disk; False when it is full. None without one.
        free: Gives them back.
    """

    def __init__(
        self,
        clock: Clock,
        rng: Random,
        *,
        fill: Callable[[int], Awaitable[bool]] | None = None,
        free: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._clock = clock
        self._rng = rng
        self._fill = fill
        self._free = free
        self._running: list[_Running] = []
        self._held: list[mmap.mmap] = []
        self._owed = 0.0
        """Bytes that are to be taken but do not make a block yet."""
        self._filled = False

    @property
    def held(self) -> int:
        """Bytes of memory taken."""
        return len(self._held) * MEBIBYTE

    def inject(self, fault: InjectedFault) -> None:
        """Begin `fault` now."""
        self._running.append(_Running(fault=fault, since=self._clock.monotonic()))
        _log.warning("fault begins", type=fault.type, severity=fault.severity)

    def clear(self) -> None:
        """End all faults now."""
        self._running.clear()

    def strength(self, kind: FaultKind) -> float:
        """Severity of the worst running fault of `kind`, 0 where there is none."""
        now = self._clock.monotonic()
        self._running = [one for one in self._running if now - one.since < one.fault.ends_after]
        mine = [one for one in self._running if one.fault.type is kind]
        return max((one.fault.strength(now - one.since) for one in mine), default=0.0)

    async def meet(self) -> None:
        """What a request meets before it is handled.

        Raises:
            InjectedError: It is one of those that fail.
        """
        wait = self.strength(FaultKind.SLEEP) * MOST_SLEEP
        if wait > 0:
            await self._clock.sleep(wait)
        if self._rng.random() < self.strength(FaultKind.ERRORS):
            msg = "injected"
            raise InjectedError(msg)

    async def run(self) -> None:
        """Burn, grow and fill while faults say so, until cancelled."""
        try:
            while True:
                began = self._clock.monotonic()
                self._burn(began)
                self._grow(self.strength(FaultKind.MEMORY_GROWTH))
                await self._write(self.strength(FaultKind.DISK_FULL))
                spent = self._clock.monotonic() - began
                # Slices keep their length although the burning took part of it.
                await self._clock.sleep(max(SLICE - spent, SLICE * (1 - MOST_BURN)))
        finally:
            self._let_go()

    def _burn(self, began: float) -> None:
        share = min(MOST_BURN, self.strength(FaultKind.CPU_BURN))
        digest = b""
        while self._clock.monotonic() - began < share * SLICE:
            digest = hashlib.pbkdf2_hmac("sha256", digest, b"burn", 200)

    def _grow(self, strength: float) -> None:
        if strength == 0:
            self._let_go()
            return
        self._owed += strength * GROWTH * SLICE
        while self._owed >= MEBIBYTE and self.held < MOST_MEMORY:
            # Not from the heap, which would keep what is freed: this is given back at once.
            block = mmap.mmap(-1, MEBIBYTE)
            for page in range(0, MEBIBYTE, _PAGE):
                block[page] = 1  # untouched pages take no memory
            self._held.append(block)
            self._owed -= MEBIBYTE

    def _let_go(self) -> None:
        self._owed = 0.0
        for block in self._held:
            block.close()
        self._held.clear()

    async def _write(self, strength: float) -> None:
        if self._fill is None or self._free is None:
            return
        if strength > 0:
            self._filled = True
            await self._fill(round(strength * FILLING * SLICE))
        elif self._filled:
            await self._free()
            self._filled = False
