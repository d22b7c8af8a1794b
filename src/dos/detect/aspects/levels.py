"""Distances from levels, shifts and movement of a series, and of its seasonal residual.

Levels and spreads are exponentially weighted, their innovations clipped (Gelper, Fried & Croux,
*Robust forecasting with exponential and Holt-Winters smoothing*, J. Forecasting 29, 2010, eq. 6-8).
"""

from __future__ import annotations

import numpy as np

from dos.detect.aspects.scale import rate_of, sum_of, unit_of, within
from dos.detect.aspects.state import (
    BASE,
    EW16,
    EW60,
    EW240,
    FRESH,
    LONG,
    MOVE8,
    MOVE32,
    MU,
    OF_LEVEL,
    OF_RESIDUAL,
    R60,
    RECENT,
    RLONG,
    RMOVE,
    RSEEN,
    RSPREAD,
    SD,
    SPREAD,
)
from dos.kit.compiled import compiled
from dos.model.telemetry import Float32Array, Float64Array


@compiled
def levels(
    v: float, unit: float, s: Float64Array, recent: Float32Array, stat: Float64Array
) -> None:
    """Statistics of the value itself; see `STATISTICS`."""
    fresh, last = s[FRESH], RECENT - 1
    stat[OF_LEVEL] = abs(v - s[EW16]) / unit
    stat[OF_LEVEL + 1] = abs(v - s[EW60]) / unit
    stat[OF_LEVEL + 2] = abs(v - s[EW240]) / unit
    stat[OF_LEVEL + 3] = abs(v - s[LONG]) / unit
    step = abs(v - recent[last])
    stat[OF_LEVEL + 4] = step / unit
    if fresh >= 16:
        new = (v + sum_of(recent[last - 2 :])) / 4.0
        stat[OF_LEVEL + 5] = abs(new - sum_of(recent[last - 14 : last - 2]) / 12.0) / unit
        stat[OF_LEVEL + 7] = abs(v - middle_of(recent[last - 14 :])) / unit
    if fresh >= RECENT:
        new = (v + sum_of(recent[last - 14 :])) / 16.0
        stat[OF_LEVEL + 6] = abs(new - sum_of(recent[last - 62 : last - 14]) / 48.0) / unit
        stat[OF_LEVEL + 8] = abs(new - s[LONG]) / unit
    if fresh >= 40:
        stat[OF_LEVEL + 9] = (s[MOVE8] + (step - s[MOVE8]) / 6.0) / unit + 1e-4
        movement = (s[MOVE32] + (step - s[MOVE32]) / 24.0) / unit
        stat[OF_LEVEL + 10] = movement + 1e-4
        stat[OF_LEVEL + 11] = 1.0 / (movement + 0.003)


@compiled
def middle_of(values: Float32Array) -> float:
    """Median of an odd, small number of values: sorted by insertion, which compiles quickly."""
    ordered = np.empty(len(values))
    for place in range(len(values)):
        value, at = np.float64(values[place]), place
        while at > 0 and ordered[at - 1] > value:
            ordered[at] = ordered[at - 1]
            at -= 1
        ordered[at] = value
    return float(ordered[len(values) // 2])


@compiled
def learn_levels(v: float, weight: float, seen: int, s: Float64Array, last: float) -> None:
    """Move levels and spreads."""
    bound = 3.75 * s[SPREAD] if seen >= 10 else 0.0
    away = within(v - s[LONG], bound)
    for place, half_life in ((EW16, 16.0), (EW60, 60.0), (EW240, 240.0), (LONG, 2800.0)):
        moved = within(v - s[place], bound)
        s[place] += weight * rate_of(seen, half_life) * moved
    scale = 3.2 * s[SD] if seen > 20 else 0.0
    rate = weight * max(1.0 / (seen + 1.0), 1.0 / 5000.0)
    around = within(v - s[MU], 1.25 * scale)
    s[MU] += rate * around
    if seen > 0:
        s[SPREAD] += weight * max(1.0 / seen, 1.0 / 4000.0) * (abs(away) - s[SPREAD])
        s[SD] += rate * (1.25 * abs(around) - s[SD])
        step = abs(v - last)
        s[MOVE8] += max(1.0 / (seen + 1.0), 1.0 / 6.0) * (step - s[MOVE8])
        s[MOVE32] += max(1.0 / (seen + 1.0), 1.0 / 24.0) * (step - s[MOVE32])


@compiled
def residuals(r: float, s: Float64Array, residual: Float32Array, stat: Float64Array) -> None:
    """Statistics of the seasonal residual."""
    unit, last = unit_of(s[RSPREAD], s[LONG] + s[BASE]), RECENT - 1
    stat[OF_RESIDUAL] = abs(r - s[R60]) / unit
    stat[OF_RESIDUAL + 1] = abs(r - s[RLONG]) / unit
    if s[FRESH] >= RECENT:
        new = (r + sum_of(residual[last - 14 :])) / 16.0
        stat[OF_RESIDUAL + 2] = abs(new - sum_of(residual[last - 62 : last - 14]) / 48.0) / unit
        stat[OF_RESIDUAL + 3] = abs(new - s[RLONG]) / unit
    stat[OF_RESIDUAL + 4] = (s[RMOVE] + (abs(r - residual[last]) - s[RMOVE]) / 24.0) / unit + 1e-4


@compiled
def learn_residual(r: float, weight: float, s: Float64Array, last: float) -> None:
    """Move its levels and spreads."""
    seen = s[RSEEN]
    bound = 3.75 * s[RSPREAD] if seen >= 10 else 0.0
    away = within(r - s[RLONG], bound)
    s[R60] += weight * rate_of(seen, 60.0) * within(r - s[R60], bound)
    s[RLONG] += weight * rate_of(seen, 2800.0) * away
    if seen > 0:
        s[RSPREAD] += weight * max(1.0 / seen, 1.0 / 4000.0) * (abs(away) - s[RSPREAD])
        s[RMOVE] += max(1.0 / (seen + 1.0), 1.0 / 24.0) * (abs(r - last) - s[RMOVE])
    s[RSEEN] = seen + 1
