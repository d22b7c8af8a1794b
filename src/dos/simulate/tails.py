"""Heavy tails: what makes one request in a hundred slow, and one sample in a thousand odd.

Two things that measured systems have and smooth models do not. Requests *stall*: a container that
has used up its CPU quota waits for the end of the kernel's accounting period, a collection stops
the world, a connection is opened anew. It happens to few requests, costs tens of milliseconds
whatever they do, and adds up along the calls of a request (Dean, Barroso: The Tail at Scale,
CACM 56(2), 2013). And noise has *outliers*: cron jobs, flushes, kernel threads.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from dos.model.telemetry import Float64Array
from dos.simulate.queueing import normal_cdf

STALL_SECONDS = 0.1
"""A stall takes up to this long, uniformly: CFS bandwidth control has periods of 100 ms."""
RAREST, RANGE = 0.0015, 20.0
"""Least share of a service's own requests that stall, and the most as a multiple of it."""
LIGHT, HEAVY = 0.15, 0.2
"""h of Tukey's distribution: kurtosis 10 and 36."""
_FARTHEST = 12.0
"""Standard deviations at most: nothing measured is unbounded."""
_PARTS = (0.125, 0.375, 0.625, 0.875)
"""Midpoints at which the uniform length of a stall is evaluated."""


def heavy(normals: Float64Array, h: float = LIGHT) -> Float64Array:
    """Standard normal draws `z` stretched to `z exp(h z² / 2)`, at most `_FARTHEST`.

    Tukey's h-distribution (Hoaglin, in: Exploring Data Tables, Trends, and Shapes, 1985, chapter
    11, g = 0): the middle stays normal, the tails fall like a power of 1/h.
    """
    stretched: Float64Array = normals * np.exp(0.5 * h * normals * normals)
    return np.clip(stretched, -_FARTHEST, _FARTHEST)


def own_stalls(names: Sequence[str]) -> Float64Array:
    """`[service]` share of requests that stall in the service itself, drawn by its name.

    Log-uniform: most services stall rarely, a few are tight on their quota.
    """
    digests = (hashlib.blake2b(name.encode(), digest_size=8).digest() for name in names)
    chance = np.array([int.from_bytes(digest, "big") / 2.0**64 for digest in digests])
    share: Float64Array = RAREST * RANGE**chance
    return share


def stalled_quantile(p: Float64Array, share: Float64Array) -> Float64Array:
    """Seconds that stalls add to the quantile `p` when the slowest `share` of requests stalled."""
    beyond = np.clip((p - 1.0 + share) / np.maximum(share, 1e-12), 0.0, 1.0)
    return STALL_SECONDS * beyond


def latency_cdf(
    seconds: Float64Array, location: Float64Array, spread: Float64Array, stalls: Float64Array
) -> Float64Array:
    """`[service, second]` share of requests that are answered within `seconds`.

    Args:
        seconds: `[second]` positive.
        location: `[service]` μ of the lognormal of those that do not stall.
        spread: `[service]` its σ.
        stalls: `[service]` share that stalls.
    """
    plain = normal_cdf((np.log(seconds) - location[:, None]) / spread[:, None])
    late = np.zeros_like(plain)
    for part in _PARTS:
        left = np.maximum(seconds - part * STALL_SECONDS, 1e-9)
        late += normal_cdf((np.log(left) - location[:, None]) / spread[:, None])
    within: Float64Array = plain + stalls[:, None] * (late / len(_PARTS) - plain)
    return within


def draw_latencies(
    location: Float64Array,
    spread: Float64Array,
    stalls: Float64Array,
    rng: np.random.Generator,
) -> Float64Array:
    """Seconds of single requests, one for each element of the arrays, which broadcast."""
    body = np.exp(location + spread * rng.standard_normal(np.broadcast(location, stalls).shape))
    shape = body.shape
    late = STALL_SECONDS * rng.random(shape) * (rng.random(shape) < stalls)
    drawn: Float64Array = body + late
    return drawn
