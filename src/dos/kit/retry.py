"""Backoff with jitter, and a circuit breaker, on the injected clock.

Libraries for both exist but read the machine's time themselves; here the same code has to run
on virtual time, so that a test can play an hour of outage in a millisecond.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from random import Random

from dos.kit.clock import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Exponential backoff with full jitter (Brooker, AWS Architecture Blog, 2015).

    The k-th delay is uniform in `[floor, min(ceiling, first * 2**k)]` seconds.
    """

    first: float = 0.5
    ceiling: float = 30.0
    floor: float = 0.1

    def delays(self, rng: Random) -> Iterator[float]:
        """Endless delays in seconds; `rng` is seeded by the caller."""
        bound = self.first
        while True:
            yield rng.uniform(self.floor, max(self.floor, min(self.ceiling, bound)))
            bound = min(self.ceiling, bound * 2)


class CircuitState(StrEnum):
    """Whether calls go through."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class CircuitBreaker:
    """Stops calling what keeps failing (Nygard, Release It!, 2007).

    After `threshold` failures in a row the circuit opens; after `cooldown` seconds one trial
    call is let through (half-open): success closes the circuit, failure opens it anew.
    Not safe for use from several threads; meant for one task of one event loop.
    """

    def __init__(self, clock: Clock, *, threshold: int = 5, cooldown: float = 30.0) -> None:
        self._clock = clock
        self._threshold = threshold
        self._cooldown = cooldown
        self._failures = 0
        self._opened_at: float | None = None

    @property
    def state(self) -> CircuitState:
        """The state now."""
        if self._opened_at is None:
            return CircuitState.CLOSED
        if self._clock.monotonic() - self._opened_at >= self._cooldown:
            return CircuitState.HALF_OPEN
        return CircuitState.OPEN

    @property
    def failures(self) -> int:
        """Failures since the last success."""
        return self._failures

    def seconds_until_trial(self) -> float:
        """How long until a call may be made; 0 when one may be made now."""
        if self._opened_at is None:
            return 0.0
        return max(0.0, self._opened_at + self._cooldown - self._clock.monotonic())

    def succeeded(self) -> None:
        """The call worked: close."""
        self._failures = 0
        self._opened_at = None

    def failed(self) -> None:
        """The call failed: count it, and open once there were too many."""
        self._failures += 1
        if self._failures >= self._threshold:
            self._opened_at = self._clock.monotonic()
