"""The past of a series at six time scales: compiled loops that take samples in.

Every scale keeps the lowest and the highest share of the last `POINTS` buckets that held samples;
buckets are 5 s wide at the finest scale and 4 times as wide at each further one (85 min at the
coarsest, so 34 hours in all). The lowest share of a bucket is what is left after garbage was
collected or logs were rotated, if that happens more often than once in a bucket: a leak shows in
it, the saw does not. Time is that of the samples, so a block of history and single ticks leave the
same bytes.

*Ramps* are told apart at every scale: a ramp lasts from its foot until half of its rise is lost
again. Where a ramp ends by itself, the buckets before are forgotten (a trend does not reach over a
clean-up), and its peak and its speed are remembered for some weeks: another ramp as fast and as
high is nothing new. A daily cycle, a garbage collector's saw, the rotation of logs and the warming
of caches after each deployment are learned in this way.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dos.detect.columns import Column, Columns
from dos.detect.forecast.subjects import Mode
from dos.kit.compiled import compiled
from dos.model.telemetry import (
    BoolArray,
    Float32Array,
    Float64Array,
    Int8Array,
    Int32Array,
    Int64Array,
)

SCALES = 6
POINTS = 24
"""Buckets kept of each scale."""
PEAKS = 4
"""Peaks of past ramps kept of each scale."""
FINEST = 5_000
"""Width of a bucket of the finest scale, ms."""
STEP_RATIO = 4
LEAST_FALL = 0.02
"""A smaller fall, as a share of the limit, ends no ramp."""
HALF_LIFE = 7 * 86_400.0
"""Seconds in which what is known of a ramp loses half of its weight."""
MOST_WEIGHT = 4.0
DANGER, EXHAUSTED = 0.9, 0.97
"""A ramp that turned above the first tells half as much, above the second nothing: there somebody
cleaned up, or it fell over."""
SPEED_POINTS = 6
"""Points over which the speed of a ramp is taken."""
SETBACK = 3_600_000
"""A series whose time is set back by more than this (ms) starts anew."""
FREE, COUNTDOWN, DEADLINE = Mode.FREE.value, Mode.COUNTDOWN.value, Mode.DEADLINE.value
LEAST_DATE = 1e9
"""Seconds since the epoch; a smaller `DEADLINE` (32 years, as a duration) counts down."""
LATEST = 1e11
"""Seconds since the epoch (the year 5138) beyond which no end is told apart."""
_NONE = -(2**62)

LAYOUT = {
    "mode": Column(dtype="|i1"),
    "scale": Column(dtype="<f8", initial=1.0),
    "born": Column(dtype="<i8", initial=_NONE),
    "newest": Column(dtype="<i8", initial=_NONE),
    "usual": Column(dtype="<f4", initial=float("nan")),
    "value": Column(dtype="<f8", initial=float("nan")),
    "limit": Column(dtype="<f8", initial=float("nan")),
    "used": Column(dtype="<f8", initial=float("nan")),
    "fresh": Column(dtype="<i4"),
    "alarmed": Column(dtype="|b1", initial=False),
    "open": Column(dtype="<i8", initial=_NONE, width=SCALES),
    "open_time": Column(dtype="<f8", width=SCALES),
    "open_low": Column(dtype="<f4", width=SCALES),
    "open_high": Column(dtype="<f4", width=SCALES),
    "time": Column(dtype="<f8", width=SCALES * POINTS),
    "low": Column(dtype="<f4", width=SCALES * POINTS),
    "high": Column(dtype="<f4", width=SCALES * POINTS),
    "head": Column(dtype="<i4", width=SCALES),
    "kept": Column(dtype="<i4", width=SCALES),
    "foot": Column(dtype="<f4", initial=float("nan"), width=SCALES),
    "top": Column(dtype="<f4", initial=float("nan"), width=SCALES),
    "speed": Column(dtype="<f4", width=SCALES),
    "peak": Column(dtype="<f4", initial=float("nan"), width=SCALES * PEAKS),
    "peak_speed": Column(dtype="<f4", width=SCALES * PEAKS),
    "peak_weight": Column(dtype="<f4", width=SCALES * PEAKS),
    "peak_time": Column(dtype="<f8", width=SCALES * PEAKS),
    "rang": Column(dtype="|b1", initial=False, width=SCALES),
}
"""`mode` and `scale` of the subject; `born`: time of the first sample, ms; `newest` (ms), `usual`
(seconds between samples), the newest value, limit and share; `fresh`: bit `s` is set when a bucket
of scale `s` was closed; `alarmed`: whether an alarm is on. Of each scale: the bucket that is
`open`, the ring of closed ones (`time` of the lowest sample in seconds), the ramp (`foot`, `top`,
greatest `speed` per second, whether an alarm `rang` in it) and those before, with their weight."""


class Past(NamedTuple):
    """The columns of `LAYOUT` as arrays, `[row]` or `[row, scale …]`, for compiled loops."""

    mode: Int8Array
    scale: Float64Array
    born: Int64Array
    newest: Int64Array
    usual: Float32Array
    value: Float64Array
    limit: Float64Array
    used: Float64Array
    fresh: Int32Array
    alarmed: BoolArray
    open: Int64Array
    open_time: Float64Array
    open_low: Float32Array
    open_high: Float32Array
    time: Float64Array
    low: Float32Array
    high: Float32Array
    head: Int32Array
    kept: Int32Array
    foot: Float32Array
    top: Float32Array
    speed: Float32Array
    peak: Float32Array
    peak_speed: Float32Array
    peak_weight: Float32Array
    peak_time: Float64Array
    rang: BoolArray


def past_of(columns: Columns) -> Past:
    """Views of the columns; valid until they grow."""
    return Past._make(columns[name] for name in Past._fields)


@compiled
def faded(weight: float, age: float) -> float:
    """What is left of a weight after `age` seconds."""
    return float(weight * 2.0 ** (-max(age, 0.0) / HALF_LIFE))


@compiled
def _remember(row: int, scale: int, past: Past) -> None:
    """Keep peak and speed of a ramp that is over; one of its like is found and strengthened."""
    peak, speed = past.top[row, scale], past.speed[row, scale]
    now = past.open_time[row, scale]
    # Somebody may have ended it because of the alarm: half a proof that it ends by itself.
    weight = 0.5 if past.rang[row, scale] else 1.0
    weight *= 0.5 if peak > DANGER else 1.0
    past.rang[row, scale] = False
    if peak > EXHAUSTED:
        return
    chosen, least = scale * PEAKS, np.inf
    for at in range(scale * PEAKS, (scale + 1) * PEAKS):
        kept = past.peak[row, at]
        left = (
            0.0
            if np.isnan(kept)
            else faded(past.peak_weight[row, at], now - past.peak_time[row, at])
        )
        higher, faster = peak >= kept, speed >= past.peak_speed[row, at]
        alike = peak <= kept + LEAST_FALL and speed <= 1.5 * past.peak_speed[row, at]
        if (higher and faster) or alike:
            chosen = at
            weight = min(weight + left, MOST_WEIGHT)
            peak, speed = max(peak, kept), max(speed, past.peak_speed[row, at])
            break
        if left < least:
            chosen, least = at, left
    past.peak[row, chosen] = peak
    past.peak_speed[row, chosen] = speed
    past.peak_weight[row, chosen] = weight
    past.peak_time[row, chosen] = now


@compiled
def _begin(row: int, scale: int, past: Past, value: float) -> None:
    """A ramp begins."""
    past.foot[row, scale] = value
    past.top[row, scale] = value
    past.speed[row, scale] = 0.0


@compiled
def _follow(row: int, scale: int, past: Past, value: float) -> None:
    """Go on with the ramp of a scale, or begin a new one.

    Of two buckets in a row the lower one says how high it is and the higher one how low: a single
    odd sample neither makes a peak nor ends a ramp.
    """
    if np.isnan(past.foot[row, scale]):
        _begin(row, scale, past, value)
    high, low = value, value
    if past.kept[row, scale]:
        before = past.low[row, scale * POINTS + (past.head[row, scale] - 1) % POINTS]
        high, low = min(value, before), max(value, before)
    fall = past.top[row, scale] - low
    rise = past.top[row, scale] - past.foot[row, scale]
    if fall > LEAST_FALL and fall > 0.5 * rise:
        if rise > LEAST_FALL:
            _remember(row, scale, past)
        past.kept[row, scale] = min(past.kept[row, scale], 1)
        _begin(row, scale, past, low)
    elif low < past.foot[row, scale]:
        _begin(row, scale, past, low)
    elif high > past.top[row, scale]:
        past.top[row, scale] = high
        if past.kept[row, scale] >= SPEED_POINTS:
            then = (past.head[row, scale] - SPEED_POINTS) % POINTS + scale * POINTS
            lasted = past.open_time[row, scale] - past.time[row, then]
            grown = high - max(past.low[row, then], past.foot[row, scale])
            past.speed[row, scale] = max(past.speed[row, scale], grown / lasted)


@compiled
def _close(row: int, scale: int, past: Past) -> None:
    """The open bucket of a scale is over: put it into the ring."""
    if past.alarmed[row]:
        past.rang[row, scale] = True
    _follow(row, scale, past, past.open_low[row, scale])
    at = scale * POINTS + past.head[row, scale]
    past.time[row, at] = past.open_time[row, scale]
    past.low[row, at] = past.open_low[row, scale]
    past.high[row, at] = past.open_high[row, scale]
    past.head[row, scale] = (past.head[row, scale] + 1) % POINTS
    past.kept[row, scale] = min(past.kept[row, scale] + 1, POINTS)
    past.fresh[row] |= 1 << scale


@compiled
def _forget(row: int, past: Past) -> None:
    """Start a row anew."""
    past.usual[row] = np.nan
    past.born[row] = _NONE
    past.open[row, :] = _NONE
    past.kept[row, :] = 0
    past.foot[row, :] = np.nan
    past.top[row, :] = np.nan
    past.peak[row, :] = np.nan


@compiled
def _fill(row: int, now: int, share: float, past: Past) -> None:
    """Put a share into the open bucket of every scale; close those that are over."""
    width, seconds = FINEST, now / 1000.0
    for scale in range(SCALES):
        bucket, before = now // width, past.open[row, scale]
        if before != bucket:
            if before != _NONE:
                _close(row, scale, past)
                if bucket - before > max(POINTS, 3000.0 * past.usual[row] / width):
                    past.kept[row, scale] = 0  # no line is drawn through so long a silence
            past.open[row, scale] = bucket
            past.open_time[row, scale] = seconds
            past.open_low[row, scale] = share
            past.open_high[row, scale] = share
        elif share < past.open_low[row, scale]:
            past.open_low[row, scale] = share
            past.open_time[row, scale] = seconds
        else:
            past.open_high[row, scale] = max(past.open_high[row, scale], share)
        width *= STEP_RATIO


@compiled
def _rescale(row: int, past: Past, limit: float) -> None:
    """Take a new limit: what was seen is expressed as shares of it."""
    before = past.limit[row]
    past.limit[row] = limit if 0.0 < limit < np.inf else np.nan
    factor = before / past.limit[row]
    if factor == 1.0 or np.isnan(factor):
        return
    shift = 1.0 - factor if past.mode[row] == FREE else 0.0
    for shares in (
        past.low, past.high, past.open_low, past.open_high, past.foot, past.top, past.peak,
    ):  # fmt: skip
        for at in range(shares.shape[1]):
            shares[row, at] = shift + factor * shares[row, at]
    for at in range(SCALES * PEAKS):
        past.peak_speed[row, at] *= factor
    for at in range(SCALES):
        past.speed[row, at] *= factor
    past.used[row] = shift + factor * past.used[row]
    past.fresh[row] = (1 << SCALES) - 1


@compiled
def _share(row: int, seconds: float, value: float, past: Past) -> float:
    """The used share that a value means, or the time of the end; NaN while that is unknown."""
    mode = past.mode[row]
    if mode == COUNTDOWN or (mode == DEADLINE and value < LEAST_DATE):
        return float(seconds + value * past.scale[row])
    if mode == DEADLINE:
        return value
    if mode == FREE and np.isnan(past.limit[row]) and value > 0.0:
        past.limit[row] = value  # nobody says how much there is: what was free at first
    share = value / past.limit[row]
    return float(1.0 - share if mode == FREE else share)


@compiled
def take(
    past: Past, rows: Int32Array, times: Int64Array, values: Float64Array, limits: BoolArray
) -> None:
    """Take in samples; those of one row in order of time. Cost: 60 ns a sample.

    Args:
        past: What they are added to.
        rows: `[sample]` row of each.
        times: ms.
        values: In the unit of the series; what is not finite is skipped.
        limits: True where the sample is one of the row's limit.
    """
    for at in range(len(rows)):
        row, now, value = int(rows[at]), times[at], values[at]
        if limits[at]:
            _rescale(row, past, value)
            continue
        share = _share(row, now / 1000.0, value, past)
        if not np.isfinite(share):
            continue
        if now <= past.newest[row]:
            if past.newest[row] - now <= SETBACK:
                continue
            _forget(row, past)
        elif past.newest[row] != _NONE:
            step, usual = (now - past.newest[row]) / 1000.0, past.usual[row]
            past.usual[row] = (
                step if np.isnan(usual) else usual + 0.1 * (min(step, 5.0 * usual) - usual)
            )
        if past.born[row] == _NONE:
            past.born[row] = now
        past.newest[row] = now
        past.value[row] = value
        if past.mode[row] in (COUNTDOWN, DEADLINE):
            past.used[row] = min(max(share, 0.0), LATEST)
        else:
            past.used[row] = min(max(share, -1.0), 2.0)
            _fill(row, now, past.used[row], past)
