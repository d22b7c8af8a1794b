"""Series between their columns and the lanes: chunks of `WIDTH` of them, there and back.

Rows that are one stretch of the columns, as those of a tick of all series are, are copied by
loops that vector units can do; any others one by one.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dos.detect.ewma import LARGEST, Table, scaled_of, whole
from dos.detect.judge import Rows
from dos.detect.lanes import (
    ABOVE,
    ABSOLUTE_CREEP,
    ABSOLUTE_FLOOR,
    AT,
    AWAY,
    BELOW,
    CERTAIN,
    COUNT,
    DISTANCE,
    EXPECTED,
    HALF,
    INVERSE,
    LAST,
    LASTING,
    LEVEL,
    LIMIT,
    LINGERING,
    LOG,
    MEAN,
    MOST,
    NEWEST,
    ODD,
    RELATIVE_CREEP,
    RELATIVE_FLOOR,
    RISE,
    SAMPLES,
    SCALE,
    SCALED,
    SIGMA,
    SLOW,
    SPREAD,
    START,
    STEP,
    STRAYING,
    SUM,
    TAIL,
    TROUBLED,
    VALUE,
    WIDTH,
)  # fmt: skip
from dos.kit.compiled import lean
from dos.model.telemetry import Float32Array, Float64Array, Int32Array, Int64Array


class Newest(NamedTuple):
    """The newest sample of each series, `[series]` each."""

    last: Int64Array
    value: Float64Array
    expected: Float32Array
    sigma: Float32Array
    strength: Float32Array


class Batch(NamedTuple):
    """Samples of many series: either as many of each (`even`), or those of one after the other."""

    row: Int32Array
    """`[series]` without repeats."""
    at: Int64Array
    """`[sample]` times, or `[time]` if they are `shared`."""
    value: Float64Array
    """`[sample]`; even: all series of the first time before those of the second. NaN: none."""
    begin: Int64Array
    """`[series + 1]` where the samples of each series begin; not used if even."""
    times: int
    """Samples of each series, or of the series that has most."""
    even: bool
    shared: bool


@lean
def stretch_of(row: Int32Array) -> int:
    """Where the stretch of rows begins that these ascending ones are; -1 if they are none."""
    first = whole(row[0])
    return first if whole(row[-1]) - first == len(row) - 1 else -1


@lean
def take(t: Table, rows: Rows, row: Int32Array, lane: Float64Array) -> int:
    """Fill the lanes with up to `WIDTH` ascending rows; those left over get no sample, ever.

    Returns how many lanes there are up to the last one with a log scale.
    """
    start, count = stretch_of(row), min(len(row), WIDTH)
    if start >= 0:
        take_known(t, rows, start, count, lane)
        take_given(t, rows, start, count, lane)
    else:
        take_rows(t, rows, row, lane)
    logs = 0
    for j in range(count):
        logs = j + 1 if lane[LOG + j] > 0.0 else logs
    for j in range(WIDTH):
        n = lane[SAMPLES + j]
        lane[INVERSE + j] = 1.0 / max(n, 1.0)
        lane[NEWEST + j] = np.nan
        lane[START + j] = np.floor(lane[LAST + j] / HALF) * HALF
        lane[TROUBLED + j] += lane[ODD + j]  # abnormal, or evidence for it
    lane[VALUE + count : VALUE + WIDTH] = np.nan
    return logs


@lean
def take_known(  # noqa: C901, PLR0912  a loop for each column is what vector units can do
    t: Table, rows: Rows, start: int, count: int, lane: Float64Array
) -> None:
    """What changes with every sample, of one stretch of rows.

    Their places are unsigned: negative ones would count from the end, which is asked of each.
    """
    (samples, level, slow, spread, last, step, rise, hour_sum, hour_count,
     _, _, _, _, _, _, _, _, _) = t  # fmt: skip
    mean, lasting, lingering = rows.mean, rows.lasting, rows.lingering
    tail, straying = rows.tail, rows.straying
    first = np.uint64(start)
    for j in range(count):
        lane[SAMPLES + j] = samples[first + np.uint64(j)]
    for j in range(count):
        lane[LEVEL + j] = level[first + np.uint64(j)]
    for j in range(count):
        lane[SLOW + j] = slow[first + np.uint64(j)]
    for j in range(count):
        lane[SPREAD + j] = spread[first + np.uint64(j)]
    for j in range(count):
        lane[LAST + j] = last[first + np.uint64(j)]
    for j in range(count):
        lane[STEP + j] = step[first + np.uint64(j)]
    for j in range(count):
        lane[RISE + j] = rise[first + np.uint64(j)]
    for j in range(count):
        lane[SUM + j] = hour_sum[first + np.uint64(j)]
    for j in range(count):
        lane[COUNT + j] = hour_count[first + np.uint64(j)]
    for j in range(count):
        lane[TAIL + j] = tail[first + np.uint64(j)]
    for j in range(count):
        lane[STRAYING + j] = straying[first + np.uint64(j)]
    for j in range(count):
        lane[MEAN + j] = mean[first + np.uint64(j)]
    for j in range(count):
        lane[LASTING + j] = lasting[first + np.uint64(j)]
    for j in range(count):
        lane[LINGERING + j] = lingering[first + np.uint64(j)]


@lean
def take_given(  # noqa: C901  a loop for each column is what vector units can do
    t: Table, rows: Rows, start: int, count: int, lane: Float64Array
) -> None:
    """What seldom changes, of one stretch of rows."""
    log, relative_floor, absolute_floor = t.log, t.relative_floor, t.absolute_floor
    relative_creep, absolute_creep = t.relative_creep, t.absolute_creep
    above, below, certain, scale = rows.above, rows.below, rows.certain, rows.scale
    abnormal, evidence = rows.abnormal, rows.evidence
    first = np.uint64(start)
    for j in range(count):
        lane[LOG + j] = log[first + np.uint64(j)]
    for j in range(count):
        lane[RELATIVE_FLOOR + j] = relative_floor[first + np.uint64(j)]
    for j in range(count):
        lane[ABSOLUTE_FLOOR + j] = absolute_floor[first + np.uint64(j)]
    for j in range(count):
        lane[RELATIVE_CREEP + j] = relative_creep[first + np.uint64(j)]
    for j in range(count):
        lane[ABSOLUTE_CREEP + j] = absolute_creep[first + np.uint64(j)]
    for j in range(count):
        lane[ABOVE + j] = above[first + np.uint64(j)]
    for j in range(count):
        lane[BELOW + j] = below[first + np.uint64(j)]
    for j in range(count):
        lane[CERTAIN + j] = certain[first + np.uint64(j)]
    for j in range(count):
        lane[SCALE + j] = scale[first + np.uint64(j)]
    for j in range(count):
        lane[TROUBLED + j] = abnormal[first + np.uint64(j)]
    for j in range(count):
        lane[ODD + j] = evidence[first + np.uint64(j)]


@lean
def take_rows(t: Table, rows: Rows, row: Int32Array, lane: Float64Array) -> None:
    """Both, of any rows."""
    (samples, level, slow, spread, last, step, rise, hour_sum, hour_count,
     _, _, _, _, _, _, _, _, _) = t  # fmt: skip
    mean, lasting, lingering = rows.mean, rows.lasting, rows.lingering
    tail, straying = rows.tail, rows.straying
    log, relative_floor, absolute_floor = t.log, t.relative_floor, t.absolute_floor
    relative_creep, absolute_creep = t.relative_creep, t.absolute_creep
    above, below, certain, scale = rows.above, rows.below, rows.certain, rows.scale
    abnormal, evidence = rows.abnormal, rows.evidence
    for j in range(len(row)):
        i = whole(row[j])
        lane[SAMPLES + j] = samples[i]
        lane[LEVEL + j] = level[i]
        lane[SLOW + j] = slow[i]
        lane[SPREAD + j] = spread[i]
        lane[LAST + j] = last[i]
        lane[STEP + j] = step[i]
        lane[RISE + j] = rise[i]
        lane[SUM + j] = hour_sum[i]
        lane[COUNT + j] = hour_count[i]
        lane[TAIL + j] = tail[i]
        lane[STRAYING + j] = straying[i]
        lane[MEAN + j] = mean[i]
        lane[LASTING + j] = lasting[i]
        lane[LINGERING + j] = lingering[i]
        lane[LOG + j] = log[i]
        lane[RELATIVE_FLOOR + j] = relative_floor[i]
        lane[ABSOLUTE_FLOOR + j] = absolute_floor[i]
        lane[RELATIVE_CREEP + j] = relative_creep[i]
        lane[ABSOLUTE_CREEP + j] = absolute_creep[i]
        lane[ABOVE + j] = above[i]
        lane[BELOW + j] = below[i]
        lane[CERTAIN + j] = certain[i]
        lane[SCALE + j] = scale[i]
        lane[TROUBLED + j] = abnormal[i]
        lane[ODD + j] = evidence[i]


@lean
def fill(batch: Batch, first: int, count: int, k: int, lane: Float64Array) -> None:
    """The lanes' samples number `k`; NaN where there is none."""
    value, at, begin = batch.value, batch.at, batch.begin
    count = min(count, WIDTH)
    first_of = np.uint64(k * len(batch.row) + first)
    if not batch.even:
        for j in range(count):
            place = begin[first + j] + k
            there = place < begin[first + j + 1]
            lane[VALUE + j] = value[place] if there else np.nan
            lane[AT + j] = at[place] if there else 0.0
        return
    if batch.shared:
        now = float(at[k])
        for j in range(WIDTH):
            lane[AT + j] = now
    else:
        for j in range(count):
            lane[AT + j] = at[first_of + np.uint64(j)]
    for j in range(count):
        lane[VALUE + j] = value[first_of + np.uint64(j)]


@lean
def scale(lane: Float64Array, logs: int) -> int:
    """The lanes' values on the scale of judgement; how many lanes have none.

    The first `logs` lanes may have a log scale.
    """
    gaps = 0
    for j in range(WIDTH):
        v = lane[VALUE + j]
        gaps += 1 if np.isnan(v) else 0
        v = -LARGEST if v < -LARGEST else v  # noqa: FURB136  max would hide NaN
        lane[SCALED + j] = LARGEST if v > LARGEST else v  # noqa: FURB136  and min, too
    for j in range(logs):
        if lane[LOG + j] > 0.0 and not np.isnan(lane[VALUE + j]):
            lane[SCALED + j] = scaled_of(lane[VALUE + j], True)
    return gaps


@lean
def put(t: Table, rows: Rows, newest: Newest, row: Int32Array, lane: Float64Array) -> None:
    """The lanes back into the columns, as far as they had a sample."""
    gaps, count = 0, min(len(row), WIDTH)
    for j in range(WIDTH):
        judged = not np.isnan(lane[SIGMA + j])
        distance, limit = lane[DISTANCE + j], lane[LIMIT + j]
        away, most = lane[AWAY + j], lane[MOST + j]
        single, mean_of_last = distance / limit, away / most
        # Plus zero, since a distance may be a negative one.
        strength = (mean_of_last if away * limit > distance * most else single) + 0.0
        lane[DISTANCE + j] = strength if judged else np.nan
        expected = lane[EXPECTED + j]
        lane[EXPECTED + j] = expected if judged else np.nan
    for j in range(count):
        gaps += 1 if np.isnan(lane[NEWEST + j]) else 0
    start = stretch_of(row)
    if gaps == 0 and start >= 0:
        put_stretch(t, rows, newest, start, count, lane)
    else:
        put_rows(t, rows, newest, row, lane)


@lean
def put_stretch(  # noqa: C901, PLR0912  a loop for each column is what vector units can do
    t: Table, rows: Rows, newest: Newest, start: int, count: int, lane: Float64Array
) -> None:
    """Into one stretch of rows, all of which had a sample."""
    (samples, level, slow, spread, last, step, rise, hour_sum, hour_count,
     _, _, _, _, _, _, _, _, _) = t  # fmt: skip
    mean, lasting, lingering = rows.mean, rows.lasting, rows.lingering
    tail, straying = rows.tail, rows.straying
    n_last, n_value, n_expected, n_sigma, n_strength = newest
    first = np.uint64(start)
    for j in range(count):
        samples[first + np.uint64(j)] = lane[SAMPLES + j]
    for j in range(count):
        level[first + np.uint64(j)] = lane[LEVEL + j]
    for j in range(count):
        slow[first + np.uint64(j)] = lane[SLOW + j]
    for j in range(count):
        spread[first + np.uint64(j)] = lane[SPREAD + j]
    for j in range(count):
        last[first + np.uint64(j)] = lane[LAST + j]
    for j in range(count):
        step[first + np.uint64(j)] = lane[STEP + j]
    for j in range(count):
        rise[first + np.uint64(j)] = lane[RISE + j]
    for j in range(count):
        hour_sum[first + np.uint64(j)] = lane[SUM + j]
    for j in range(count):
        hour_count[first + np.uint64(j)] = lane[COUNT + j]
    for j in range(count):
        tail[first + np.uint64(j)] = lane[TAIL + j]
    for j in range(count):
        straying[first + np.uint64(j)] = lane[STRAYING + j] > 0.0
    for j in range(count):
        mean[first + np.uint64(j)] = lane[MEAN + j]
    for j in range(count):
        lasting[first + np.uint64(j)] = lane[LASTING + j]
    for j in range(count):
        lingering[first + np.uint64(j)] = lane[LINGERING + j] > 0.0
    for j in range(count):
        n_last[first + np.uint64(j)] = lane[LAST + j]
    for j in range(count):
        n_value[first + np.uint64(j)] = lane[NEWEST + j]
    for j in range(count):
        n_expected[first + np.uint64(j)] = lane[EXPECTED + j]
    for j in range(count):
        n_sigma[first + np.uint64(j)] = lane[SIGMA + j]
    for j in range(count):
        n_strength[first + np.uint64(j)] = lane[DISTANCE + j]


@lean
def put_rows(t: Table, rows: Rows, newest: Newest, row: Int32Array, lane: Float64Array) -> None:
    """Into any rows."""
    (samples, level, slow, spread, last, step, rise, hour_sum, hour_count,
     _, _, _, _, _, _, _, _, _) = t  # fmt: skip
    mean, lasting, lingering = rows.mean, rows.lasting, rows.lingering
    tail, straying = rows.tail, rows.straying
    n_last, n_value, n_expected, n_sigma, n_strength = newest
    for j in range(len(row)):
        if not np.isnan(lane[NEWEST + j]):
            i = whole(row[j])
            samples[i] = lane[SAMPLES + j]
            level[i] = lane[LEVEL + j]
            slow[i] = lane[SLOW + j]
            spread[i] = lane[SPREAD + j]
            last[i] = lane[LAST + j]
            step[i] = lane[STEP + j]
            rise[i] = lane[RISE + j]
            hour_sum[i] = lane[SUM + j]
            hour_count[i] = lane[COUNT + j]
            tail[i] = lane[TAIL + j]
            straying[i] = lane[STRAYING + j] > 0.0
            mean[i] = lane[MEAN + j]
            lasting[i] = lane[LASTING + j]
            lingering[i] = lane[LINGERING + j] > 0.0
            n_last[i] = lane[LAST + j]
            n_value[i] = lane[NEWEST + j]
            n_expected[i] = lane[EXPECTED + j]
            n_sigma[i] = lane[SIGMA + j]
            n_strength[i] = lane[DISTANCE + j]
