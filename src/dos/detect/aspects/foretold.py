"""Errors of an autoregression of the residual, fitted by recursive least squares.

Haykin, *Adaptive Filter Theory* (4th ed., 2002, table 9.1), with errors clipped at four of their
usual sizes, so that an outlier does not bend the forecast.
"""

from __future__ import annotations

import numpy as np

from dos.detect.aspects.scale import unit_of, within
from dos.detect.aspects.state import (
    A8,
    AMU,
    ASCALE,
    ASD,
    ASEEN,
    BASE,
    E8,
    E32,
    LONG,
    ORDER,
    RECENT,
)
from dos.kit.compiled import compiled
from dos.model.telemetry import Float32Array, Float64Array


@compiled
def surprise(r: float, s: Float64Array, residual: Float32Array, weights: Float64Array) -> float:
    """Error of the autoregression, in units of the residual's spread."""
    unit = unit_of(s[ASD], s[LONG] + s[BASE])
    foretold = weights[ORDER]
    for lag in range(ORDER):
        foretold += weights[lag] * (residual[RECENT - 1 - lag] - s[AMU]) / unit
    return float((r - s[AMU]) / unit - foretold)


@compiled
def learn_forecast(
    r: float,
    weight: float,
    s: Float64Array,
    residual: Float32Array,
    weights: Float64Array,
    covariance: Float64Array,
) -> None:
    """Recursive least squares with forgetting, errors clipped at 4 sigma."""
    seen, size = s[ASEEN], ORDER + 1
    if seen == 0:
        for place in range(size):
            covariance[place * size + place] = 100.0
        s[AMU], s[ASCALE] = r, 1.0
    if seen > ORDER + 2:
        unit = unit_of(s[ASD], s[LONG] + s[BASE])
        e = surprise(r, s, residual, weights)
        bound = 4.0 * s[ASCALE]
        kept = min(max(e, -bound), bound) if seen > 3 * ORDER else e
        squared = min(e * e, 400.0 * s[ASCALE] ** 2)
        s[E8] += 0.15 * (squared - s[E8])
        s[E32] += 0.03 * (squared - s[E32])
        s[A8] += 0.15 * (kept - s[A8])
        rate = weight * max(1.0 / (seen - ORDER - 1.0), 1.0 / 2000.0)
        s[ASCALE] += rate * (1.25 * abs(kept) - s[ASCALE])
        if weight > 0.5:
            regress(kept, unit, s, residual, weights, covariance)
    scale = 4.0 * s[ASD] if seen > 20 else 0.0
    away = within(r - s[AMU], scale)
    rate = weight * max(1.0 / (seen + 1.0), 1.0 / 5000.0)
    s[AMU] += rate * away
    if seen > 0:
        s[ASD] += rate * (1.25 * abs(away) - s[ASD])
    s[ASEEN] = seen + 1


@compiled
def regress(
    e: float,
    unit: float,
    s: Float64Array,
    residual: Float32Array,
    weights: Float64Array,
    covariance: Float64Array,
) -> None:
    """One step of recursive least squares."""
    size, forget = ORDER + 1, 0.9995
    z, gain = np.ones(size), np.zeros(size)
    for lag in range(ORDER):
        z[lag] = (residual[RECENT - 1 - lag] - s[AMU]) / unit
    power = forget
    for i in range(size):
        for j in range(size):
            gain[i] += covariance[i * size + j] * z[j]
        power += z[i] * gain[i]
    trace = 0.0
    for i in range(size):
        weights[i] += gain[i] / power * e
        for j in range(size):
            at = i * size + j
            covariance[at] = (covariance[at] - gain[i] * gain[j] / power) / forget
        trace += covariance[i * size + i]
    if not (0.0 < trace < 1e5 * size):  # wound up by a series that hardly moves
        covariance[:] = 0.0
        for i in range(size):
            covariance[i * size + i] = 100.0
    for i in range(size):
        if not abs(weights[i]) < 1e3:
            weights[:] = 0.0
            break
