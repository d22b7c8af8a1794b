"""Conformal p-values: how many of a series' own healthy deviations are at least as large.

The p-value of a deviation is the weighted share of past ones that reach it, the deviation itself
included, which is valid whatever their distribution. Old ones weigh less, so that it stays nearly
valid while the series drifts (Barber, Candes, Ramdas & Tibshirani, *Conformal prediction beyond
exchangeability*, Annals of Statistics 51, 2023, eq. 11). Where even that is not enough the level
itself is corrected by what it led to: adaptive conformal inference (Gibbs & Candes, *Adaptive
Conformal Inference Under Distribution Shift*, NeurIPS 2021, eq. 2).

A p-value is never below one over the weight of what was seen, so it needs no assumption about the
tail and says nothing about it; `dos.detect.evt` does the opposite. The past is kept as a histogram
with geometric bins: a deviation counts as reached by everything in its own bin, which errs on the
safe side. 32 bins a series, 132 bytes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple, cast

import numpy as np

from dos.detect.columns import Column, Columns
from dos.kit.compiled import compiled
from dos.model.telemetry import BoolArray, Float32Array, Float64Array, Int32Array

BINS = 32
_FIRST = 0.25
"""Deviations below it are all in the first bin."""
_RATIO = 2.0**0.25
"""Between the edges of neighbouring bins; the last begins at 45."""
_LOG_RATIO = math.log(_RATIO)

LAYOUT: Mapping[str, Column] = {
    "weight": Column(dtype="<f4", width=BINS),
    "level": Column(dtype="<f4", initial=float("nan")),
}


class Table(NamedTuple):
    """The columns, `[series]` each."""

    weight: Float32Array
    """`[series, bin]` weight of past deviations."""
    level: Float32Array
    """The corrected level of each series; NaN before the first decision."""


def table_of(columns: Columns) -> Table:
    """The table in `columns`, which have `LAYOUT`; valid until they grow."""
    return Table(cast(Float32Array, columns["weight"]), cast(Float32Array, columns["level"]))


@compiled
def bin_of(deviation: float) -> int:
    """Which bin a deviation, 0 or more, belongs to."""
    if deviation < _FIRST:
        return 0
    return min(1 + int(math.log(deviation / _FIRST) / _LOG_RATIO), BINS - 1)


@compiled
def p_value(t: Table, i: int, deviation: float) -> float:
    """Weighted share of past deviations of row `i` that reach this one, itself included."""
    place = bin_of(deviation)
    reached, total = 0.0, 0.0
    for j in range(BINS):
        weight = float(t.weight[i, j])
        total += weight
        if j >= place:
            reached += weight
    return (reached + 1.0) / (total + 1.0)


@compiled
def take(t: Table, i: int, deviation: float, kept: float) -> None:
    """Learn one deviation of row `i`; what was learned before keeps the share `kept`."""
    for j in range(BINS):
        t.weight[i, j] *= kept
    t.weight[i, bin_of(deviation)] += 1.0


def kept_of(half_life: float) -> float:
    """The share of its weight that a sample keeps at the next, for a half-life in samples."""
    return float(0.5 ** (1.0 / half_life))


@compiled
def take_rows(
    t: Table, row: Int32Array, deviation: Float64Array, healthy: BoolArray, kept: float
) -> None:
    """Learn one deviation of each of `row` where it is `healthy` and finite."""
    for k in range(len(row)):
        if healthy[k] and np.isfinite(deviation[k]):
            take(t, int(row[k]), abs(deviation[k]), kept)


@compiled
def p_rows(t: Table, row: Int32Array, deviation: Float64Array) -> Float64Array:
    """`p_value` of one deviation of each of `row`; 1 where it is not finite."""
    out = np.ones(len(row))
    for k in range(len(row)):
        if np.isfinite(deviation[k]):
            out[k] = p_value(t, int(row[k]), abs(deviation[k]))
    return out


@compiled
def adapt_rows(
    t: Table, row: Int32Array, p: Float64Array, wanted: float, speed: float
) -> BoolArray:
    """Which p-values are below the level of their series; the levels learn from it.

    Gibbs & Candes (2021), eq. 2: after each decision the level rises by `speed` times the wanted
    share, less `speed` where it was an alarm. In the long run the share of alarms is the wanted
    one, however wrong the p-values are.

    Args:
        t: The columns.
        row: `[sample]` rows, without repeats.
        p: `[sample]` p-values.
        wanted: Share of samples that may be called abnormal, 0 to 1.
        speed: How fast levels are corrected, above 0; they are never off by more in the mean than
            1 over the number of samples times `speed`.
    """
    out = np.empty(len(row), np.bool_)
    for k in range(len(row)):
        i = int(row[k])
        level = float(t.level[i])
        if np.isnan(level):
            level = wanted
        out[k] = p[k] <= level
        moved = level + speed * (wanted - (1.0 if out[k] else 0.0))
        t.level[i] = min(max(moved, -1.0), 1.0)
    return out
