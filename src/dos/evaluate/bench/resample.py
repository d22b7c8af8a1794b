"""Estimates with 95 % intervals by the cluster bootstrap: whole flights are drawn, not faults.

Faults of one flight share a world, a seed and a learned baseline, so they do not count as
independent (Davison & Hinkley 1997, section 3.8; Field & Welsh 2007). A draw gives each flight a
weight, the number of times it was drawn; every statistic is computed from weighted sums, so that
all draws are one matrix product.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dos.model.telemetry import BoolArray, Float64Array, Int64Array

DRAWS = 2_000
ALPHA = 0.05
BINS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A figure with its 95 % interval."""

    value: float | None
    """None where there was nothing to compute it from."""
    low: float | None = None
    high: float | None = None
    """Percentile interval; None where one flight is all there is."""
    count: float = 0.0
    """What it rests on: the denominator of a ratio, the number of values of a quantile."""


class Flown:
    """The flights of one kind, and the draws from them.

    Args:
        count: How many flights there are.
        seed: Of the draws.
    """

    def __init__(self, count: int, seed: int = 0) -> None:
        self.count = count
        rng = np.random.default_rng(seed)
        equal = np.full(count, 1.0 / count) if count else np.empty(0)
        drawn = rng.multinomial(count, equal, size=DRAWS) if count else np.empty((DRAWS, 0))
        # The first row is what really happened: every flight once.
        self._weight: Float64Array = np.vstack([np.ones(count), drawn]).astype(np.float64)

    def sums(self, values: Float64Array) -> Float64Array:
        """`[1 + draw]` sums of `values` `[flight]`, or `[1 + draw, column]`; row 0 is the fact."""
        total: Float64Array = self._weight @ values
        return total

    def ratio(self, above: Float64Array, below: Float64Array) -> Estimate:
        """Sum of `above` `[flight]` over sum of `below`; both at least 0."""
        return self.estimate(_over(self.sums(above), self.sums(below)), float(below.sum()))

    def share(self, hits: Float64Array, of: Float64Array) -> Estimate:
        """The same where `hits` are some of `of`.

        Where all draws agree on 0 or 1, the interval is the exact binomial one (Clopper & Pearson
        1934): flights that agree say little about those that were not flown.
        """
        found, count = self.ratio(hits, of), float(of.sum())
        if found.value in {0.0, 1.0} and found.low == found.high is not None:
            reach = 1.0 - (ALPHA / 2) ** (1.0 / count)
            low, high = (0.0, reach) if found.value == 0.0 else (1.0 - reach, 1.0)
            return Estimate(value=found.value, low=low, high=high, count=count)
        return found

    def rate(self, events: Float64Array, exposure: Float64Array) -> Estimate:
        """Events per unit of exposure; of none at all, the exact Poisson bound (Garwood 1936)."""
        found, whole = self.ratio(events, exposure), float(exposure.sum())
        if found.value == 0.0:
            high = -math.log(ALPHA / 2) / whole
            return Estimate(value=0.0, low=0.0, high=high, count=whole)
        return found

    def f1(self, found: Float64Array, false: Float64Array, faults: Float64Array) -> Estimate:
        """Harmonic mean of precision and recall, from `[flight]` counts.

        Where all draws agree there is no interval: a width of zero would claim too much, and an
        exact one is not known for a mean of two ratios.
        """
        drawn = f1_of(*(self.sums(one) for one in (found, false, faults)))
        estimate = self.estimate(drawn, float(faults.sum()))
        if estimate.low == estimate.high:
            return Estimate(value=estimate.value, count=estimate.count)
        return estimate

    def quantile(self, values: Sequence[float], flight: Sequence[int], share: float) -> Estimate:
        """The least value that at least `share` of all values do not exceed.

        Args:
            values: Pooled over all flights.
            flight: `[value]` number of the flight it is of.
            share: 0.5 for the median.
        """
        if not values:
            return Estimate(value=None)
        pooled = np.array(values)
        order = np.argsort(pooled, kind="stable")
        weight = self._weight[:, np.array(flight)[order]]
        reached = np.cumsum(weight, axis=1)
        total = reached[:, -1:]
        place = np.argmax(reached >= share * total - 1e-9, axis=1)
        drawn = np.where(total[:, 0] > 0, pooled[order][place], np.nan)
        return self.estimate(drawn, len(values))

    def calibration(self, given: Float64Array, right: BoolArray, flight: Int64Array) -> Estimate:
        """Expected calibration error over `BINS` bins of equal width (Naeini et al. 2015).

        Args:
            given: `[claim]` probability, 0 to 1.
            right: `[claim]` whether it came true.
            flight: `[claim]` number of the flight.
        """
        if not len(given):
            return Estimate(value=None)
        place = bins_of(given)
        table = np.zeros((3, self.count, BINS))
        for row, values in enumerate((np.ones(len(given)), given, right.astype(np.float64))):
            np.add.at(table[row], (flight, place), values)
        count, said, was = (self.sums(part) for part in table)
        error = np.abs(said - was).sum(axis=1)
        return self.estimate(_over(error, count.sum(axis=1)), len(given))

    def estimate(self, drawn: Float64Array, count: float) -> Estimate:
        """From a statistic of the fact (first) and of all draws; NaN where it is undefined."""
        value = float(drawn[0])
        if math.isnan(value):
            return Estimate(value=None, count=count)
        known = drawn[1:][~np.isnan(drawn[1:])]
        if self.count < 2 or not len(known):
            return Estimate(value=value, count=count)
        low, high = np.quantile(known, [ALPHA / 2, 1 - ALPHA / 2])
        return Estimate(value=value, low=float(low), high=float(high), count=count)


def bins_of(given: Float64Array) -> Int64Array:
    """`[claim]` the bin of each probability."""
    return np.minimum((given * BINS).astype(np.int64), BINS - 1)


def f1_of(found: Float64Array, false: Float64Array, faults: Float64Array) -> Float64Array:
    """Harmonic mean of precision and recall from sums; NaN without faults."""
    return np.where(faults > 0, _over(2.0 * found, found + false + faults), np.nan)


def _over(above: Float64Array, below: Float64Array) -> Float64Array:
    out = np.full(above.shape, np.nan)
    np.divide(above, below, out=out, where=below > 0)
    return out
