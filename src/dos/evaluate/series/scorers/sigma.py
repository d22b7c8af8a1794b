"""The simplest rules: so many standard deviations from the mean; and chance."""

from __future__ import annotations

import zlib

import numpy as np

from dos.evaluate.series.scorer import Scored
from dos.model.telemetry import Float64Array

SIGMAS = 3.0
_ROUNDING = 1e-9
"""Deviations below this share of a series' size are rounding, not noise."""


class ThreeSigma:
    """Distance from the mean of all points before, in their standard deviations.

    Args:
        step_s: Of no meaning here.
    """

    def __init__(self, step_s: float) -> None:
        del step_s

    def fit(self, prefix: Float64Array) -> None:
        """Nothing beyond what scoring in order does."""

    def score(self, values: Float64Array) -> Scored:
        """z-score against the points before; alarm beyond three."""
        shift = values[0]  # sums of squares of large numbers would lose their digits
        centred = values - shift
        seen = np.arange(1, len(values))
        mean = np.cumsum(centred)[:-1] / seen
        square = np.cumsum(centred**2)[:-1] / seen
        sigma = np.sqrt(np.maximum(square - mean**2, 0.0))
        sigma = np.maximum(sigma, _ROUNDING * (np.abs(mean) + np.abs(shift)) + 1e-100)
        score = np.zeros(len(values))
        score[1:] = np.minimum(np.abs(centred[1:] - mean) / sigma, 1e6)
        score[:_LEARNED] = 0.0
        return Scored(score=score, alarm=score > SIGMAS)


class EwmaSigma:
    """Distance from an exponentially weighted mean, in weighted standard deviations.

    Roberts, *Control Chart Tests Based on Geometric Moving Averages*, Technometrics 1(3), 1959;
    the variance as in West, CACM 22(9), 1979, with constant weight. Half-life 60 points.

    Args:
        step_s: Of no meaning here.
    """

    def __init__(self, step_s: float) -> None:
        del step_s
        self._weight = 1.0 - 0.5 ** (1.0 / 60.0)

    def fit(self, prefix: Float64Array) -> None:
        """Nothing beyond what scoring in order does."""

    def score(self, values: Float64Array) -> Scored:
        """z-score against mean and deviation of the moment, before they learn the point."""
        mean, variance = float(values[0]), 0.0
        score = np.zeros(len(values))
        for place, value in enumerate(values.tolist()):
            away = value - mean
            sigma = variance**0.5 + _ROUNDING * abs(mean) + 1e-100
            score[place] = min(abs(away) / sigma, 1e6)
            weight = max(self._weight, 1.0 / (place + 1.0))
            mean += weight * away
            variance = (1.0 - weight) * (variance + weight * away * away)
        score[:_LEARNED] = 0.0
        return Scored(score=score, alarm=score > SIGMAS)


class Chance:
    """Uniform random numbers: what any method has to beat.

    Args:
        step_s: Of no meaning here.
    """

    def __init__(self, step_s: float) -> None:
        del step_s
        self._seed = 0

    def fit(self, prefix: Float64Array) -> None:
        """Draw other numbers for another series."""
        self._seed = zlib.crc32(prefix.tobytes())

    def score(self, values: Float64Array) -> Scored:
        """Alarm at one point in a thousand."""
        score = np.random.default_rng(self._seed).random(len(values))
        return Scored(score=score, alarm=score > 0.999)


_LEARNED = 30
"""Points of a series before it is judged."""
