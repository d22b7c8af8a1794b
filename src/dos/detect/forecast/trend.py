"""Robust trends towards a limit, with an interval for the time of exhaustion: compiled loops.

For one scale of one series (`scales.py`), from its lowest shares:

1. *Slope*: the median of the slopes between all pairs of points (Theil 1950; Sen 1968, JASA 63,
   1379-1389), which a third of wild points do not move. Its standard error is that of least
   squares over the asymptotic efficiency 0.91, with the robust spread of the residuals, widened
   by (1 + r) / (1 - r) for residuals that follow each other (r: their correlation at lag 1).
2. *Window*: the longest one, ending now, whose slope agrees with those of all shorter ones within
   two standard errors (intersection of confidence intervals: Goldenshluger and Nemirovski 1997,
   Math. Methods of Statistics 6, 135-170). A change of the trend is so cut off.
3. *Exhaustion*: when line + height of the saw (the median of highest - lowest of a bucket, less the
   rise within a bucket) reaches 1. The interval is that of Fieller (1954, JRSS B 16, 175-185) for
   the ratio (1 - level) / slope: it knows the error of the level, of the slope, and that the slope
   drifts, as much as the older half of the window says it did.
4. *Checks*, each a reason why there is no forecast: see `Verdict`.
"""

from __future__ import annotations

import math
from enum import IntEnum
from typing import NamedTuple

import numpy as np

from dos.detect.columns import Column, Columns
from dos.detect.forecast.scales import FINEST, PEAKS, POINTS, SCALES, STEP_RATIO, Past, faded
from dos.kit.compiled import compiled
from dos.model.telemetry import Float32Array, Float64Array, Int8Array, Int32Array

SIZES = (8, 12, 17, 24)
"""Lengths of windows that are tried."""
REACH = 4.0
"""A trend is believed for so many times the length of its window ahead."""
SIGNIFICANCE = 4.0
"""Least slope in standard errors."""
LEAST_RISE = 0.002
"""Least rise in the window, as a share of the limit."""
LEAST_SPREAD = 2e-5
"""Residuals are taken to scatter by so much at least, as a share of the limit."""
JUMP = 0.5
"""Share of the rise that one step between two points may have."""
EVEN = 0.1
"""A rise that slows down by less than this ratio does not slow down."""
LIKE = 0.5
"""An earlier ramp was of the same sort if it was so many times as fast."""
ENOUGH = 0.8
"""Weight of earlier ramps that makes another one usual: one of itself, or two with alarms."""
STALL = 0.25
"""A trend has ended when the finer scale shows less than this share of its slope."""
BLOCK = 3
"""Points of a piece whose slope is compared with that of its neighbours."""
TURNS = 0.5
"""How much of a change of the slope within a window counts for the time ahead."""
WOBBLE = 0.07
"""Standard deviation of a slope from one window to the next, as a ratio, where nothing shows it."""
NORMAL_MAD = 1.4826


class Verdict(IntEnum):
    """What a scale says."""

    TREND = 0
    """It leads to the limit."""
    TOO_FEW = 1
    """There are too few points, or the next scale has the same."""
    FLAT = 2
    """It does not grow, or not more than it scatters."""
    STEP = 3
    """Most of the rise is a single step."""
    LEVELS_OFF = 4
    """The rise slows down so much that it ends below the limit (Aitken's extrapolation)."""
    USUAL = 5
    """It has grown as fast and as high before and came down by itself."""
    TOO_FAR = 6
    """The limit is farther than the trend is believed for."""


LAYOUT = {
    "verdict": Column(dtype="|i1", initial=Verdict.TOO_FEW, width=SCALES),
    "steepest": Column(dtype="<f8", initial=float("inf"), width=SCALES),
    "slope": Column(dtype="<f8", width=SCALES),
    "level": Column(dtype="<f8", width=SCALES),
    "level_at": Column(dtype="<f8", width=SCALES),
    "slack": Column(dtype="<f4", width=SCALES),
    "span": Column(dtype="<f4", width=SCALES),
    "points": Column(dtype="|i1", width=SCALES),
    "end": Column(dtype="<f8", initial=float("inf"), width=SCALES),
    "early": Column(dtype="<f8", initial=float("inf"), width=SCALES),
    "late": Column(dtype="<f8", initial=float("inf"), width=SCALES),
}
"""Of each scale: the verdict; the greatest slope that is still likely (`steepest`); the line (share
per second, share at `level_at`); by how much a value may be below it before the trend is broken
(`slack`); the window in seconds and points; the time of exhaustion with its interval. Times are
seconds since the epoch."""


class Trends(NamedTuple):
    """The columns of `LAYOUT` as arrays `[row, scale]`, for compiled loops."""

    verdict: Int8Array
    steepest: Float64Array
    slope: Float64Array
    level: Float64Array
    level_at: Float64Array
    slack: Float32Array
    span: Float32Array
    points: Int8Array
    end: Float64Array
    early: Float64Array
    late: Float64Array


def trends_of(columns: Columns) -> Trends:
    """Views of the columns; valid until they grow."""
    return Trends._make(columns[name] for name in Trends._fields)


class _Points(NamedTuple):
    """Times before the newest point and lowest shares, newest first."""

    time: Float64Array
    share: Float64Array


class _Line(NamedTuple):
    """A line through a window; times count from its newest point."""

    slope: float
    level: float
    spread: float
    error: float
    """Standard error of the slope."""
    inflation: float
    """Of variances, because points follow each other."""
    centre: float
    """Mean time."""
    size: int


@compiled
def _median(values: Float64Array) -> float:
    """The median of at least one value; sorts them in place (Shell 1959)."""
    count = len(values)
    gap = count // 2
    while gap:
        for i in range(gap, count):
            value, at = values[i], i
            while at >= gap and values[at - gap] > value:
                values[at] = values[at - gap]
                at -= gap
            values[at] = value
        gap //= 2
    middle = count // 2
    return float(values[middle] if count % 2 else 0.5 * (values[middle - 1] + values[middle]))


@compiled
def _theil_sen(time: Float64Array, share: Float64Array, size: int) -> _Line:
    """The robust line through the newest `size` points (newest first)."""
    slopes = np.empty(size * (size - 1) // 2)
    found = 0
    for i in range(size):
        for j in range(i + 1, size):
            slopes[found] = (share[i] - share[j]) / (time[i] - time[j])
            found += 1
    slope = _median(slopes)
    rest = share[:size] - slope * time[:size]
    level = _median(rest.copy())
    rest -= level
    sizes = np.abs(rest)
    spread = NORMAL_MAD * _median(sizes)
    # Where most points lie on a line and some far above it, the median sees no scatter at all.
    most, mean = size - size // 8, 0.0
    for i in range(most):
        mean += sizes[i] / most
    spread = max(spread, 1.25 * mean) * math.sqrt(size / (size - 2.0))
    spread = max(spread, LEAST_SPREAD)
    own, next_to = 0.0, 0.0
    for i in range(size):
        bounded = min(max(rest[i], -3.0 * spread), 3.0 * spread)
        own += bounded * bounded
        if i:
            before = min(max(rest[i - 1], -3.0 * spread), 3.0 * spread)
            next_to += bounded * before
    # In so short a window the estimate is too low by about 1 / size.
    alike = next_to / own + 1.0 / size if own > 0.0 else 0.0
    alike = min(max(alike, 0.0), 0.8)
    inflation = (1.0 + alike) / (1.0 - alike)
    centre, width = 0.0, 0.0
    for i in range(size):
        centre += time[i] / size
    for i in range(size):
        width += (time[i] - centre) ** 2
    error = spread * math.sqrt(inflation / (0.91 * width))
    return _Line(slope, level, spread, error, inflation, centre, size)


@compiled
def _longest(time: Float64Array, share: Float64Array, count: int) -> _Line:
    """The line through the longest window that agrees with all shorter ones."""
    best = _theil_sen(time, share, SIZES[0])
    least, most = best.slope - 2.0 * best.error, best.slope + 2.0 * best.error
    for size in SIZES[1:]:
        if size > count:
            break
        line = _theil_sen(time, share, size)
        least = max(least, line.slope - 2.0 * line.error)
        most = min(most, line.slope + 2.0 * line.error)
        if least > most or line.spread > 3.0 * best.spread + 10.0 * LEAST_SPREAD:
            break
        best = line
    return best


@compiled
def _rough(share: Float64Array, size: int) -> tuple[float, float]:
    """About how much the newest `size` points rise, and the standard error of that."""
    half, new, old, moves = size // 2, 0.0, 0.0, 0.0
    for i in range(half):
        new += share[i] / half
        old += share[size - 1 - i] / half
    for i in range(size - 1):
        moves += abs(share[i] - share[i + 1]) / (size - 1)
    # Of white noise the mean step is 1.13 sigma; a rise is twice the difference of the halves.
    return 2.0 * (new - old), 2.0 * moves / 1.13 * math.sqrt(2.0 / half)


@compiled
def _jumps(share: Float64Array, size: int) -> bool:
    """Whether one step makes most of the rise; it lasts for two points, or it is an outlier."""
    most = 0.0
    for i in range(1, size - 2):
        after, before = min(share[i - 1], share[i]), max(share[i + 1], share[i + 2])
        most = max(most, after - before)
    return bool(most > JUMP * (share[0] - share[size - 1]))


@compiled
def _asymptote(time: Float64Array, share: Float64Array, count: int, line: _Line) -> float:
    """Where a slowing rise ends (Aitken's delta-squared over thirds); infinite if it is none."""
    lowest = 0
    for i in range(count):
        if share[i] < share[lowest]:
            lowest = i
    third = (lowest + 1) // 3  # of the ramp, not of what lies before its foot
    if third < 2:
        return math.inf
    level, at = np.empty(3), np.empty(3)
    for part in range(3):
        level[part] = _median(share[part * third : (part + 1) * third].copy())
        at[part] = _median(time[part * third : (part + 1) * third].copy())
    pace = 0.5 * (at[0] - at[2])
    late = (level[0] - level[1]) / (at[0] - at[1]) * pace
    early = (level[1] - level[2]) / (at[1] - at[2]) * pace
    # The middle is in both differences: 1 + 4 + 1 variances of a median of a third.
    error = line.spread * math.sqrt(6.0 * 1.57 * line.inflation / third)
    if early - late <= 2.0 * error + EVEN * early:
        return math.inf
    return float(level[0] + max(late, 0.0) ** 2 / (early - late))


@compiled
def _comfort(row: int, scale: int, past: Past, share: float, slope: float) -> bool:
    """Whether earlier ramps were as fast, went that high, and ended by themselves."""
    rise = past.top[row, scale] - past.foot[row, scale]
    margin = max(0.01, 0.1 * rise)
    weight = 0.0
    for at in range(scale * PEAKS, (scale + 1) * PEAKS):
        fast = past.peak_speed[row, at] >= LIKE * slope
        if fast and share <= past.peak[row, at] + margin:  # false for NaN
            age = past.open_time[row, scale] - past.peak_time[row, at]
            weight += faded(past.peak_weight[row, at], age)
    return weight >= ENOUGH


@compiled
def _saw(row: int, scale: int, past: Past, order: Int32Array, line: _Line, width: float) -> float:
    """Height of the saw above its lowest points, as a share of the limit."""
    heights = np.empty(line.size)
    for i in range(line.size):
        heights[i] = past.high[row, order[i]] - past.low[row, order[i]]
    within = line.slope * max(0.0, width - past.usual[row])
    return float(max(0.0, _median(heights) - max(0.0, within)))


@compiled
def _drift(time: Float64Array, share: Float64Array, line: _Line, ahead: float) -> float:
    """Variance of the mean slope of the `ahead` seconds to come, beyond the line's own error.

    What grows in lumps goes on in lumps: the slopes between neighbouring pieces scatter, and of
    such pieces both the window and the time ahead consist. And what changed from the
    older half of the window to the newer one may change again.
    """
    blocks = line.size // BLOCK
    length, scatter = 0.0, 0.0
    for k in range(blocks - 1):
        lasted, grown = 0.0, 0.0
        for i in range(k * BLOCK, (k + 1) * BLOCK):
            lasted += (time[i] - time[i + BLOCK]) / BLOCK
            grown += (share[i] - share[i + BLOCK]) / BLOCK
        length += lasted / (blocks - 1)
        scatter += (grown / lasted - line.slope) ** 2 / (blocks - 1)
    span = -time[line.size - 1]
    lumps = scatter * length * (1.0 / max(ahead, length) + 1.0 / span)
    half = line.size // 2
    newer = _theil_sen(time, share, half)
    older = _theil_sen(time[line.size - half :], share[line.size - half :], half)
    change = newer.slope - older.slope
    by_chance = newer.error**2 + older.error**2
    turns = TURNS * max(0.0, change * change - by_chance)
    return float(lumps + turns + (WOBBLE * line.slope) ** 2)


@compiled
def _cross(line: _Line, room: float, drift: float, z: float) -> tuple[float, float, float]:
    """When `line` has risen by `room` above its level at the newest point, with an interval.

    Returns:
        Likeliest, earliest and latest, seconds after the newest point; the last may be infinite.
    """
    ahead = room - line.slope * line.centre  # from the centre, where level and slope are unrelated
    slope, variance = line.slope, line.error**2 + drift
    level = line.spread**2 * (1.0 + 1.57 * line.inflation / line.size)
    free = ahead * ahead - z * z * level
    bound = slope * slope - z * z * variance
    root = math.sqrt(max(0.0, (slope * ahead) ** 2 - bound * free))
    likely = ahead / slope
    early = free / (slope * ahead + root)
    late = (slope * ahead + root) / bound if bound > 0.0 else math.inf
    return likely + line.centre, early + line.centre, late + line.centre


@compiled
def _doubt(row: int, scale: int, past: Past, line: _Line, points: _Points, saw: float) -> int:
    """Why a significant rise leads to no limit, or `TREND` if it does."""
    share = points.share
    if _jumps(share, line.size):
        return Verdict.STEP.value
    if _asymptote(points.time, share, len(share), line) + saw < 1.0:
        return Verdict.LEVELS_OFF.value
    if _comfort(row, scale, past, min(line.level, share[0]), line.slope):
        return Verdict.USUAL.value
    return Verdict.TREND.value


@compiled
def _judge(row: int, scale: int, past: Past, trends: Trends, z: float) -> int:
    """Look at one scale of one row; the verdict, with the trend written down if there is one."""
    count = past.kept[row, scale]
    width = FINEST / 1000.0 * STEP_RATIO**scale
    same = scale + 1 < SCALES and STEP_RATIO * width <= past.usual[row]
    trends.steepest[row, scale] = math.inf
    if count < SIZES[0] or same:
        return Verdict.TOO_FEW.value
    order = np.empty(count, np.int32)
    time, share = np.empty(count), np.empty(count)
    newest = (past.head[row, scale] - 1) % POINTS
    for i in range(count):
        at = scale * POINTS + (newest - i) % POINTS
        order[i] = at
        time[i] = past.time[row, at] - past.time[row, scale * POINTS + newest]
        share[i] = past.low[row, at]
    # Most series are flat most of the time: they are not worth the pairs of points.
    whole, noise = _rough(share, count)
    latest, _ = _rough(share, SIZES[0])
    trends.steepest[row, scale] = (whole + 3.0 * noise) / -time[count - 1]
    if max(whole, latest) < LEAST_RISE:
        return Verdict.FLAT.value
    if 1.5 * REACH * max(whole, latest) < 1.0 - past.high[row, order[0]]:
        return Verdict.TOO_FAR.value
    line = _longest(time, share, count)
    trends.steepest[row, scale] = line.slope + 2.0 * line.error
    span = -time[line.size - 1]
    if line.slope * span < LEAST_RISE or line.slope < SIGNIFICANCE * line.error:
        return Verdict.FLAT.value
    saw = _saw(row, scale, past, order, line, width)
    doubt = _doubt(row, scale, past, line, _Points(time, share), saw)
    if doubt != Verdict.TREND.value:
        return doubt
    room = 1.0 - saw - line.level
    drift = _drift(time, share, line, room / line.slope)
    likely, early, late = _cross(line, room, drift, z)
    begin = past.time[row, order[0]]
    # One that grew all its life may just be starting up.
    life = begin - past.born[row] / 1000.0
    if likely > min(max(life / span, 1.0), REACH) * span:
        return Verdict.TOO_FAR.value
    trends.slope[row, scale] = line.slope
    trends.level[row, scale] = line.level
    trends.level_at[row, scale] = begin
    trends.slack[row, scale] = max(4.0 * line.spread, 0.25 * line.slope * span)
    trends.span[row, scale] = span
    trends.points[row, scale] = line.size
    trends.end[row, scale] = begin + likely
    trends.early[row, scale] = begin + early
    trends.late[row, scale] = begin + late
    return Verdict.TREND.value


@compiled
def judge(past: Past, trends: Trends, z: float) -> None:
    """Look anew at every scale that has a new point.

    Cost: 10 ns a row where nothing is new, 0.5 us a scale that does not grow, else some 50 us.

    Args:
        past: What was seen; its marks of what is new are taken away.
        trends: Where the result goes.
        z: Standard normal quantile of the upper end of the interval.
    """
    for row in range(len(past.fresh)):
        marks = past.fresh[row]
        if marks == 0:
            continue
        past.fresh[row] = 0
        for scale in range(SCALES):
            if marks & (1 << scale):
                trends.verdict[row, scale] = _judge(row, scale, past, trends, z)
