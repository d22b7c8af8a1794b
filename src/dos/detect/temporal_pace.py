"""What the carried temporal network is shown of each sample, and the statistics that takes.

Where the windowed network reads sixty samples anew each time, the carried one keeps what it has
read as a state of its own and reads each sample once. It too knows no units: a sample is told by
its distances from a slow level, a fast level and the sample before, in slow, fast and step spreads
that each series learns as it goes (exponentially weighted, innovations clipped as in
`dos.detect.robust.Calibration`). Cost: about 50 ns a row.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dos.detect.columns import Column, Columns
from dos.detect.robust import real, whole
from dos.kit.compiled import compiled
from dos.model.telemetry import Float32Array, Float64Array, Int32Array, Int64Array

INPUTS = 6
"""Numbers that tell of a sample."""
LAYOUT = {
    "count": Column(dtype="<i8"),
    "before": Column(dtype="<f8"),
    "slow": Column(dtype="<f8"),
    "fast": Column(dtype="<f8"),
    "slow_spread": Column(dtype="<f8"),
    "fast_spread": Column(dtype="<f8"),
    "step_spread": Column(dtype="<f8"),
}
"""Samples learned, the last of them, levels, and mean absolute deviations."""

_SLOW, _FAST = 1.0 / 700.0, 1.0 / 30.0
"""Rates of the levels; their spreads move as fast."""
_CLIP = 5.0
"""Innovations are clipped at this many spreads once `_YOUNG` samples are known."""
_YOUNG = 20
_FAR = 1e6


def inputs(columns: Columns, row: Int32Array, value: Float64Array) -> Float32Array:
    """`[row, INPUTS]` of samples that are not learned yet."""
    out = np.empty((len(row), INPUTS), np.float32)
    _inputs(_state(columns), row, value, out)
    return out


def frame(columns: Columns, row: Int32Array) -> tuple[Float64Array, Float64Array]:
    """Location and scale `[row]` in which the next sample is forecast: see `size`."""
    state = _state(columns)
    scale = np.empty(len(row))
    _sizes(state, row, scale)
    return state.before[row], scale


def learn(columns: Columns, row: Int32Array, value: Float64Array, weight: Float64Array) -> None:
    """Move the statistics towards the samples, by their weight."""
    _learn(_state(columns), row, value, weight)


class _State(NamedTuple):
    """The columns of `LAYOUT`; `learned` is its `count`."""

    learned: Int64Array
    before: Float64Array
    slow: Float64Array
    fast: Float64Array
    slow_spread: Float64Array
    fast_spread: Float64Array
    step_spread: Float64Array


def _state(columns: Columns) -> _State:
    return _State(
        learned=whole(columns, "count"),
        before=real(columns, "before"),
        slow=real(columns, "slow"),
        fast=real(columns, "fast"),
        slow_spread=real(columns, "slow_spread"),
        fast_spread=real(columns, "fast_spread"),
        step_spread=real(columns, "step_spread"),
    )


@compiled
def _size(state: _State, at: int) -> float:
    """Smallest spread that distances are told in: a part of the slow one, and of the level."""
    part, level = float(state.slow_spread[at]), float(state.slow[at])
    return max(0.02 * part, 1e-9 * abs(level), 1e-290)


@compiled
def _sizes(state: _State, row: Int32Array, scale: Float64Array) -> None:
    for i in range(len(row)):
        scale[i] = max(state.step_spread[row[i]], _size(state, row[i]))


@compiled
def _away(distance: float, spread: float, least: float) -> float:
    """A distance in spreads, compressed."""
    far = distance / max(spread, least)
    return np.arcsinh(min(max(far, -_FAR), _FAR))  # type: ignore[no-any-return]  # a number


@compiled
def _inputs(state: _State, row: Int32Array, value: Float64Array, out: Float32Array) -> None:
    for i in range(len(row)):
        at, x = row[i], float(value[i])
        least = _size(state, at)
        if state.learned[at] == 0:
            out[i] = 0.0
            continue
        slow, fast = float(state.slow_spread[at]), float(state.fast_spread[at])
        step = float(state.step_spread[at])
        out[i, 0] = _away(x - float(state.slow[at]), slow, least)
        out[i, 1] = _away(x - float(state.fast[at]), fast, least)
        out[i, 2] = _away(x - float(state.before[at]), step, least)
        out[i, 3] = np.log((fast + least) / (slow + least))
        out[i, 4] = np.log((step + least) / (slow + least))
        out[i, 5] = min(state.learned[at], 200) / 200.0


@compiled
def _learn(state: _State, row: Int32Array, value: Float64Array, weight: Float64Array) -> None:
    for i in range(len(row)):
        at, x = row[i], float(value[i])
        seen = state.learned[at]
        if seen == 0:
            state.slow[at], state.fast[at] = x, x
            state.slow_spread[at], state.fast_spread[at], state.step_spread[at] = 0.0, 0.0, 0.0
        else:
            least = _size(state, at)
            young = 1.0 / (seen + 1.0)
            slow, fast = max(_SLOW, young) * weight[i], max(_FAST, young) * weight[i]
            clip = np.inf if seen < _YOUNG else _CLIP
            bound = clip * max(float(state.slow_spread[at]), least)
            gone = _clipped(x - float(state.slow[at]), bound)
            state.slow[at] += slow * gone
            state.slow_spread[at] += slow * (abs(gone) - state.slow_spread[at])
            bound = clip * max(float(state.fast_spread[at]), least)
            gone = _clipped(x - float(state.fast[at]), bound)
            state.fast[at] += fast * gone
            state.fast_spread[at] += fast * (abs(gone) - state.fast_spread[at])
            bound = clip * max(float(state.step_spread[at]), least)
            gone = _clipped(x - float(state.before[at]), bound)
            state.step_spread[at] += slow * (abs(gone) - state.step_spread[at])
        state.before[at] = x
        state.learned[at] = seen + 1


@compiled
def _clipped(value: float, bound: float) -> float:
    return min(max(value, -bound), bound)
