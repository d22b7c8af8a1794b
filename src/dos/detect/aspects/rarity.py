"""How rare a value of a statistic is, by the histogram of its own past."""

from __future__ import annotations

import math

import numpy as np

from dos.detect.aspects.state import (
    BINS,
    COUNT,
    LOWEST,
    MEMORY,
    NEEDED,
    ODD,
    ODD_WEIGHT,
    PER_OCTAVE,
    SHAPE,
    SHAPE_WEIGHT,
    TAIL,
    YOUNG,
)
from dos.kit.compiled import compiled
from dos.model.telemetry import Float32Array, Float64Array


@compiled
def rarities(
    stat: Float64Array, histogram: Float32Array, total: Float32Array, out: Float64Array
) -> None:
    """-log10 of the share of the past that is as odd, for each statistic; 0 where unknown."""
    step = math.log(2.0) / PER_OCTAVE
    for place in range(COUNT):
        out[place] = 0.0
        value, known = stat[place], total[place]
        if math.isnan(value) or known < NEEDED:
            continue
        at = bin_of(value)
        mine = min(int(at), BINS - 1)
        base = place * BINS
        needed, above, edge = max(4.0, TAIL * known), 0.0, BINS - 1
        excess = 0.0
        while edge > 0:
            held = histogram[base + edge]
            excess += above + 0.5 * held  # each step down adds one bin to all excesses above
            above += held
            if above >= needed:
                break
            edge -= 1
        if at > edge:
            shape = (excess * step + SHAPE_WEIGHT * SHAPE) / (above + SHAPE_WEIGHT)
            share = (above + 0.5) / (known + 1.0)
            out[place] = -math.log10(share) + (at - edge) * step / shape / math.log(10.0)
        else:
            above = histogram[base + mine] * (mine + 1 - at)
            for other in range(mine + 1, BINS):
                above += histogram[base + other]
            out[place] = -math.log10(min(1.0, (above + 0.5) / (known + 1.0)))


@compiled
def count_in(
    value: float,
    rarity: float,
    weight: float,
    histogram: Float32Array,
    total: Float32Array,
    place: int,
) -> None:
    """Count a value in its histogram, less the odder and the more abnormal it is."""
    share = weight
    if rarity > ODD:  # while little is known, the odd may well be usual
        share *= max(ODD_WEIGHT, 1.0 / (1.0 + (total[place] / YOUNG) ** 2))
    base = place * BINS
    if total[place] > MEMORY:
        keep = np.float32(MEMORY / (MEMORY + 1.0))
        for other in range(base, base + BINS):
            histogram[other] *= keep
        total[place] *= keep
    histogram[base + min(int(bin_of(value)), BINS - 1)] += share
    total[place] += share


@compiled
def bin_of(value: float) -> float:
    """Place of a value in the histogram of logarithms, with its fraction."""
    return max(0.0, (math.log2(value + 1e-12) - LOWEST) * PER_OCTAVE)
