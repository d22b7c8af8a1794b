"""The everyday baseline, one sample of one series at a time, compiled.

What `detectors/seasonal_ewma.py` explains is computed here: `look` says how far a sample is from
what was expected, `learn` gives the baseline after it. Both are functions of numbers; only the
daily shape stays in its columns, which are touched once an hour. So the same two functions serve
one tick of all series, where the state lies in columns, and a stretch of one series, where it
stays in registers (`dos.detect.fused`), with equal results to the last bit.

Single-precision columns are rounded after every sample, or the two would differ.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from dos.detect.lanes import HALF, MAX_DEVIATION, MEAN_TO_SIGMA, THIRD, TINY
from dos.kit.clock import HOUR
from dos.kit.compiled import compiled, lean
from dos.model.telemetry import (
    BoolArray,
    Float32Array,
    Float64Array,
    Int32Array,
    Int64Array,
    UInt8Array,
)

LARGEST = 1e12
"""Values are clipped here, so that no square or sum overflows."""
BINS = 24
_PER_HOUR = 1.0 / HOUR
_WEEK_HOURS = 7 * 24
_MONDAY = 3 * 24
"""Hours from Monday midnight to the epoch, a Thursday."""
_CREPT = 10.0
"""z-score of a sample that has crept just as far as it may: clearly beyond any lowest threshold."""
_LONG = 7.0 * 24 * HOUR
"""No level is carried over a longer gap."""
_MOST_VISITS = 250


class Settings(NamedTuple):
    """Parameters, as numbers."""

    level_rate: float
    slow_rate: float
    spread_rate: float
    warm_up: int
    creep_after: int
    """Samples before the slow level says anything."""
    settled: int
    """Samples after which nothing depends on how many there were; they are counted no further."""
    clip: float
    first_off: int
    """Hours since the epoch of the first column of `Table.off`; hours beyond it are no holidays."""


class Table(NamedTuple):
    """The columns, `[series]` each."""

    samples: Int32Array
    level: Float64Array
    slow: Float64Array
    spread: Float32Array
    last: Int64Array
    step: Float32Array
    rise: Float32Array
    hour_sum: Float64Array
    hour_count: Int32Array
    log: BoolArray
    relative_floor: Float32Array
    absolute_floor: Float32Array
    relative_creep: Float32Array
    absolute_creep: Float32Array
    calendar: UInt8Array
    shape: Float32Array
    """`[series, hour]` mean level, of working days and then of days off."""
    visits: UInt8Array
    """`[series, hour]` how many of them are in it."""
    off: UInt8Array
    """`[calendar, hour]` 1 where it is a holiday, on which the shape of days off holds."""


class Base(NamedTuple):
    """What is known of one series, besides its daily shape."""

    samples: int
    """Samples learned since the baseline began, no more than it takes to be settled."""
    level: float
    slow: float
    """The level with a long memory."""
    spread: float
    """Mean absolute deviation of samples from the level."""
    last: int
    """Time of the newest sample, ms."""
    step: float
    """Usual time between samples, ms."""
    rise: float
    """What the shape rises in the hour around `last`."""
    hour_sum: float
    hour_count: int


class Rule(NamedTuple):
    """What depends on role and unit of a series."""

    log: bool
    relative_floor: float
    absolute_floor: float
    relative_creep: float
    absolute_creep: float


class Who(NamedTuple):
    """Which series, and which holidays it keeps."""

    i: int
    calendar: int
    first_off: int


class Drift(NamedTuple):
    """How the daily shape moved the level between two samples."""

    told: bool
    """False where the shape is not known."""
    by: float


class Look(NamedTuple):
    """One sample beside what was expected, on the scale of judgement."""

    scaled: float
    carried: float
    """The level, moved along the shape to the sample's time."""
    drift: float
    """How far the shape moved it."""
    anew: bool
    """No baseline, or one that is too long ago: it begins with this sample."""
    crept: bool
    """Level and sample have both crept away from the slow level: a bound by itself, whatever the
    series' own past strayed."""
    expected: float
    """What the sample is judged against: `carried`, or the slow level if it crept away from it."""
    sigma: float
    deviation: float
    ready: bool


real = np.float64
"""A number of any precision as one of double precision."""


@lean
def whole(x: int) -> int:
    """A whole number of any width as one of 64 bits."""
    return int(x) + 0


@lean
def _single(x: float) -> float:
    """Rounded as a single-precision column rounds it."""
    return real(np.float32(x))


@lean
def scaled_of(value: float, log: bool) -> float:
    """A value on the scale of judgement."""
    if log:
        return math.log(min(max(value, TINY), LARGEST))
    return min(max(value, -LARGEST), LARGEST)


@lean
def bin_of(days_off: UInt8Array, who: Who, hour: int) -> int:
    """Which of the 48 hours of the shape: 0-23 on working days, 24-47 on days off (UTC).

    Args:
        days_off: As `Table.off`.
        who: Which series.
        hour: Hours since the epoch.
    """
    off = (hour + _MONDAY) % _WEEK_HOURS >= 5 * 24
    place = hour - who.first_off
    if 0 <= place < days_off.shape[1]:
        off = off or days_off[who.calendar, place] > 0
    return hour % 24 + (BINS if off else 0)


@lean
def _height(
    shape: Float32Array, visits: UInt8Array, off: UInt8Array, who: Who, at: int
) -> tuple[bool, float, float]:
    """Whether the shape is known around a time, its height there, and its rise in that hour."""
    hour = (at - HALF) // HOUR
    before, after = bin_of(off, who, hour), bin_of(off, who, hour + 1)
    if visits[who.i, before] == 0 or visits[who.i, after] == 0:
        return False, 0.0, 0.0
    low = real(shape[who.i, before])
    rise = real(shape[who.i, after]) - low
    share = real((at - HALF) - hour * HOUR) / HOUR
    return True, low + share * rise, rise


@lean
def is_near(base: Base, at: int) -> bool:
    """Whether the sample lies in the same half hour as the one before, so that `rise` holds."""
    return at // HALF == base.last // HALF


@lean
def near(base: Base, at: int) -> Drift:
    """How the shape moved the level since the last sample, within half an hour."""
    return Drift(True, base.rise * (real(at - base.last) * _PER_HOUR))


@lean
def far(
    shape: Float32Array, visits: UInt8Array, off: UInt8Array, who: Who, last: int, at: int
) -> Drift:
    """The same over any time, as far as the shape is known."""
    then_known, then, _ = _height(shape, visits, off, who, last)
    now_known, now, _ = _height(shape, visits, off, who, at)
    if then_known and now_known:
        return Drift(True, now - then)
    return Drift(False, 0.0)


@lean
def begins_anew(base: Base, at: int, told: bool) -> bool:
    """Whether the level is too long ago to say anything of a sample at this time.

    That is an hour beyond what is usual if the shape does not tell how the level moved meanwhile,
    a week if it does. A clock that was set back is no gap.
    """
    gap = real(at - base.last)
    return bool(base.samples == 0 or gap > _LONG or (not told and gap > HOUR + 4.0 * base.step))


@lean
def _sigma(base: Base, rule: Rule, expected: float) -> float:
    floor = max(rule.relative_floor * abs(expected), rule.absolute_floor)
    return max(base.spread * MEAN_TO_SIGMA, floor, TINY)


@lean
def _reach(rule: Rule, slow: float) -> float:
    """How far level and samples may creep away from the slow level."""
    return max(rule.relative_creep * abs(slow), rule.absolute_creep)


@lean
def look(s: Settings, base: Base, rule: Rule, drift: Drift, at: int, value: float) -> Look:
    """Compare a sample with what was expected."""
    scaled = scaled_of(value, rule.log)
    anew = begins_anew(base, at, drift.told)
    carried, slow = base.level + drift.by, base.slow + drift.by
    reach = _reach(rule, slow)
    away = min(carried, scaled) - slow > reach or slow - max(carried, scaled) > reach
    crept = away and base.samples >= s.creep_after
    if crept:
        expected, sigma = slow, reach / _CREPT
    else:
        expected = carried
        sigma = _sigma(base, rule, expected)
        if base.samples < s.settled:
            # Few samples say little about the spread: widen by what a t-like factor would.
            sigma *= 1.0 + 8.0 / max(base.samples, 1)
    deviation = (scaled - expected) / sigma
    deviation = min(max(deviation, -MAX_DEVIATION), MAX_DEVIATION)
    ready = base.samples >= s.warm_up and not anew
    return Look(scaled, carried, drift.by, anew, crept, expected, sigma, deviation, ready)


@lean
def learn(s: Settings, base: Base, rule: Rule, seen: Look, at: int, weight: float) -> Base:
    """The baseline after the sample; `turn` is due as well unless it `is_near` the last one."""
    count = 0 if seen.anew else base.samples
    carried, slow = seen.carried, base.slow + seen.drift
    if seen.anew:
        carried = slow = seen.scaled
    # While young, a plain average (rate 1/n); robust clipping only once the spread is known.
    innovation = seen.scaled - carried
    if count >= s.warm_up:
        bound = s.clip * _sigma(base, rule, carried)
        innovation = min(max(innovation, -bound), bound)
    rates = _rates(s, count)
    level = carried + rates[0] * weight * innovation
    spread = _single(base.spread + rates[1] * weight * (abs(innovation) - base.spread))
    creep = seen.scaled - slow
    if count >= s.creep_after:
        bound = _reach(rule, slow) * THIRD
        creep = min(max(creep, -bound), bound)
    slow += rates[2] * weight * creep
    step = base.step if seen.anew else _step(base, at)
    hour_sum, hour_count = base.hour_sum + level, base.hour_count + 1
    count = min(count + 1, s.settled)
    return Base(count, level, slow, spread, at, step, base.rise, hour_sum, hour_count)


@lean
def _rates(s: Settings, count: int) -> tuple[float, float, float]:
    """How much of the next sample level, spread and slow level take over, after so many."""
    if count >= s.settled:
        return s.level_rate, s.spread_rate, s.slow_rate
    young = 1.0 / (count + 1)
    spread = 0.0 if count == 0 else max(s.spread_rate, 1.0 / count)
    return max(s.level_rate, young), spread, max(s.slow_rate, young)


@lean
def _step(base: Base, at: int) -> float:
    """The usual time between samples, which a single gap hardly changes."""
    gap = real(at - base.last)
    if gap <= 0.0 or gap == base.step:
        return base.step
    if base.step == 0.0:
        return _single(gap)
    return _single(base.step + 0.05 * (min(gap, 4.0 * base.step) - base.step))


@lean
def turn(
    shape: Float32Array, visits: UInt8Array, off: UInt8Array, who: Who, base: Base, learned: Base
) -> Base:
    """A new half hour has begun: `learned`, the baseline after `base`, as it goes on from here.

    When an hour is over its mean level goes into the shape; the more days are known, the less
    one of them moves it, down to a quarter.
    """
    at, hour_sum, hour_count = learned.last, learned.hour_sum, learned.hour_count
    if at // HOUR != base.last // HOUR:
        if base.hour_count >= 3:  # fewer samples are no average worth keeping
            old = bin_of(off, who, base.last // HOUR)
            seen = real(visits[who.i, old])
            before = real(shape[who.i, old])
            rate = 1.0 / min(seen + 1.0, 4.0)
            shape[who.i, old] = before + rate * (base.hour_sum / base.hour_count - before)
            visits[who.i, old] = min(seen + 1.0, _MOST_VISITS)
        hour_sum, hour_count = learned.level, 1
    _, _, rise = _height(shape, visits, off, who, at)
    return Base(
        learned.samples, learned.level, learned.slow, learned.spread, at, learned.step,
        _single(rise), hour_sum, hour_count,
    )  # fmt: skip


@compiled
def look_rows(
    t: Table, s: Settings, row: Int32Array, at: Int64Array, value: Float64Array, out: Float64Array
) -> BoolArray:
    """`look` at one sample of each of `row`.

    Args:
        t: The columns; unpacked here, as taking one out costs as much as a sample does.
        s: The parameters.
        row: `[sample]` rows, without repeats.
        at: `[sample]` times.
        value: `[sample]` values.
        out: `[3, sample]` deviation, expected and sigma are written here.

    Returns:
        `[2, sample]` which of them were ready to be judged, and which crept away.
    """
    (samples, level, slow, spread, last, step, rise, hour_sum, hour_count, log, relative_floor,
     absolute_floor, relative_creep, absolute_creep, calendar, shape, visits, off) = t  # fmt: skip
    flags = np.empty((2, len(row)), np.bool_)
    for k in range(len(row)):
        i = whole(row[k])
        base = Base(whole(samples[i]), real(level[i]), real(slow[i]), real(spread[i]),
                    whole(last[i]), real(step[i]), real(rise[i]), real(hour_sum[i]),
                    whole(hour_count[i]))  # fmt: skip
        rule = Rule(log[i], real(relative_floor[i]), real(absolute_floor[i]),
                    real(relative_creep[i]), real(absolute_creep[i]))  # fmt: skip
        now, who = whole(at[k]), Who(i, whole(calendar[i]), s.first_off)
        drift = (
            near(base, now) if is_near(base, now) else far(shape, visits, off, who, base.last, now)
        )
        seen = look(s, base, rule, drift, now, value[k])
        out[0, k], out[1, k], out[2, k] = seen.deviation, seen.expected, seen.sigma
        flags[0, k], flags[1, k] = seen.ready, seen.crept
    return flags


@lean
def learn_rows(
    t: Table, s: Settings, row: Int32Array, at: Int64Array, value: Float64Array,
    weight: Float64Array,
) -> None:  # fmt: skip
    """`learn` one sample of each of `row`, which has no repeats."""
    (samples, level, slow, spread, last, step, rise, hour_sum, hour_count, log, relative_floor,
     absolute_floor, relative_creep, absolute_creep, calendar, shape, visits, off) = t  # fmt: skip
    for k in range(len(row)):
        i = whole(row[k])
        base = Base(whole(samples[i]), real(level[i]), real(slow[i]), real(spread[i]),
                    whole(last[i]), real(step[i]), real(rise[i]), real(hour_sum[i]),
                    whole(hour_count[i]))  # fmt: skip
        rule = Rule(log[i], real(relative_floor[i]), real(absolute_floor[i]),
                    real(relative_creep[i]), real(absolute_creep[i]))  # fmt: skip
        now, who = whole(at[k]), Who(i, whole(calendar[i]), s.first_off)
        close = is_near(base, now)
        drift = near(base, now) if close else far(shape, visits, off, who, base.last, now)
        seen = look(s, base, rule, drift, now, value[k])
        learned = learn(s, base, rule, seen, now, weight[k])
        base = learned if close else turn(shape, visits, off, who, base, learned)
        samples[i], level[i], slow[i], spread[i] = base.samples, base.level, base.slow, base.spread
        last[i], hour_sum[i], hour_count[i] = base.last, base.hour_sum, base.hour_count
        step[i], rise[i] = base.step, base.rise
