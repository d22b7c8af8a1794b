"""Values that are rare, stay the same for long, or lie beyond all values seen."""

from __future__ import annotations

import math

import numpy as np

from dos.detect.aspects.scale import unit_of
from dos.detect.aspects.state import (
    BASE,
    CELLS,
    FRESH,
    HIGH,
    LONG,
    LOW,
    MAX,
    MIN,
    OF_VALUE,
    RUN,
    VALUES_SEEN,
)
from dos.kit.compiled import compiled
from dos.model.telemetry import Float32Array, Float64Array


@compiled
def look_at_value(v: float, s: Float64Array, cells: Float32Array, stat: Float64Array) -> None:
    """How rare the value is, for how long it was the same, how far beyond all others."""
    low, high, seen = s[LOW], s[HIGH], s[VALUES_SEEN]
    unit = unit_of(0.0, s[LONG] + s[BASE])
    stat[OF_VALUE + 1] = s[RUN]
    if s[FRESH] >= 20:
        beyond = max(0.0, v - s[MAX], s[MIN] - v)
        stat[OF_VALUE + 2] = beyond / max(s[MAX] - s[MIN], unit) + 1e-3
    if seen <= 30 or not high > low:
        return
    cell = math.floor((v - low) / (high - low) * (CELLS - 1) + 0.5)
    if cell < 0 or cell >= CELLS:
        stat[OF_VALUE] = seen + 1.0
        return
    mine, rarer = smoothed(cells, cell), 0.0
    for other in range(CELLS):
        if smoothed(cells, other) <= mine:
            rarer += cells[other]
    stat[OF_VALUE] = (seen + 1.0) / (rarer + 0.5)


@compiled
def smoothed(cells: Float32Array, cell: int) -> float:
    """Count of a cell and half of its neighbours."""
    last = CELLS - 1
    return float(cells[max(cell - 1, 0)] + 2 * cells[cell] + cells[min(cell + 1, last)])


@compiled
def learn_value(
    v: float, weight: float, s: Float64Array, last: float, seen: int, cells: Float32Array
) -> None:
    """Count the value."""
    if seen == 0:
        s[LOW] = s[HIGH] = s[MIN] = s[MAX] = v
        s[RUN] = 1.0
    elif abs(v - last) <= 1e-6 * max(abs(v), abs(last)):  # `last` is in single precision
        s[RUN] += 1.0
    else:
        s[RUN] = 1.0
    if weight > 0.5:
        s[MIN], s[MAX] = min(s[MIN], v), max(s[MAX], v)
    if v < s[LOW] or v > s[HIGH]:
        widen(v, s, cells)
    if s[HIGH] > s[LOW]:
        share = (v - s[LOW]) / (s[HIGH] - s[LOW])
        cells[int(share * (CELLS - 1) + 0.5)] += weight
    else:
        cells[0] += weight
    s[VALUES_SEEN] += weight


@compiled
def widen(v: float, s: Float64Array, cells: Float32Array) -> None:
    """Make room for a value outside, and a quarter more."""
    low, high = s[LOW], s[HIGH]
    below, above = min(low, v), max(high, v)
    if v < low:
        below -= 0.25 * (above - below)
    else:
        above += 0.25 * (above - below)
    moved = np.zeros(CELLS, np.float32)
    for cell in range(CELLS):
        centre = low + cell * (high - low) / (CELLS - 1)
        moved[int((centre - below) / (above - below) * (CELLS - 1) + 0.5)] += cells[cell]
    for cell in range(CELLS):
        cells[cell] = moved[cell]
    s[LOW], s[HIGH] = below, above
