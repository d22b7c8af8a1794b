"""The share of requests that took longer than some time, from percentiles of their latency.

Between two percentiles the latency is taken to be lognormal, as the time of requests that pass
through several stages roughly is: ln(latency) is a straight line over the standard normal quantile
of the level (a lognormal probability plot; Chambers et al., *Graphical Methods for Data Analysis*,
1983, ch. 6). Beyond the outer percentiles the outer lines go on. With one percentile alone
the spread is not known and `SPREAD` is assumed.

How far that can be trusted shows a second reading: one straight line through the outermost
percentiles (with one percentile alone, twice the spread). Where both agree the shape hardly
matters.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

from dos.model.telemetry import Float64Array

SPREAD = 0.7
"""σ of ln(latency) where only one percentile is known: p95 is then about three times p50."""
LEAST_SPREAD = 0.05
"""Percentiles closer together than this σ says were cut off or rounded."""
_NORMAL = NormalDist()


def share_above(
    levels: tuple[float, ...], latency: Float64Array, threshold: float, *, straight: bool = False
) -> Float64Array:
    """`[sample]` share of requests that took longer than `threshold`, 0 to 1.

    Args:
        levels: `[level]` percentiles that are known, between 0 and 1, ascending.
        latency: `[sample, level]` seconds; NaN where it is not known. Where a higher percentile
            is below a lower one, which noise brings about, it is raised to it.
        threshold: Seconds, more than 0.
        straight: The second reading: one line through the outermost percentiles.

    Returns:
        NaN where no percentile of the sample is known.
    """
    if not levels or not threshold > 0:
        return np.full(len(latency), np.nan)
    z = np.array([_NORMAL.inv_cdf(level) for level in levels])
    with np.errstate(invalid="ignore", divide="ignore"):
        # fmax keeps the missing ones out of the running maximum; they are left out below.
        raised = np.fmax.accumulate(np.log(latency), axis=1)
    above = np.full(len(latency), np.nan)
    known = ~np.isnan(latency)
    patterns, group = np.unique(known, axis=0, return_inverse=True)
    for number, pattern in enumerate(patterns):
        rows = np.flatnonzero(group.reshape(-1) == number)
        if pattern.any():
            lines = raised[rows][:, pattern]
            above[rows] = _above(z[pattern], lines, math.log(threshold), straight=straight)
    return above


def _above(
    z: Float64Array, logs: Float64Array, threshold: float, *, straight: bool
) -> Float64Array:
    """The same for samples whose percentiles are all known."""
    if len(z) == 1:
        spread = 2.0 * SPREAD if straight else SPREAD
        return _upper_tail(z[0] + (threshold - logs[:, 0]) / spread)
    if straight:
        z, logs = z[[0, -1]], logs[:, [0, -1]]
    slopes = np.maximum(np.diff(logs, axis=1) / np.diff(z), LEAST_SPREAD)
    # The piece that holds the threshold: as many as there are inner percentiles below it.
    piece = (logs[:, 1:-1] <= threshold).sum(axis=1)
    row = np.arange(len(logs))
    left = z[piece] + (threshold - logs[row, piece]) / slopes[row, piece]
    right = z[piece + 1] + (threshold - logs[row, piece + 1]) / slopes[row, piece]
    # Both are the same but where the slope was raised: then the nearer end says more.
    near_left = threshold - logs[row, piece] <= logs[row, piece + 1] - threshold
    return _upper_tail(np.where(near_left, left, right))


def _upper_tail(quantile: Float64Array) -> Float64Array:
    """`P(Z > quantile)` of a standard normal Z."""
    scaled = quantile / math.sqrt(2.0)
    return np.array([0.5 * math.erfc(one) for one in scaled.tolist()], np.float64)
