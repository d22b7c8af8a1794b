"""The adaptive rules of grafana/promql-anomaly-detection, on one series.

Written from its recording rules (`rules/adaptive.yml`): bands around the average of the last hour,
as wide as the widest of three rules of width allows.

* short term: 2 x the standard deviation over an hour, taken only where it exceeds half the
  average (the rules' high-pass filter), and averaged over 26 hours;
* margin: half the average;
* long term: the average of the hour around this time yesterday and a week ago, give or take 2 of
  its standard deviations.

A sample of 0 or less is not selected by the rules, and so neither judged nor learned. The alert
fires when the series has been outside its band for five minutes. The score is the distance from
the middle of the band over the half width on that side: 1 at the band's edge.
"""

from __future__ import annotations

import numpy as np

from dos.evaluate.series.scorer import Scored
from dos.model.telemetry import BoolArray, Float64Array, Int64Array

_HOUR = 3_600.0
_MULTIPLIER = 2.0
_MARGIN = 0.5
_VARIABLE = 0.5
"""Share of the average that a standard deviation has to exceed to count."""
_SMOOTH = 26 * _HOUR
_LOOK_BACK = (23.5 * _HOUR, 167.5 * _HOUR)
_PATIENCE = 300.0


class PromqlAdaptive:
    """See the module's text.

    Args:
        step_s: Seconds between samples; the rules are evaluated at each.
    """

    def __init__(self, step_s: float) -> None:
        self._step = step_s

    def fit(self, prefix: Float64Array) -> None:
        """The rules have no other memory than their windows."""

    def score(self, values: Float64Array) -> Scored:
        """Bands at each point, and where it lies in them."""
        selected = values > 0
        level = np.where(selected, values, np.nan)
        average, deviation = _windows(level, self._points(_HOUR))
        # Evaluated only where there is a sample.
        average = np.where(selected, average, np.nan)
        variable = np.where(deviation > _VARIABLE * average, deviation, np.nan)
        smooth, _ = _windows(variable, self._points(_SMOOTH))
        upper = average + np.fmax(_MULTIPLIER * smooth, _MARGIN * average)
        lower = average - np.fmax(_MULTIPLIER * smooth, _MARGIN * average)
        for back in _LOOK_BACK:
            away = round(back / self._step)
            hour, spread = _windows(level, self._points(_HOUR))
            upper = np.fmax(upper, _delayed(hour + _MULTIPLIER * spread, away))
            lower = np.fmin(lower, _delayed(hour - _MULTIPLIER * spread, away))
        lower = np.maximum(lower, 0.0)
        middle = (upper + lower) / 2.0
        half = np.maximum((upper - lower) / 2.0, 1e-100)
        score = np.minimum(np.abs(level - middle) / half, 1e6)
        score = np.nan_to_num(score, nan=0.0)
        outside = (level > upper) | (level < lower)
        return Scored(score=score, alarm=_lasting(outside, round(_PATIENCE / self._step)))

    def _points(self, seconds: float) -> int:
        """Samples in a window of that length."""
        return max(1, round(seconds / self._step))


def _windows(values: Float64Array, width: int) -> tuple[Float64Array, Float64Array]:
    """Mean and standard deviation of the last `width` points, NaN left out; NaN of none."""
    known = np.isfinite(values)
    shift = float(values[known][0]) if known.any() else 0.0
    centred = np.where(known, values - shift, 0.0)
    count = _rolling(known.astype(np.float64), width)
    some = count > 0
    safe = np.maximum(count, 1.0)
    mean = _rolling(centred, width) / safe
    variance = np.maximum(_rolling(centred**2, width) / safe - mean**2, 0.0)
    return (
        np.where(some, mean + shift, np.nan),
        np.where(some, np.sqrt(variance), np.nan),
    )


def _rolling(values: Float64Array, width: int) -> Float64Array:
    """Sum of the last `width` points, fewer at the beginning."""
    total = np.concatenate([np.zeros(1), np.cumsum(values)])
    end: Int64Array = np.arange(1, len(values) + 1)
    summed: Float64Array = total[end] - total[np.maximum(end - width, 0)]
    return summed


def _delayed(values: Float64Array, points: int) -> Float64Array:
    """What the values were so many points ago; NaN before there were any."""
    points = min(points, len(values))
    return np.concatenate([np.full(points, np.nan), values[: len(values) - points]])


def _lasting(on: BoolArray, points: int) -> BoolArray:
    """Where `on` has been true for more than `points` points in a row."""
    place = np.arange(len(on))
    last_off = np.maximum.accumulate(np.where(on, -1, place))
    lasting: BoolArray = on & (place - last_off > points)
    return lasting
