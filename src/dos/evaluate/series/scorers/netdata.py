"""k-means on short patterns, as Netdata does for each metric.

Written from its documentation (learn.netdata.cloud, "Machine Learning Anomaly Detection" and "ML
Configuration") with its default parameters. A sample becomes a vector: the last six of the series'
differences, averaged over three samples. Every 3 hours a model is trained on a fifth of the last 6
hours, drawn at random: two cluster centres, and the smallest and largest mean distance to them that
a training vector has. A sample's score under a model is its own mean distance on that scale, 1 at
the largest. The last 18 models are kept, 54 hours; only where *every* model gives at least 0.99 is
the sample's anomaly bit set, so the score here is the least of all models. Netdata cuts it at 1;
here it is not, which can only help its ranking.

The alarm is the one of its examples (`health.d/ml.conf`): more than 20 % of the bits of the last
five minutes set, until no more than 5 % are.

Netdata samples every second: on slower series its windows hold the same hours and fewer vectors.
"""

from __future__ import annotations

import numpy as np

from dos.evaluate.series.scorer import Scored
from dos.model.telemetry import BoolArray, Float64Array

_HOUR = 3_600.0
_LAGS = 6
"""Numbers of a vector: a sample and 5 lags."""
_SMOOTH = 3
_TRAINED_ON = 6 * _HOUR
_TRAIN_EVERY = 3 * _HOUR
_AT_LEAST = 900.0
"""Seconds of data without which no model is trained."""
_MODELS = 18
_SAMPLED = 0.2
_ITERATIONS = 1_000
_BIT = 0.99
_RATE_OVER = 300.0
_WARN, _CLEAR = 0.20, 0.05


class NetdataKMeans:
    """See the module's text.

    Args:
        step_s: Seconds between samples.
    """

    def __init__(self, step_s: float) -> None:
        self._step = step_s
        self._rng = np.random.default_rng(0)

    def fit(self, prefix: Float64Array) -> None:
        """Nothing beyond what scoring in order does: models come and go with time."""

    def score(self, values: Float64Array) -> Scored:
        """Train on schedule, and score what follows until the next training."""
        vectors = _vectors(values)
        score = np.zeros(len(values))
        models: list[_Model] = []
        every, window = self._points(_TRAIN_EVERY), self._points(_TRAINED_ON)
        for begin in range(0, len(values), every):
            model = self._train(vectors[max(0, begin - window) : begin])
            models = ([*models, model] if model else models)[-_MODELS:]
            part = vectors[begin : begin + every]
            if models:
                score[begin : begin + every] = np.min([one.score(part) for one in models], axis=0)
        # The first vectors lack some of their lags.
        score[: _LAGS + _SMOOTH] = 0.0
        return Scored(score=np.minimum(score, 1e6), alarm=self._alarm(score >= _BIT))

    def _train(self, vectors: Float64Array) -> _Model | None:
        vectors = vectors[np.isfinite(vectors).all(axis=1)]
        if len(vectors) < max(self._points(_AT_LEAST), _LAGS + _SMOOTH):
            return None
        chosen = vectors[self._rng.random(len(vectors)) < _SAMPLED]
        return _Model.of(chosen) if len(chosen) >= 2 else None

    def _alarm(self, bits: BoolArray) -> BoolArray:
        width = self._points(_RATE_OVER)
        total = np.concatenate([[0], np.cumsum(bits)])
        end = np.arange(1, len(bits) + 1)
        rate = (total[end] - total[np.maximum(end - width, 0)]) / width
        # On above the one, off at the other, as before between them.
        change = np.where(rate > _WARN, 1, np.where(rate <= _CLEAR, 0, -1))
        change[0] = max(change[0], 0)
        decided = np.maximum.accumulate(np.where(change >= 0, np.arange(len(bits)), 0))
        alarm: BoolArray = change[decided] == 1
        return alarm

    def _points(self, seconds: float) -> int:
        return max(1, round(seconds / self._step))


class _Model:
    """Two centres and the range of mean distances to them."""

    def __init__(self, centres: Float64Array, nearest: float, farthest: float) -> None:
        self._centres, self._nearest, self._farthest = centres, nearest, farthest

    @staticmethod
    def of(vectors: Float64Array) -> _Model:
        """Lloyd's algorithm from two points far from each other."""
        first = vectors[0]
        distance = np.linalg.norm(vectors - first, axis=1)
        # Not the very farthest, which may be an outlier: the one that 1 % are farther than.
        far = np.argsort(distance, kind="stable")[int(0.99 * (len(vectors) - 1))]
        centres = np.array([first, vectors[far]])
        assigned = np.full(len(vectors), -1)
        for _ in range(_ITERATIONS):
            now = np.argmin(_distances(vectors, centres), axis=1)
            if (now == assigned).all():
                break
            assigned = now
            for place in range(2):
                if (assigned == place).any():
                    centres[place] = vectors[assigned == place].mean(axis=0)
        mean = _distances(vectors, centres).mean(axis=1)
        return _Model(centres, float(mean.min()), float(mean.max()))

    def score(self, vectors: Float64Array) -> Float64Array:
        """`[vector]` mean distance on the scale of the training vectors."""
        if self._farthest == self._nearest:
            return np.zeros(len(vectors))
        mean = np.nan_to_num(_distances(vectors, self._centres).mean(axis=1), nan=0.0)
        score: Float64Array = np.abs((mean - self._nearest) / (self._farthest - self._nearest))
        return score


def _vectors(values: Float64Array) -> Float64Array:
    """`[n, lag]` the last differences, smoothed, at each point; NaN where there are too few."""
    smooth = np.full(len(values), np.nan)
    total = np.convolve(np.diff(values), np.ones(_SMOOTH), mode="valid") / _SMOOTH
    smooth[_SMOOTH:] = total
    vectors = np.full((len(values), _LAGS), np.nan)
    for lag in range(_LAGS):
        vectors[lag:, lag] = smooth[: len(values) - lag]
    return vectors


def _distances(vectors: Float64Array, centres: Float64Array) -> Float64Array:
    """`[vector, centre]` Euclidean."""
    distances: Float64Array = np.linalg.norm(vectors[:, None, :] - centres, axis=2)
    return distances
