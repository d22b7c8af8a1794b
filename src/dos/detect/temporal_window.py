"""What the temporal network is shown: a window without unit or size, and what it is compared with.

A window of the newest samples is centred on its median and divided by its mean absolute deviation,
and large values are compressed by asinh, so that one network serves any metric. What is lost by
that (is this the usual level? is this the usual noise?) comes back as nine numbers that compare the
window with a *memory*: samples and changes of a longer past, thinned out.

The functions are per row and the same in training and in serving; all arithmetic is in float64, the
results are float32. Cost: about 6 µs a row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from dos.kit.compiled import compiled
from dos.model.telemetry import Float32Array, Float64Array, Int64Array

WINDOW = 60
"""Samples the network looks at."""
MEMORY = 64
"""Samples of the longer past it is compared with."""
FEATURES = 9
"""Numbers that compare the window with the memory."""
LEVELS = (0.005, 0.05, 0.25, 0.5, 0.75, 0.95, 0.995)
"""Quantiles that are forecast; the median is in the middle."""

_LARGEST = 1e100
"""Values are clipped here, so that no sum overflows."""
_RECALL = 8
"""Samples in memory before it is compared with."""
_FAR = 1e6
_QUANTILES = np.array([0.02, 0.25, 0.5, 0.75, 0.98])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Described:
    """Windows as the network takes them, and how to get back to the series' unit."""

    window: Float32Array
    """`[row, time]`, centred, scaled and compressed."""
    memory: Float32Array
    """`[row, FEATURES]`; all 0 where there is no memory yet."""
    location: Float64Array
    scale: Float64Array
    """`[row]` median, and mean absolute deviation with its floor, in the series' unit."""

    def to_unit(self, compressed: Float64Array) -> Float64Array:
        """`[row, …]` on the network's scale back in the series' unit."""
        shape = (-1,) + (1,) * (compressed.ndim - 1)
        far = np.sinh(np.clip(compressed, -12.0, 12.0))
        unit: Float64Array = self.location.reshape(shape) + self.scale.reshape(shape) * far
        return unit


def describe(
    window: Float64Array, values: Float64Array, changes: Float64Array, filled: Int64Array
) -> Described:
    """Describe windows.

    Args:
        window: `[row, time]` finite, oldest first; any number of samples from 2.
        values: `[row, MEMORY]` samples of the longer past, in any order.
        changes: `[row, MEMORY]` how far each was from the sample before it, not negative.
        filled: `[row]` how many of these there are, from the left.
    """
    rows, length = window.shape
    out = _Out(
        window=np.empty((rows, length), np.float32),
        memory=np.zeros((rows, FEATURES), np.float32),
        location=np.empty(rows),
        scale=np.empty(rows),
    )
    _describe(window, values, changes, filled, out)
    return Described(**out._asdict())


class _Out(NamedTuple):
    """What `_describe` fills."""

    window: Float32Array
    memory: Float32Array
    location: Float64Array
    scale: Float64Array


@compiled
def _median(ordered: Float64Array) -> float:
    """Of sorted values; the upper one of two, which is a value that occurred."""
    return ordered[len(ordered) // 2]  # type: ignore[no-any-return]  # a number


@compiled
def _describe(
    window: Float64Array,
    values: Float64Array,
    changes: Float64Array,
    filled: Int64Array,
    out: _Out,
) -> None:
    features = out.memory
    rows, length = window.shape
    moved = np.empty(length - 1)
    for row in range(rows):
        clipped = np.minimum(np.maximum(window[row], -_LARGEST), _LARGEST)
        middle = _median(np.sort(clipped))
        spread = float(np.mean(np.abs(clipped - middle)))
        for place in range(1, length):
            moved[place - 1] = abs(clipped[place] - clipped[place - 1])
        count = filled[row]
        floor = float(max(1e-9 * abs(middle), 1e-290))
        if count >= _RECALL:
            past = np.sort(np.minimum(np.maximum(values[row, :count], -_LARGEST), _LARGEST))
            usual = _median(past)
            width = float(np.mean(np.abs(past - usual)))
            steps = np.sort(np.minimum(changes[row, :count], _LARGEST))
            floor = max(floor, 0.05 * width)
            size = max(spread, floor)
            for k in range(5):
                at = int(_QUANTILES[k] * (count - 1) + 0.5)
                away = (past[at] - middle) / size
                features[row, k] = np.arcsinh(min(max(away, -_FAR), _FAR))
            now = np.sort(moved)
            tiny = 1e-3 * size
            features[row, 5] = np.log((spread + tiny) / (width + tiny))
            for k in range(2):
                share = 0.5 + 0.4 * k
                recent = now[int(share * (length - 2) + 0.5)]
                before = steps[int(share * (count - 1) + 0.5)]
                features[row, 6 + k] = np.log((recent + tiny) / (before + tiny))
            features[row, 8] = 1.0
        size = max(spread, floor)
        out.location[row] = middle
        out.scale[row] = size
        for place in range(length):
            out.window[row, place] = np.arcsinh((clipped[place] - middle) / size)
