"""One number from all rarities: a small network over what they are and lately were.

The inputs are the rarity of each statistic, the largest few of them together, and exponentially
weighted means of all of these over about 4, 17 and 70 samples: a spike is one sample of many rare
statistics, a slow trouble is a long stretch of a few slightly rare ones. No input knows the unit
of the series, its name or its size.

What counts is the lesser of the last two samples' odds: what is real shows in the statistics of
the sample after it, too, and a single odd one is most often chance.
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
LATELY = _WIDE + COUNT + 3
"""Input that tells best alone whether something is wrong: the six rarest lately."""
INPUTS = (1 + _SPANS) * _WIDE
BEFORE = _SPANS * _WIDE
"""Place in the memory of the last sample's odds, behind the means."""
MEMORY = BEFORE + 1
"""Numbers that are remembered of each series."""
_TOP = 6


class Weights(NamedTuple):
    """Of the network: one hidden layer of tanh, and a straight way past it."""

    mean: Float64Array
    spread: Float64Array
    """`[input]` to standardise with."""
    hidden: Float64Array
    """`[input, unit]`."""
    bias: Float64Array
    """`[unit]`."""
    upper: Float64Array
    """`[unit]`."""
    straight: Float64Array
    """`[input]`."""
    offset: Float64Array
    """`[1]`."""


@compiled
def together(rarity: Float64Array, wide: Float64Array) -> None:
    """The rarities, and the largest few of them together."""
    top = np.zeros(_TOP)
    total = 0.0
    for place in range(COUNT):
        value = rarity[place]
        wide[place] = value
        total += value
        at = _TOP - 1
        if value > top[at]:
            while at > 0 and top[at - 1] < value:
                top[at] = top[at - 1]
                at -= 1
            top[at] = value
    three = top[0] + top[1] + top[2]
    wide[COUNT] = top[0]
    wide[COUNT + 1] = top[1]
    wide[COUNT + 2] = three / 3.0
    wide[COUNT + 3] = (three + top[3] + top[4] + top[5]) / 6.0
    wide[COUNT + 4] = total / COUNT


@compiled
def summed_up(rarity: Float64Array, memory: Float32Array, inputs: Float64Array) -> None:
    """Fill `inputs` for the newest sample; `memory` is as it was before it."""
    together(rarity, inputs)
    for span in range(_SPANS):
        for place in range(_WIDE):
            before = np.float64(memory[span * _WIDE + place])
            inputs[(1 + span) * _WIDE + place] = before + _RATES[span] * (inputs[place] - before)
    for place in range(INPUTS):
        inputs[place] = math.log1p(max(inputs[place], 0.0))


@compiled
def keep_in_mind(rarity: Float64Array, memory: Float32Array) -> None:
    """Move the means on by one sample."""
    wide = np.empty(_WIDE)
    together(rarity, wide)
    for span in range(_SPANS):
        for place in range(_WIDE):
            before = np.float64(memory[span * _WIDE + place])
            memory[span * _WIDE + place] = before + _RATES[span] * (wide[place] - before)


@compiled
def odds(inputs: Float64Array, weights: Weights) -> float:
    """Log-odds that the sample is abnormal, as far as the examples of the training tell."""
    total = float(weights.offset[0])
    inner = weights.bias.copy()
    for place in range(len(inputs)):
        scaled = (inputs[place] - weights.mean[place]) / weights.spread[place]
        total += weights.straight[place] * scaled
        # Over units inside, so that the processor's vector units are used.
        column = weights.hidden[place]
        for unit in range(len(inner)):
            inner[unit] += column[unit] * scaled
    for unit in range(len(inner)):
        total += weights.upper[unit] * math.tanh(inner[unit])
    return total
