"""Made-up resources for `forecast.py`: some run out, some never do.

Each is a share of a limit, sampled at a fixed step. What a shape is like is drawn from its
generator: where it starts, how fast it grows, how noisy it is.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dos.model.telemetry import Float64Array

Rng = np.random.Generator
Shape = Callable[[Rng, Float64Array], Float64Array]
"""Times in seconds from 0 to shares of the limit."""
DAY = 86_400.0
CEILING = 0.985
"""What never runs out stays below this share."""


def wandering(rng: Rng, count: int, memory: float, sigma: float) -> Float64Array:
    """A stationary autoregressive series with that correlation from one sample to the next."""
    drawn = rng.standard_normal(count) * sigma
    drawn[1:] *= np.sqrt(1.0 - memory * memory)
    for i in range(1, count):
        drawn[i] += memory * drawn[i - 1]
    return drawn


def _run(rng: Rng, time: Float64Array) -> tuple[float, Float64Array]:
    """Seconds that a fill takes, and how long it has run at each time."""
    length = float(time[-1])
    total, begin = rng.uniform(0.25, 0.8) * length, rng.uniform(0.02, 0.15) * length
    return total, np.clip(time - begin, 0.0, None)


def _fill(rng: Rng, grown: Float64Array, sigma: float | None = None) -> Float64Array:
    """From a random start to the limit as `grown` goes from 0 to 1, with noise."""
    start = rng.uniform(0.2, 0.7)
    noise = 10 ** rng.uniform(-4, -2.5) if sigma is None else sigma
    filled: Float64Array = start + (1.0 - start) * grown
    return filled + noise * rng.standard_normal(len(grown))


def steady(rng: Rng, time: Float64Array) -> Float64Array:
    """A straight line."""
    total, since = _run(rng, time)
    return _fill(rng, since / total)


def noisy(rng: Rng, time: Float64Array) -> Float64Array:
    """A straight line with much noise."""
    total, since = _run(rng, time)
    return _fill(rng, since / total, sigma=10 ** rng.uniform(-3.5, -2))


def wavering(rng: Rng, time: Float64Array) -> Float64Array:
    """A line with slow wandering around it."""
    total, since = _run(rng, time)
    return _fill(rng, since / total, sigma=0.0) + wandering(rng, len(time), 0.95, 0.01)


def in_lumps(rng: Rng, time: Float64Array) -> Float64Array:
    """Lumps of random size (a gamma process)."""
    total, since = _run(rng, time)
    lumps = rng.gamma(0.2, 5.0, len(time)) * (since > 0)
    return _fill(rng, np.cumsum(lumps) * (time[1] - time[0]) / total)


def faster(rng: Rng, time: Float64Array) -> Float64Array:
    """Growth that speeds up."""
    total, since = _run(rng, time)
    return _fill(rng, (since / total) ** rng.uniform(1.2, 2.0))


def erratic(rng: Rng, time: Float64Array) -> Float64Array:
    """A rate that is a random walk of its own."""
    total, since = _run(rng, time)
    step = time[1] - time[0]
    rate = np.exp(np.cumsum(rng.standard_normal(len(time))) * 0.7 * np.sqrt(step / total))
    return _fill(rng, np.cumsum(rate * (since > 0)) * step / total)


def leaking_saw(rng: Rng, time: Float64Array) -> Float64Array:
    """A leak below the saw of a garbage collector."""
    total, since = _run(rng, time)
    height, period = rng.uniform(0.02, 0.12), rng.uniform(240.0, 1200.0)
    saw = height * ((time / period + rng.uniform()) % 1.0)
    return (
        0.9 * _fill(rng, since / total * (1.0 + height))
        + saw
        + 0.1 * np.minimum(since / total, 1.0)
    )


def by_daylight(rng: Rng, time: Float64Array) -> Float64Array:
    """A rate that follows the traffic of the day."""
    total, since = _run(rng, time)
    rate = 1.0 + 0.6 * np.sin(2 * np.pi * (time / DAY + rng.uniform()))
    return _fill(rng, np.cumsum(rate * (since > 0)) * (time[1] - time[0]) / total)


def stairs(rng: Rng, time: Float64Array) -> Float64Array:
    """Equal steps."""
    total, since = _run(rng, time)
    steps = int(rng.integers(20, 60))
    return _fill(rng, np.floor(since / total * steps) / steps)


def cleaned(rng: Rng, time: Float64Array) -> Float64Array:
    """Somebody cleans up on the way, and it fills again."""
    total, since = _run(rng, time)
    turn, again = rng.uniform(0.3, 0.6), rng.uniform(1.0, 1.5)
    grown = since / total
    return _fill(rng, np.where(grown > turn, (grown - turn) * again, grown))


def _level(rng: Rng, share: Float64Array) -> Float64Array:
    noise = 10 ** rng.uniform(-3.5, -2) * rng.standard_normal(len(share))
    return np.clip(share + noise, 0.0, CEILING)


def flat(rng: Rng, time: Float64Array) -> Float64Array:
    """Nothing but noise."""
    return _level(rng, np.full(len(time), rng.uniform(0.2, 0.9)))


def daily(rng: Rng, time: Float64Array) -> Float64Array:
    """The cycle of the day."""
    height = rng.uniform(0.1, 0.5)
    wave = 0.5 * (1.0 + np.sin(2 * np.pi * (time / DAY + rng.uniform())))
    return _level(rng, rng.uniform(0.1, 0.9 - height) + height * wave)


def collected(rng: Rng, time: Float64Array) -> Float64Array:
    """A garbage collector's saw, with a period of a minute to hours."""
    low = rng.uniform(0.2, 0.6)
    high, period = rng.uniform(low + 0.1, 0.93), 10 ** rng.uniform(1.8, 4)
    return _level(rng, low + (high - low) * ((time / period + rng.uniform()) % 1.0))


def warming(rng: Rng, time: Float64Array) -> Float64Array:
    """A cache that fills once and stays."""
    low = rng.uniform(0.1, 0.4)
    high, slowly = rng.uniform(low + 0.1, 0.85), 10 ** rng.uniform(2, 4)
    since = np.clip(time - rng.uniform(0.1, 0.4) * time[-1], 0.0, None)
    return _level(rng, low + (high - low) * (1.0 - np.exp(-since / slowly)))


def rotated(rng: Rng, time: Float64Array) -> Float64Array:
    """Logs that are rotated every hour, quarter of a day or day."""
    period, height = rng.choice([3600.0, 21600.0, DAY]), rng.uniform(0.02, 0.25)
    saw = (time / period + rng.uniform()) % 1.0
    return _level(rng, rng.uniform(0.2, 0.6) + height * saw)


def deployed(rng: Rng, time: Float64Array) -> Float64Array:
    """Restarts every few hours, each with a warm-up."""
    low, period = rng.uniform(0.1, 0.4), rng.uniform(3.0, 16.0) * 3600.0
    high, slowly = rng.uniform(low + 0.1, 0.85), 10 ** rng.uniform(2.3, 3.8)
    since = (time + rng.uniform() * period) % period
    return _level(rng, low + (high - low) * (1.0 - np.exp(-since / slowly)))


def drifting(rng: Rng, time: Float64Array) -> Float64Array:
    """Wandering around a level."""
    memory = np.exp(-(time[1] - time[0]) / 10 ** rng.uniform(2.5, 4.5))
    wander = wandering(rng, len(time), float(memory), rng.uniform(0.01, 0.05))
    return _level(rng, rng.uniform(0.2, 0.7) + wander)


def stepping(rng: Rng, time: Float64Array) -> Float64Array:
    """A few jumps up and down."""
    share = np.full(len(time), rng.uniform(0.1, 0.5))
    for _ in range(rng.poisson(4)):
        share[rng.integers(0, len(time)) :] += rng.uniform(-0.08, 0.1)
    return _level(rng, np.minimum(share, 0.9))


def creeping(rng: Rng, time: Float64Array) -> Float64Array:
    """Some per cent a day: there is time."""
    return _level(rng, rng.uniform(0.1, 0.4) + rng.uniform(0.002, 0.03) * time / DAY)


FILLING: tuple[Shape, ...] = (
    steady, noisy, wavering, in_lumps, faster, erratic, leaking_saw, by_daylight, stairs, cleaned,
)  # fmt: skip
HARMLESS: tuple[Shape, ...] = (
    flat, daily, collected, warming, rotated, deployed, drifting, stepping, creeping,
)  # fmt: skip
