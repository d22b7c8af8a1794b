"""How rare a deviation is, beyond what a series was ever seen to do: extreme value theory.

Deviations beyond a high quantile `t` follow, whatever their distribution, nearly a generalised
Pareto distribution (Pickands, Balkema, de Haan). So a few peaks over `t` tell how rare far larger
ones are, and which one is as rare as wanted: SPOT, and DSPOT where deviations are taken from a
level that moves, as ours are (Siffer, Fouque, Termier & Largouet, *Anomaly Detection in Streams
with Extreme Value Theory*, KDD 2017, eq. 1-2). Here `t` is tracked by stochastic approximation
(Robbins & Monro, 1951), the newest peaks are kept in a ring, and the two parameters come from
probability-weighted moments (Hosking & Wallis, *Parameter and Quantile Estimation for the
Generalized Pareto Distribution*, Technometrics 29, 1987, sec. 4), which need no search and are
better than likelihood for so few peaks.

State: 4 numbers and `PEAKS` peaks a series, 144 bytes. A sample below `t` costs a comparison.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple, cast

import numpy as np

from dos.detect.columns import Column, Columns
from dos.kit.compiled import compiled
from dos.model.telemetry import BoolArray, Float32Array, Float64Array, Int32Array

PEAKS = 32
"""Peaks kept of each series."""
ENOUGH = 8
"""Peaks from which on the tail is fitted; before, it is taken for exponential."""
LEVEL = 0.98
"""Quantile over which a deviation is a peak."""
_STEADY = 2_000
"""Samples after which the quantile moves by its smallest steps."""
_HEAVIEST = 0.9
"""The mean is infinite from a shape of 1 on; nothing measured says so."""
_LIGHTEST = -0.5
_SMALLEST = 1e-6

LAYOUT: Mapping[str, Column] = {
    "quantile": Column(dtype="<f4", initial=1.0),
    "seen": Column(dtype="<i4"),
    "beyond": Column(dtype="<i4"),
    "peak": Column(dtype="<f4", width=PEAKS),
}


class Table(NamedTuple):
    """The columns, `[series]` each."""

    quantile: Float32Array
    seen: Int32Array
    beyond: Int32Array
    peak: Float32Array
    """`[series, PEAKS]` newest peaks, in a ring."""


class Tail(NamedTuple):
    """A fitted tail."""

    start: float
    """Deviation beyond which it holds."""
    share: float
    """Of samples that lie beyond `start`, 0 to 1."""
    shape: float
    """Above 0 for heavy tails, 0 for exponential ones, below 0 where there is an end."""
    scale: float


def table_of(columns: Columns) -> Table:
    """The table in `columns`, which have `LAYOUT`; valid until they grow."""
    return Table(
        cast(Float32Array, columns["quantile"]),
        cast(Int32Array, columns["seen"]),
        cast(Int32Array, columns["beyond"]),
        cast(Float32Array, columns["peak"]),
    )


@compiled
def fit(excess: Float64Array) -> tuple[float, float]:
    """Shape and scale of the Pareto distribution that `excess`, ascending and above 0, is from.

    Hosking & Wallis (1987), eq. 4.1, with `k = -shape`: from `a0`, the mean, and `a1`, the mean
    weighted by the share of larger values.
    """
    count = len(excess)
    a0, a1 = 0.0, 0.0
    for j in range(count):
        a0 += excess[j]
        a1 += excess[j] * (count - 1 - j) / max(count - 1, 1)
    a0, a1 = a0 / count, a1 / count
    below = a0 - 2.0 * a1
    if below <= _SMALLEST * a0:  # heavier than any mean allows
        return _HEAVIEST, max(a0 * (1.0 - _HEAVIEST), _SMALLEST)
    shape = min(max(2.0 - a0 / below, _LIGHTEST), _HEAVIEST)
    # The scale that keeps the mean, also where the shape was out of bounds.
    return shape, max(a0 * (1.0 - shape), _SMALLEST)


@compiled
def tail_of(t: Table, i: int) -> Tail:
    """The tail of row `i` as its peaks say."""
    start = float(t.quantile[i])
    count = min(int(t.beyond[i]), PEAKS)
    share = 1.0 - LEVEL
    excess = np.empty(count)
    kept = 0
    for j in range(count):
        over = float(t.peak[i, j]) - start
        if over > 0.0:
            excess[kept] = over
            kept += 1
    if kept < ENOUGH:
        # Of a half-normal deviation, what lies beyond its 98 % quantile is 0.36 of it on average.
        return Tail(start, share, 0.0, max(0.36 * start, _SMALLEST))
    shape, scale = fit(np.sort(excess[:kept]))
    return Tail(start, share, shape, scale)


@compiled
def rarity(tail: Tail, deviation: float) -> float:
    """Share of samples that are at least as far out, 0 to 1 (Siffer et al., eq. 1).

    Below the start of the tail, where nothing was fitted, it is between the tail's share and 1.
    """
    over = deviation - tail.start
    if over <= 0.0:
        if tail.start <= 0.0:
            return 1.0
        return float(tail.share ** max(deviation / tail.start, 0.0))
    if abs(tail.shape) < 1e-6:
        return max(tail.share * math.exp(-over / tail.scale), 1e-300)
    inside = 1.0 + tail.shape * over / tail.scale
    if inside <= 0.0:  # beyond the end of a light tail
        return 1e-300
    return max(float(tail.share * inside ** (-1.0 / tail.shape)), 1e-300)


@compiled
def deviation_at(tail: Tail, wanted: float) -> float:
    """The deviation that a share `wanted` of samples reaches (Siffer et al., eq. 2)."""
    if wanted >= tail.share:
        return tail.start
    ratio = tail.share / wanted
    if abs(tail.shape) < 1e-6:
        return tail.start + tail.scale * math.log(ratio)
    return float(tail.start + tail.scale / tail.shape * (ratio**tail.shape - 1.0))


@compiled
def take(t: Table, i: int, deviation: float) -> None:
    """Learn one healthy deviation, 0 or more, of row `i`."""
    seen = int(t.seen[i])
    start = float(t.quantile[i])
    beyond = deviation > start
    # In log units: large steps while young, then small ones, balanced at the quantile.
    rate = max(1.0 / (1.0 + 0.02 * seen), 1.0 / (1.0 + 0.02 * _STEADY)) * 0.5
    step = rate * LEVEL if beyond else -rate * (1.0 - LEVEL)
    t.quantile[i] = max(start * math.exp(step), _SMALLEST)
    t.seen[i] = min(seen + 1, 1_000_000_000)
    if beyond:
        count = int(t.beyond[i])
        t.peak[i, count % PEAKS] = deviation
        t.beyond[i] = count + 1 if count < 1_000_000_000 else PEAKS


@compiled
def take_rows(t: Table, row: Int32Array, deviation: Float64Array, healthy: BoolArray) -> None:
    """Learn one deviation of each of `row` where it is `healthy` and finite."""
    for k in range(len(row)):
        if healthy[k] and np.isfinite(deviation[k]):
            take(t, int(row[k]), abs(deviation[k]))


@compiled
def judge_rows(
    t: Table, row: Int32Array, deviation: Float64Array, wanted: float
) -> tuple[Float64Array, Float64Array]:
    """What the tails of `row` say of one deviation of each.

    Returns:
        `[sample]` the deviation that a share `wanted` of samples reaches, and the rarity of the
        one at hand; NaN where that is not finite.
    """
    limit, rare = np.empty(len(row)), np.empty(len(row))
    for k in range(len(row)):
        tail = tail_of(t, int(row[k]))
        limit[k] = deviation_at(tail, wanted)
        rare[k] = rarity(tail, abs(deviation[k])) if np.isfinite(deviation[k]) else np.nan
    return limit, rare
