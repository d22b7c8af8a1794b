"""Distance of the newest window to the nearest one of a bounded past: left matrix profile.

Yeh et al., *Matrix Profile I* (ICDM 2016); Lu et al., *Matrix Profile XXIV: scaling time series
anomaly detection to trillions of datapoints* (KDD 2022) for the left profile as a causal score.
Distances are Euclidean, in units of the series' spread and not of the window's: a window that
hardly moves is not blown up. Windows that end at an abnormal sample are no past to compare with.
"""

from __future__ import annotations

import math

import numpy as np

from dos.detect.aspects.scale import unit_of
from dos.detect.aspects.state import (
    BASE,
    CCOUNT,
    CFILL,
    CNEAR,
    CNEAR_M,
    COARSE,
    COARSE_WINDOW,
    CODD,
    CSUM,
    FILL,
    FRESH,
    MU,
    OF_DISCORD,
    SD,
    SPARE,
    WINDOW,
    Room,
    Tables,
)
from dos.kit.compiled import compiled
from dos.model.telemetry import Float32Array, Float64Array, UInt8Array


@compiled
def discord(
    v: float, unit: float, s: Float64Array, room: Room, one: int, stat: Float64Array
) -> None:
    """Distance of the newest window to the nearest of the past, for both lengths of window."""
    past, odd, scratch = room.held.past[one], room.held.past_odd[one], room.scratch
    fill = int(s[FILL])
    if s[FRESH] >= WINDOW and fill >= 2 * WINDOW:
        newest = np.empty(WINDOW, np.float32)
        newest[0] = v
        for back in range(1, WINDOW):
            newest[back] = past[fill - back]
        raw, level = apart(past, odd, fill + 1, newest, scratch)
        if raw < 1e29:
            stat[OF_DISCORD] = math.sqrt(raw) / unit + 1e-4
            stat[OF_DISCORD + 1] = math.sqrt(level) / unit + 1e-4
    if s[CNEAR] > 0:
        stat[OF_DISCORD + 2] = s[CNEAR]
        stat[OF_DISCORD + 3] = s[CNEAR_M]


@compiled
def apart(
    past: Float32Array,
    odd: UInt8Array,
    count: int,
    newest: Float32Array,
    scratch: Float32Array,
) -> tuple[float, float]:
    """Mean squared distance of the `newest` values to the nearest stretch before them.

    The values come last one first; the second distance is the one with the means taken off.
    Stretches that end at an odd sample do not count.

    The loop over stretches is the inner one and counts from 0, so that the processor's vector
    units are used: an index that might be negative would hinder it.
    """
    window = len(newest)
    lags = min(len(past) - SPARE, count) - 2 * window + 1
    if lags <= 0:
        return 1e30, 1e30
    squares, sums = scratch[:lags], scratch[lags : 2 * lags]
    squares[:] = 0.0
    sums[:] = 0.0
    start = count - window - lags  # where the stretches end, less one
    for back in range(window):
        sample, stretch = newest[back], past[start - back : start - back + lags]
        for lag in range(lags):
            away = sample - stretch[lag]
            squares[lag] += away * away
            sums[lag] += away
    raw, level = 1e30, 1e30
    marks = odd[start : start + lags]
    for lag in range(lags):
        if marks[lag] == 0:
            mean_square = float(squares[lag]) / window
            mean = float(sums[lag]) / window
            raw = min(raw, mean_square)
            level = min(level, max(0.0, mean_square - mean * mean))
    return raw, level


@compiled
def remember(
    v: float, odd: bool, s: Float64Array, held: Tables, one: int, scratch: Float32Array
) -> None:
    """Put a sample into the past, and the mean of four into the coarse one."""
    s[FILL] = push(held.past[one], held.past_odd[one], int(s[FILL]), v, odd)
    s[CSUM] += v
    s[CCOUNT] += 1
    s[CODD] = max(s[CODD], 1.0 if odd else 0.0)
    if s[CCOUNT] < COARSE:
        return
    mean = s[CSUM] / COARSE
    coarse, flags = held.coarse[one], held.coarse_odd[one]
    s[CFILL] = push(coarse, flags, int(s[CFILL]), mean, s[CODD] > 0)
    s[CSUM] = s[CCOUNT] = s[CODD] = 0.0
    fill = int(s[CFILL])
    if fill >= 2 * COARSE_WINDOW:
        unit = unit_of(s[SD], s[MU] + s[BASE])
        newest = np.empty(COARSE_WINDOW, np.float32)
        for back in range(COARSE_WINDOW):
            newest[back] = coarse[fill - 1 - back]
        raw, level = apart(coarse, flags, fill, newest, scratch)
        if raw < 1e29:
            s[CNEAR] = math.sqrt(raw) / unit + 1e-4
            s[CNEAR_M] = math.sqrt(level) / unit + 1e-4


@compiled
def push(past: Float32Array, odd: UInt8Array, fill: int, v: float, flag: bool) -> int:
    """Append; one place stays free for the sample that is being judged."""
    reach = len(past) - SPARE
    if fill >= len(past) - 1:
        for place in range(reach):  # as slices it would take seconds more to compile
            past[place] = past[fill - reach + place]
            odd[place] = odd[fill - reach + place]
        fill = reach
    past[fill] = v
    odd[fill] = 1 if flag else 0
    return fill + 1
