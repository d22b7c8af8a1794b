"""How far, and since when, each series is from its own normal.

Everything here is per series and vectorised over `[time, series]`. Robust to heavy tails (median
and quantile ranges), to short histories (a series' scale is moderated by its peers') and to a
start that is only roughly known (each series gets its own change point).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dos.model.telemetry import BoolArray, Float64Array, Int64Array, Role, SeriesSpec
from dos.rca.case import Case

DRIFT = 2.0
"""Robust sigmas a sample must be off before it counts towards a change (CUSUM's allowance)."""
CLIP = 8.0
"""Robust sigmas beyond which a single sample says no more about *when* the change was."""
FARTHEST = 1e6
"""Robust sigmas beyond which it makes no difference any more."""
PEER_WEIGHT = 6.0
"""Baseline samples that the scale of the same metric elsewhere is worth."""
RELATIVE_FLOOR = {Role.AVAILABILITY: 0.005, Role.ERRORS: 0.05, Role.TRAFFIC: 0.10}
RELATIVE_FLOOR_ELSE = 0.05
"""Change relative to the median that nobody would call abnormal, one sigma of it, by role."""
ERROR_RATIO_FLOOR = 0.005
"""One sigma of a ratio of failed requests, at least: where hardly any ever fail, the first failed
request is infinitely many sigmas, and yet 0.5 % more failures explain nothing."""
OVER, OVER_SAMPLES = 60_000, 3
"""Time before the suspected start, ms, and samples: what was over by then, and has been as
usual since, is another matter: the earlier trouble of somebody else, or chance."""
USUAL_FLOOR = 0.4
"""For series around zero: the same share of this part of the metric's usual size elsewhere."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Measured:
    """Each series beside its own normal; all arrays are `[series]`."""

    center: Float64Array
    """Median of the baseline; NaN without one."""
    scale: Float64Array
    """Robust standard deviation, never below its floors."""
    deviation: Float64Array
    """Mean signed robust z-score over the abnormal stretch; 0 where there is none."""
    observed: Float64Array
    """Median over the abnormal stretch; NaN where there is none."""
    onset: Int64Array
    """Time of the first sample of the stretch, ms; the last time of the case where none."""
    samples: Int64Array
    """Length of the stretch."""


def measure(case: Case) -> Measured:
    """Measure every series of `case`; O(time × series × log time)."""
    baseline, suspect = case.windows()
    rows = suspect.any(axis=1)
    inside = np.where(suspect, case.values, np.nan)[rows]
    center, scale = normal(np.where(baseline, case.values, np.nan), case.series, inside)
    times = case.times[rows]
    before = int(np.searchsorted(times, case.start))
    over = min(int(np.searchsorted(times, case.start - OVER)), before - OVER_SAMPLES)
    early = _Early(before=before, over=max(over, 0))
    return _stretches(inside, times, center, scale, case.end, early)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Early:
    """Rows of the suspect window that are not about this trouble, if it is quiet after them."""

    before: int
    """Rows before the suspected start."""
    over: int
    """A stretch of them that ends before this one is another matter."""


def column_quantiles(values: Float64Array, *levels: float) -> tuple[Float64Array, ...]:
    """Quantiles of each column of `[time, series]`, NaN ignored; NaN where all are missing.

    One sort for all levels; an order of magnitude quicker than `nanquantile`.
    """
    count = np.sum(~np.isnan(values), axis=0)
    if values.shape[0] == 0:
        return tuple(np.full(values.shape[1], np.nan) for _ in levels)
    ordered = np.sort(values, axis=0)  # NaN last
    column = np.arange(values.shape[1])
    found = []
    for level in levels:
        position = level * np.maximum(count - 1, 0)
        low = np.floor(position).astype(np.intp)
        high = np.minimum(low + 1, np.maximum(count - 1, 0))
        part = position - low
        found.append(ordered[low, column] * (1 - part) + ordered[high, column] * part)
    return tuple(found)


def normal(
    baseline: Float64Array, series: tuple[SeriesSpec, ...], suspect: Float64Array
) -> tuple[Float64Array, Float64Array]:
    """Median and moderated robust scale of each column of `baseline` `[time, series]`.

    The squared scale is a weighted mean of the series' own and that of its metric elsewhere, in
    relative terms, as in the moderated t-statistic (Smyth 2004, eq. 3 with `PEER_WEIGHT` prior
    degrees of freedom): a flat stretch of three samples proves nothing.
    """
    center, low, high = column_quantiles(baseline, 0.5, 0.05, 0.95)
    (mad,) = column_quantiles(np.abs(baseline - center), 0.5)
    own = np.fmax(
        1.4826 * mad, (high - low) / 3.29
    )  # 3.29 sigmas between the 5 % and 95 % of a normal
    count = np.sum(~np.isnan(baseline), axis=0)
    size = np.fmax(np.abs(center), np.fmax(np.abs(low), np.abs(high)))
    own, size = np.nan_to_num(own), np.nan_to_num(size)
    relative_floor = np.array([RELATIVE_FLOOR.get(s.role, RELATIVE_FLOOR_ELSE) for s in series])
    scale = own.copy()
    with np.errstate(invalid="ignore", divide="ignore"):
        relative = np.where(size > 0, own / size, np.nan)
    for members in _by_metric(series):
        usual = float(np.median(size[members]))
        (peers,) = column_quantiles(relative[members][:, None], 0.5)
        prior = np.nan_to_num(peers[0]) * size[members]
        n = count[members]
        pooled = np.hypot(np.sqrt(n) * own[members], np.sqrt(PEER_WEIGHT) * prior)
        scale[members] = pooled / np.sqrt(n + PEER_WEIGHT)
        floor = relative_floor[members] * np.maximum(size[members], USUAL_FLOOR * usual)
        scale[members] = np.maximum(scale[members], floor)
    failures = [s.role is Role.ERRORS and s.unit == "ratio" for s in series]
    scale = np.maximum(scale, np.where(failures, ERROR_RATIO_FLOOR, 0.0))
    # A metric that was zero everywhere: measured against what it became.
    (became,) = column_quantiles(np.abs(suspect), 1.0)
    scale = np.where(scale > 0, scale, np.nan_to_num(became) / 10)
    return center, np.where(scale > 0, scale, 1.0)


def _by_metric(series: tuple[SeriesSpec, ...]) -> list[Int64Array]:
    groups: dict[str, list[int]] = {}
    for position, spec in enumerate(series):
        groups.setdefault(spec.metric, []).append(position)
    return [np.array(members) for members in groups.values()]


def _stretches(
    values: Float64Array,
    times: Int64Array,
    center: Float64Array,
    scale: Float64Array,
    end: int,
    early: _Early,
) -> Measured:
    """The most abnormal stretch of each series, upwards or downwards.

    The stretch maximises the sum of `direction · clip(z) - DRIFT`: the likelihood-ratio (CUSUM)
    estimate of when a mean moved by twice `DRIFT` and moved back (Page 1954).
    """
    steps, count = values.shape
    empty = Measured(
        center=center,
        scale=scale,
        deviation=np.zeros(count),
        observed=np.full(count, np.nan),
        onset=np.full(count, end, np.int64),
        samples=np.zeros(count, np.int64),
    )
    if steps == 0:
        return empty
    with np.errstate(over="ignore"):
        z = np.clip((values - center) / scale, -FARTHEST, FARTHEST)
    missing = np.isnan(z)
    up = _latest_stretch(z, missing, 1.0, early)
    down = _latest_stretch(z, missing, -1.0, early)
    take_down = down[2] > up[2]
    first = np.where(take_down, down[0], up[0])
    last = np.where(take_down, down[1], up[1])
    found = np.maximum(up[2], down[2]) > 0
    row = np.arange(steps)[:, None]
    inside = (row >= first) & (row <= last) & found & ~missing
    samples = inside.sum(axis=0)
    total = np.where(inside, np.nan_to_num(z), 0.0).sum(axis=0)
    (observed,) = column_quantiles(np.where(inside, values, np.nan), 0.5)
    return Measured(
        center=center,
        scale=scale,
        deviation=total / np.maximum(samples, 1),
        observed=observed,
        onset=np.where(found, times[first], end).astype(np.int64),
        samples=samples.astype(np.int64),
    )


def _latest_stretch(
    z: Float64Array, missing: BoolArray, direction: float, early: _Early
) -> tuple[Int64Array, Int64Array, Float64Array]:
    """The best stretch of each column, behind what was over before."""
    if early.over:
        _, last, total = _best_stretch(z[: early.before], missing[: early.before], direction)
        over = (last < early.over) & (total > 0)
        missing = missing | ((np.arange(len(z))[:, None] <= last) & over)
    return _best_stretch(z, missing, direction)


def _best_stretch(
    z: Float64Array, missing: BoolArray, direction: float
) -> tuple[Int64Array, Int64Array, Float64Array]:
    """First row, last row and sum of the maximal subarray of each column (Kadane, vectorised)."""
    gain = np.where(missing, 0.0, np.clip(direction * np.nan_to_num(z), -CLIP, CLIP) - DRIFT)
    total = np.cumsum(gain, axis=0)
    before = np.vstack([np.zeros((1, z.shape[1])), total[:-1]])
    lowest = np.minimum.accumulate(before, axis=0)
    best = total - lowest
    last = np.argmax(best, axis=0)
    column = np.arange(z.shape[1])
    row = np.arange(z.shape[0])[:, None]
    # The latest row at or before `last` where the running minimum was reached.
    reached = np.where((before <= lowest) & (row <= last), row, -1)
    first = np.max(reached, axis=0)
    return first, last, best[last, column]
