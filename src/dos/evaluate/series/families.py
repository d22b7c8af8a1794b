"""Clean synthetic series of the kinds that telemetry comes in, each with parameters of its own.

A family is a function of a generator, a number of points and the seconds between them. None has
anything of the labelled series of any benchmark in it.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate

import numpy as np

from dos.model.telemetry import Float64Array

Family = Callable[[np.random.Generator, int, float], Float64Array]
_DAY = 86_400.0


def daily(rng: np.random.Generator, count: int, step_s: float) -> Float64Array:
    """A gauge that follows day and week, with noise that remembers itself."""
    level = _decade(rng, -1, 4)
    season = _season(rng, count, step_s)
    noise = rng.uniform(0.01, 0.08) * _remembering(rng, count, rng.uniform(0.2, 0.9))
    trend = rng.uniform(-0.1, 0.2) * np.arange(count) * step_s / (7 * _DAY)
    return level * np.maximum(1.0 + season + trend + noise, 0.01)


def requests(rng: np.random.Generator, count: int, step_s: float) -> Float64Array:
    """Counts of a random process whose rate follows the day: noise grows with the root."""
    rate = _decade(rng, 0, 3)
    burst = np.exp(rng.uniform(0.02, 0.15) * _remembering(rng, count, 0.8))
    demand = np.maximum(1.0 + _season(rng, count, step_s), 0.02) * burst
    return rng.poisson(rate * demand).astype(np.float64)


def latency(rng: np.random.Generator, count: int, step_s: float) -> Float64Array:
    """Skewed, a little higher under load, with heavy tails."""
    level = _decade(rng, -3, 0.5)
    load = 0.3 * rng.random() * _season(rng, count, step_s)
    body = rng.uniform(0.03, 0.15) * _remembering(rng, count, rng.uniform(0.0, 0.7))
    tail = rng.uniform(0.01, 0.08) * rng.standard_t(3.0, count)
    return level * np.exp(load + body + np.clip(tail, -1.0, 1.0))


def errors(rng: np.random.Generator, count: int, step_s: float) -> Float64Array:
    """Mostly nothing, now and then a few."""
    del step_s
    rate = rng.uniform(0.005, 0.2) * np.exp(0.8 * _remembering(rng, count, 0.95))
    return rng.poisson(rate).astype(np.float64)


def switching(rng: np.random.Generator, count: int, step_s: float) -> Float64Array:
    """Telemetry of something that is on and off in turn, or in one of a few states."""
    del step_s
    states = np.round(rng.uniform(-1, 1, int(rng.integers(2, 5))), 2)
    dwell = rng.uniform(10, 120, len(states))
    jitter = rng.uniform(0.0, 0.15)
    values: list[Float64Array] = []
    length = place = 0
    while length < count:
        state = place % len(states)
        lasts = max(2, round(dwell[state] * (1.0 + jitter * rng.standard_normal())))
        values.append(np.full(lasts, states[state]))
        length, place = length + lasts, place + 1
    noise = rng.choice([0.0, 0.002, 0.02]) * rng.standard_normal(count)
    states_over_time: Float64Array = np.concatenate(values)[:count] + noise
    return states_over_time


def waveform(rng: np.random.Generator, count: int, step_s: float) -> Float64Array:
    """One pattern again and again: a machine's cycle."""
    del step_s
    period = rng.uniform(20, 300)
    drift = np.cumsum(rng.uniform(0.0, 0.003) * rng.standard_normal(count))
    phase = 2 * np.pi * (np.arange(count) / period + drift)
    values = np.zeros(count)
    for order in range(1, int(rng.integers(2, 8))):
        values += rng.standard_normal() / order * np.cos(order * phase + rng.uniform(0, 2 * np.pi))
    return values + rng.uniform(0.01, 0.15) * rng.standard_normal(count)


def sawtooth(rng: np.random.Generator, count: int, step_s: float) -> Float64Array:
    """Fills up and is emptied: memory and its collection, disk and its rotation, a queue."""
    del step_s
    fill = rng.uniform(20, 400)
    values: list[Float64Array] = []
    length, floor = 0, rng.uniform(0.1, 0.5)
    while length < count:
        lasts = max(4, round(fill * rng.uniform(0.8, 1.2)))
        top = rng.uniform(0.8, 1.0)
        values.append(floor + (top - floor) * np.linspace(0.0, 1.0, lasts))
        length += lasts
    noise = rng.uniform(0.002, 0.02) * rng.standard_normal(count)
    return _decade(rng, 0, 9) * np.maximum(np.concatenate(values)[:count] + noise, 0.0)


def regimes(rng: np.random.Generator, count: int, step_s: float) -> Float64Array:
    """Goes from one of a few usual levels to another: jobs, tenants, batch sizes."""
    del step_s
    levels = np.cumsum(rng.uniform(0.5, 2.0, int(rng.integers(2, 5))))
    stay = rng.uniform(40, 400)
    values: list[Float64Array] = []
    length = 0
    while length < count:
        lasts = max(5, round(float(rng.exponential(stay))))
        values.append(np.full(lasts, levels[rng.integers(len(levels))]))
        length += lasts
    level = np.concatenate(values)[:count]
    return level + rng.uniform(0.02, 0.1) * _remembering(rng, count, 0.3)


def wandering(rng: np.random.Generator, count: int, step_s: float) -> Float64Array:
    """Wanders about a middle to which it returns: a temperature, a cache's share of hits."""
    del step_s
    slow = _remembering(rng, count, rng.uniform(0.98, 0.999))
    noise = rng.uniform(0.02, 0.3) * rng.standard_normal(count)
    return rng.uniform(-50, 100) + _decade(rng, -1, 1) * (slow + noise)


def quantised(rng: np.random.Generator, count: int, step_s: float) -> Float64Array:
    """Whole numbers, few of them: percent, replicas, connections."""
    top = float(rng.integers(4, 100))
    share = 0.4 + 0.3 * _season(rng, count, step_s) + 0.04 * _remembering(rng, count, 0.9)
    return np.round(np.clip(share, 0.0, 1.0) * top)


def jobs(rng: np.random.Generator, count: int, step_s: float) -> Float64Array:
    """Idle, and busy for a while at regular times."""
    del step_s
    every, lasts = int(rng.integers(20, 200)), int(rng.integers(2, 12))
    place = (np.arange(count) + int(rng.integers(every))) % every
    height = rng.uniform(1.0, 10.0)
    busy = np.where(place < lasts, height * rng.uniform(0.85, 1.15, count), 0.0)
    return np.maximum(1.0 + busy + rng.uniform(0.02, 0.2) * rng.standard_normal(count), 0.0)


def growing(rng: np.random.Generator, count: int, step_s: float) -> Float64Array:
    """Grows by day, and is tidied up now and then: a disk, a table."""
    growth = np.maximum(1.0 + 0.8 * _season(rng, count, step_s), 0.0)
    size = np.cumsum(growth) / count + rng.uniform(0.5, 3.0)
    tidied = rng.choice(count, int(rng.integers(0, 8)), replace=False)
    size[:] -= np.cumsum(np.bincount(tidied, minlength=count)) * rng.uniform(0.02, 0.1)
    size += rng.uniform(0.0005, 0.003) * rng.standard_normal(count)
    return _decade(rng, 0, 10) * size


def bursts(rng: np.random.Generator, count: int, step_s: float) -> Float64Array:
    """Traffic of a network: products of many things, with a heavy tail."""
    season = 0.5 * _season(rng, count, step_s)
    slow = rng.uniform(0.1, 0.4) * _remembering(rng, count, rng.uniform(0.7, 0.97))
    fast = rng.uniform(0.05, 0.2) * rng.standard_normal(count)
    tail = np.where(rng.random(count) < 0.01, rng.pareto(3.0, count), 0.0)
    return _decade(rng, 2, 8) * np.exp(season + slow + fast) * (1.0 + np.minimum(tail, 3.0))


FAMILIES: dict[str, Family] = {
    family.__name__: family
    for family in (
        daily,
        requests,
        latency,
        errors,
        switching,
        waveform,
        sawtooth,
        regimes,
        wandering,
        quantised,
        jobs,
        growing,
        bursts,
    )
}


def _decade(rng: np.random.Generator, low: float, high: float) -> float:
    """A size between two powers of ten."""
    return float(10.0 ** rng.uniform(low, high))


def _season(rng: np.random.Generator, count: int, step_s: float) -> Float64Array:
    """Day and week, about -0.6 to 0.6: two harmonics of the day, calmer at weekends."""
    day = np.arange(count) * step_s / _DAY + rng.random()
    shape = rng.uniform(0.15, 0.45) * np.cos(2 * np.pi * (day - rng.random()))
    shape += rng.uniform(0.0, 0.15) * np.cos(4 * np.pi * (day - rng.random()))
    weekend = (day % 7.0) >= 5.0
    season: Float64Array = shape * np.where(weekend, rng.uniform(0.5, 1.0), 1.0)
    return season


def _remembering(rng: np.random.Generator, count: int, keep: float) -> Float64Array:
    """First-order autoregressive noise with variance 1."""
    draws = rng.standard_normal(count)
    draws[1:] *= np.sqrt(1.0 - keep * keep)
    return np.fromiter(accumulate(draws.tolist(), lambda a, b: keep * a + b), np.float64, count)
