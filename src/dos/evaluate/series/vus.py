"""Volume under the surface: the accuracy of anomaly scores whatever threshold is chosen.

Paparrizos, Boniol, Palpanas, Tsay, Elmore & Franklin, *Volume Under the Surface: A New Accuracy
Evaluation Measure for Time-Series Anomaly Detection*, PVLDB 15(11), 2022. A label does not end at
once: around each labelled stretch the label falls from 1 to sqrt(1/2) over half a window, and
then to 0, so that a score a little beside it counts a little less. For each window from 0 to the
series' main period a precision-recall and a ROC curve are computed on such labels, and VUS-PR and
VUS-ROC are the means of the areas under them.

The definition is that of TSB-AD 1.5 (Liu & Paparrizos, NeurIPS 2024; `RangeAUC_volume_opt` and
`find_length_rank`), rule by rule: figures are comparable with those published. The way is another
one: a threshold only matters by how many points and how much label lie above it, so each point is
sorted into its interval between two thresholds once, and for each window a histogram of the label
over the intervals is summed up. O(points + windows x (points near labels + thresholds)), a few
hundred times faster than comparing all scores with all thresholds for each window.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dos.model.telemetry import BoolArray, Float64Array, Int64Array

THRESHOLDS = 250
NO_PERIOD = 125
"""Window of a series in which no period is found."""
_LONGEST = 20_000
"""Points at the beginning of a series that its period is looked for in."""
_LAGS = 400
_FIRST_LAG = 3
_NOT_ABOVE = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Areas:
    """What a score is worth; all 0 to 1, None where nothing is labelled (or everything)."""

    vus_pr: float | None
    vus_roc: float | None
    auc_pr: float | None
    """Average precision: area under the curve of the labels as they are."""


def areas(labels: BoolArray, score: Float64Array, window: int) -> Areas:
    """All areas of a score.

    Args:
        labels: `[n]` whether a point is anomalous.
        score: `[n]` finite, larger where more anomalous.
        window: Longest window, points; see `main_period`.
    """
    if not labels.any() or labels.all():
        return Areas(vus_pr=None, vus_roc=None, auc_pr=None)
    roc, pr = volumes(labels, score, window)
    return Areas(vus_pr=pr, vus_roc=roc, auc_pr=average_precision(labels, score))


def main_period(values: Float64Array) -> int:
    """Points after which a series resembles itself most: the window of VUS.

    The lag of the highest local maximum of the autocorrelation, 3 to 400, over at most the first
    20,000 points; 125 where there is none, or where it is out of bounds. Evaluation only: it looks
    at the whole series, as TSB-AD does.

    Args:
        values: `[n]` finite.
    """
    values = values[:_LONGEST]
    correlation = autocorrelation(values, _LAGS)[_FIRST_LAG:]
    if len(correlation) < 3 or not np.isfinite(correlation).all():
        return NO_PERIOD
    middle = correlation[1:-1]
    peaks = np.flatnonzero((middle > correlation[:-2]) & (middle > correlation[2:])) + 1
    if not len(peaks):
        return NO_PERIOD
    best = int(peaks[np.argsort(correlation[peaks])[-1]])
    return best + _FIRST_LAG if _FIRST_LAG <= best <= _NOT_ABOVE else NO_PERIOD


def average_precision(labels: BoolArray, score: Float64Array) -> float:
    """Sum of precisions, each weighted with the recall it adds; equal scores are one step."""
    order = np.argsort(-score, kind="stable")
    hits = np.cumsum(labels[order])
    last = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)
    precision = hits[last] / (last + 1.0)
    recall = hits[last] / hits[-1]
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


def volumes(
    labels: BoolArray, score: Float64Array, window: int, thresholds: int = THRESHOLDS
) -> tuple[float, float]:
    """VUS-ROC and VUS-PR.

    Args:
        labels: `[n]` whether a point is anomalous; some are and some are not.
        score: `[n]` finite, larger where more anomalous.
        window: Longest window, points.
        thresholds: How many thresholds are taken, spread evenly over the ranks of the scores.
    """
    count = len(score)
    first, last = stretches(labels)
    places = np.linspace(0, count - 1, thresholds).astype(np.int64)
    # Point i is above threshold j for all j >= interval[i].
    interval = np.searchsorted(np.sort(-score)[places], -score, side="left")
    above = np.cumsum(np.bincount(interval, minlength=thresholds)).astype(np.float64)
    inside = np.cumsum(np.bincount(interval[labels], minlength=thresholds)).astype(np.float64)
    halo = _Halo.around(labels, first, last, window // 2)
    within = interval[halo.points]
    roc, pr = np.empty(window + 1), np.empty(window + 1)
    existence = np.zeros(thresholds)
    for width in range(window + 1):
        if width % 2 == 0:
            existence = _existence(interval, first, last, width // 2, thresholds)
        faded = np.bincount(within, weights=halo.label(width), minlength=thresholds)
        beside = np.cumsum(faded.astype(np.float64))
        roc[width], pr[width] = _under(inside, beside, above, existence, count)
    return float(roc.mean()), float(pr.mean())


def stretches(labels: BoolArray) -> tuple[Int64Array, Int64Array]:
    """First and last point of each stretch of true values."""
    edges = np.diff(labels.astype(np.int8), prepend=0, append=0)
    return np.flatnonzero(edges == 1), np.flatnonzero(edges == -1) - 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Halo:
    """The points beside labelled stretches, and how far from which stretches they are."""

    points: Int64Array
    """`[point]` places in the series."""
    point: Int64Array
    """`[pair]` position in `points`, for each pair of a point and a stretch near it."""
    distance: Int64Array
    """`[pair]` points to the nearer end of the stretch, ascending."""

    @staticmethod
    def around(labels: BoolArray, first: Int64Array, last: Int64Array, reach: int) -> _Halo:
        """All points that are at most `reach` from a stretch and not labelled themselves."""
        steps = np.arange(1, reach + 1)
        place = np.concatenate([(first - steps[:, None]).ravel(), (last + steps[:, None]).ravel()])
        distance = np.tile(np.repeat(steps, len(first)), 2)
        known = (place >= 0) & (place < len(labels))
        place, distance = place[known], distance[known]
        beside = ~labels[place]
        place, distance = place[beside], distance[beside]
        order = np.argsort(distance, kind="stable")
        points, point = np.unique(place[order], return_inverse=True)
        return _Halo(points=points, point=point, distance=distance[order])

    def label(self, width: int) -> Float64Array:
        """`[point]` labels for one window: those of all stretches that are near, at most 1."""
        pairs = int(np.searchsorted(self.distance, width // 2, side="right"))
        if not pairs:
            return np.zeros(len(self.points))
        weight = np.sqrt(1.0 - self.distance[:pairs] / width)
        label = np.bincount(self.point[:pairs], weights=weight, minlength=len(self.points))
        return np.minimum(label, 1.0)


def _existence(
    interval: Int64Array, first: Int64Array, last: Int64Array, reach: int, thresholds: int
) -> Float64Array:
    """`[threshold]` share of the widened stretches in which some score is above it.

    Stretches whose surroundings touch are one.
    """
    apart = last[:-1] + reach < first[1:] - reach
    begins = np.maximum(first[np.concatenate([[True], apart])] - reach, 0)
    ends = np.minimum(last[np.concatenate([apart, [True]])] + reach, len(interval) - 1) + 1
    # The padding makes an end behind the last point a valid one.
    bounds = np.column_stack([begins, ends]).ravel()
    padded = np.append(interval, thresholds)
    reached = np.minimum.reduceat(padded, bounds)[::2]
    found = np.cumsum(np.bincount(reached, minlength=thresholds))
    share: Float64Array = found / len(begins)
    return share


def _under(
    inside: Float64Array,
    beside: Float64Array,
    above: Float64Array,
    existence: Float64Array,
    count: int,
) -> tuple[float, float]:
    """Areas under ROC and precision-recall curve of one window.

    Args:
        inside: `[threshold]` labelled points above it.
        beside: `[threshold]` label of points beside them above it.
        above: `[threshold]` points above it.
        existence: `[threshold]` share of labelled stretches that were noticed.
        count: Points of the series.
    """
    hits = inside + beside
    # Half the way from all labels to those that were reached, so that recall is not unfairly low.
    labelled = inside[-1] + beside / 2.0
    recall = np.minimum(hits / labelled, 1.0) * existence
    alarms = (above - hits) / (count - labelled)
    precision = hits / above
    tpr = np.concatenate([[0.0], recall, [1.0]])
    fpr = np.concatenate([[0.0], alarms, [1.0]])
    roc = np.dot(np.diff(fpr), (tpr[1:] + tpr[:-1]) / 2.0)
    pr = np.dot(np.diff(recall, prepend=0.0), precision)
    return float(roc), float(pr)


def autocorrelation(values: Float64Array, lags: int) -> Float64Array:
    """`[lag]` autocorrelation from lag 0, biased estimator; empty for a constant series."""
    count = len(values)
    centred = values - values.mean()
    spectrum = np.fft.rfft(centred, 1 << (2 * count - 1).bit_length())
    covariance = np.fft.irfft(np.abs(spectrum) ** 2)[: min(lags + 1, count)]
    if not covariance[0] > 0:
        return np.empty(0)
    correlation: Float64Array = covariance / covariance[0]
    return correlation
