"""One number from all rarities: a small network over what they are and lately were.

The inputs are the rarity of each statistic, the largest few of them together, and exponentially
weighted means of all of these over about 4, 17 and 70 samples: a spike is one sample of many rare
statistics, a slow trouble is a long stretch of a few slightly rare ones. No input knows the unit
of the series, its name or its size.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from dos.detect.aspects.state import COUNT
from dos.kit.compiled import compiled
from dos.model.telemetry import Float32Array, Float64Array

TOGETHER = 5
"""Largest rarity, second largest, mean of three, of six, and of all."""
HALF_LIVES = (3.0, 12.0, 48.0)
_RATES = tuple(1.0 - 0.5 ** (1.0 / half_life) for half_life in HALF_LIVES)
_SPANS = len(HALF_LIVES)
_WIDE = COUNT + TOGETHER
INPUTS = (1 + _SPANS) * _WIDE
MEMORY = _SPANS * _WIDE
"""Numbers that are remembered of each series."""


class Weights(NamedTuple):
    """Of the network: one hidden layer of tanh, and a straight way past it."""

    mean: Float64Array
    spread: Float64Array
    """`[input]` to standardise with."""
    hidden: Float64Array
    """`[unit, input]`."""
    bias: Float64Array
    """`[unit]`."""
    upper: Float64Array
    """`[unit]`."""
    straight: Float64Array
    """`[input]`."""
    offset: Float64Array
    """`[1]`."""


@compiled
def summed_up(rarity: Float64Array, memory: Float32Array, inputs: Float64Array) -> None:
    """Fill `inputs` for the newest sample; `memory` is as it was before it."""
    for place in range(COUNT):
        inputs[place] = rarity[place]
    ranked = np.sort(rarity)
    last = COUNT - 1
    inputs[COUNT] = ranked[last]
    inputs[COUNT + 1] = ranked[last - 1]
    inputs[COUNT + 2] = ranked[last - 2 :].mean()
    inputs[COUNT + 3] = ranked[last - 5 :].mean()
    inputs[COUNT + 4] = ranked.mean()
    for span in range(_SPANS):
        for place in range(_WIDE):
            before = memory[span * _WIDE + place]
            inputs[(1 + span) * _WIDE + place] = before + _RATES[span] * (inputs[place] - before)
    for place in range(INPUTS):
        inputs[place] = math.log1p(max(inputs[place], 0.0))


@compiled
def keep_in_mind(rarity: Float64Array, memory: Float32Array) -> None:
    """Move the means on by one sample."""
    inputs = np.empty(INPUTS)
    summed_up(rarity, memory, inputs)
    for place in range(MEMORY):
        memory[place] = math.expm1(inputs[_WIDE + place])


@compiled
def odds(inputs: Float64Array, weights: Weights) -> float:
    """Log-odds that the sample is abnormal, as far as the examples of the training tell."""
    total = float(weights.offset[0])
    count = len(inputs)
    scaled = np.empty(count)
    for place in range(count):
        scaled[place] = (inputs[place] - weights.mean[place]) / weights.spread[place]
        total += weights.straight[place] * scaled[place]
    for unit in range(len(weights.bias)):
        inner = float(weights.bias[unit])
        for place in range(count):
            inner += weights.hidden[unit, place] * scaled[place]
        total += weights.upper[unit] * math.tanh(inner)
    return total
