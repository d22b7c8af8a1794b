"""Distance of the newest window, mean removed, to the nearest of a few usual patterns.

Online k-means (MacQueen, 1967), where a window unlike all patterns takes the place of the least
used one.
"""

from __future__ import annotations

import math

import numpy as np

from dos.detect.aspects.scale import sum_of, unit_of
from dos.detect.aspects.state import (
    BASE,
    JUDGED,
    MU,
    PATTERN_LENGTH,
    PATTERNS,
    RECENT,
    SD,
    USED,
    USUAL,
)
from dos.kit.compiled import compiled
from dos.model.telemetry import Float32Array, Float64Array


@compiled
def window_of(v: float, unit: float, recent: Float32Array, out: Float64Array) -> None:
    """The newest samples, their mean taken off, in units."""
    count = len(out)
    mean = (v + sum_of(recent[RECENT - count + 1 :])) / count
    for place in range(count - 1):
        out[place] = (recent[RECENT - count + 1 + place] - mean) / unit
    out[count - 1] = (v - mean) / unit


@compiled
def nearest_of(
    v: float, unit: float, s: Float64Array, recent: Float32Array, patterns: Float32Array
) -> tuple[float, int]:
    """Squared distance to the nearest of the usual patterns, and which it is."""
    window = np.empty(PATTERN_LENGTH)
    window_of(v, unit, recent, window)
    best, chosen = 1e30, -1
    for pattern in range(int(s[USED])):
        total = 0.0
        for place in range(PATTERN_LENGTH):
            total += (window[place] - patterns[pattern * PATTERN_LENGTH + place]) ** 2
            if total > best:
                break
        if total < best:
            best, chosen = total, pattern
    return best, chosen


@compiled
def learn_pattern(
    v: float,
    weight: float,
    s: Float64Array,
    recent: Float32Array,
    patterns: Float32Array,
    uses: Float32Array,
) -> None:
    """k-means online: move the nearest pattern; a new one takes the place of the least used."""
    unit = unit_of(s[SD], s[MU] + s[BASE])
    used = int(s[USED])
    squared, nearest = nearest_of(v, unit, s, recent, patterns)
    distance = math.sqrt(min(squared, 1e12) / PATTERN_LENGTH)
    novel = used < 2 or distance > 2.0 * s[USUAL]
    window = np.empty(PATTERN_LENGTH)
    window_of(v, unit, recent, window)
    if novel and (used < PATTERNS or distance < 6.0 * s[USUAL]) and weight > 0.2:
        chosen = used
        if used == PATTERNS:
            chosen = int(np.argmin(uses))
            for other in range(PATTERNS):
                uses[other] *= 0.999
        else:
            s[USED] = used + 1
        for place in range(PATTERN_LENGTH):
            patterns[chosen * PATTERN_LENGTH + place] = window[place]
        uses[chosen] = 1.0
    elif nearest >= 0 and not novel:
        rate = weight * max(1.0 / (uses[nearest] + 1.0), 0.02)
        for place in range(PATTERN_LENGTH):
            at = nearest * PATTERN_LENGTH + place
            patterns[at] += rate * (window[place] - patterns[at])
        uses[nearest] += weight
    if used > 0:
        s[JUDGED] += 1
        kept = distance if s[JUDGED] < 20 else min(distance, 4.0 * s[USUAL] + 1e-9)
        s[USUAL] += weight * max(1.0 / s[JUDGED], 1e-3) * (kept - s[USUAL])
