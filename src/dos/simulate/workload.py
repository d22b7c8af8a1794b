"""What arrives from outside: open-loop traffic with the shape of days and weeks.

Open loop: users do not wait for each other, so a slow system gets as many requests as a fast
one (Schroeder et al., Open Versus Closed: A Cautionary Tale, NSDI 2006).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from dos.kit.clock import DAY, HOUR, SECOND, Millis, to_datetime
from dos.model.telemetry import Float64Array

_EPOCH_WEEKDAY = 3
"""1970-01-01 was a Thursday; Monday is 0."""
HOLIDAYS = frozenset({(1, 1), (5, 1), (12, 25), (12, 26)})
"""Holidays of many countries, month and day."""
TREND_FROM = Millis(1_767_571_200_000)
"""2026-01-05T00:00:00Z: where the trend is 1."""
_WANDER = 0.03
"""Standard deviation of the slow variation of a service's speed: neighbours, caches, data."""
_WANDER_SECONDS = 600.0
"""Time constant of that variation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """The pattern of traffic over time; rates in a world are its weekday average."""

    day_amplitude: float = 0.35
    """Ratio by which the busiest hour lies above the average, and the quietest about below."""
    peak_hour: float = 19.0
    """UTC hour of the day with most traffic."""
    weekend: float = 0.8
    """Traffic at the weekend relative to weekdays."""
    holiday: float = 0.7
    """Traffic on a holiday relative to other days."""
    holidays: frozenset[tuple[int, int]] = HOLIDAYS
    """Month and day of each, UTC."""
    trend: float = 0.0
    """Ratio by which traffic grows in a week; below 0 it shrinks."""
    variation: float = 0.04
    """Standard deviation of the slow random drift, as a ratio."""
    memory: float = 240.0
    """Seconds over which the drift forgets (the time constant of an AR(1) process)."""
    bursts_per_day: float = 4.0
    """Harmless short surges at each entry point."""
    burst_size: float = 0.15
    """Median ratio by which a burst adds to the traffic at its start."""
    burst_seconds: float = 90.0
    """Time constant with which a burst fades."""

    def level(self, at: Millis) -> float:
        """The deterministic part: 1 on a weekday's average."""
        hour = (at % DAY) / HOUR
        angle = (hour - self.peak_hour) / 24 * 2 * math.pi
        # The second harmonic makes the night long and flat and the evening peak narrow.
        shape = (math.cos(angle) + 0.25 * math.cos(2 * angle)) / 1.25
        grown = math.pow(1 + self.trend, (at - TREND_FROM) / (7 * DAY))
        return (1 + self.day_amplitude * shape) * self._weekly(at) * self._holiday(at) * grown

    def _holiday(self, at: Millis) -> float:
        """1 on other days, `holiday` on a holiday, blended over 3 h on both sides of midnight."""
        if not self.holidays:
            return 1.0
        today, share = divmod(at, DAY)
        hour = share / HOUR
        factors = [self._day_factor(today + shift) for shift in (-1, 0, 1)]
        middle = [(factors[0] + factors[1]) / 2, (factors[1] + factors[2]) / 2]
        hours, levels = (0.0, 3.0, 21.0, 24.0), (middle[0], factors[1], factors[1], middle[1])
        return float(np.interp(hour, hours, levels))

    def _day_factor(self, day: int) -> float:
        date = to_datetime(Millis(day * DAY))
        return self.holiday if (date.month, date.day) in self.holidays else 1.0

    def _weekly(self, at: Millis) -> float:
        """1 on weekdays, `weekend` on Saturday and Sunday, blended over 6 h around midnight."""
        day = (at / DAY + _EPOCH_WEEKDAY) % 7
        half = (1 + self.weekend) / 2
        days = (0.0, 0.125, 4.875, 5.125, 6.875, 7.0)
        levels = (half, 1.0, 1.0, self.weekend, self.weekend, half)
        return float(np.interp(day, days, levels))


class Weather:
    """The state of all that varies by itself: demand at the entries, speed of the services.

    Args:
        base: `[service]` requests per second from outside at level 1; 0 where nobody enters.
        step: Seconds of one tick.
    """

    def __init__(self, workload: Workload, base: Float64Array, step: float) -> None:
        self._workload = workload
        self._base = base
        self._drift = np.zeros(len(base))
        self._wander = np.zeros(len(base))
        self._burst = np.zeros(len(base))
        self._keep_drift = math.exp(-step / workload.memory)
        self._keep_wander = math.exp(-step / _WANDER_SECONDS)
        self._keep_burst = math.exp(-step / workload.burst_seconds)
        self._burst_chance = workload.bursts_per_day * step * SECOND / DAY

    def tick(
        self, now: Millis, normals: Float64Array, uniforms: Float64Array
    ) -> tuple[Float64Array, Float64Array]:
        """Demand `[service]` in 1/s from outside, and a factor `[service]` on service times.

        Args:
            normals: `[2 or more, service]` standard normal draws.
            uniforms: `[1 or more, service]` uniform draws.
        """
        workload = self._workload
        self._drift *= self._keep_drift
        self._drift += workload.variation * math.sqrt(1 - self._keep_drift**2) * normals[0]
        self._wander *= self._keep_wander
        self._wander += _WANDER * math.sqrt(1 - self._keep_wander**2) * normals[1]
        self._burst *= self._keep_burst
        starting = uniforms[0] < self._burst_chance
        if starting.any():
            self._burst += np.where(starting, workload.burst_size * np.exp(0.4 * normals[2]), 0.0)
        demand = self._base * workload.level(now) * np.exp(self._drift) * (1 + self._burst)
        return demand, np.exp(self._wander)
