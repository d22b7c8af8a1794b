"""Many calm series at a time: the everyday pass as arithmetic that vector units can do.

A chunk of `WIDTH` series lies in arrays with a stretch of `WIDTH` numbers for each field, so that
the loop in `calm` has no calls and no branches and runs on several series per instruction. It does
what `dos.detect.fused` does for a sample that is near the one before, of a series that is well
and stays so, with the same operations in the same order and so with the same bits. Any other
lane it marks as odd. What it computes goes into a second array: the first still has the lanes as
they were, for the odd ones.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dos.kit.clock import HOUR
from dos.kit.compiled import compiled
from dos.model.telemetry import Float64Array

WIDTH = 64
"""Series of a chunk; the fields of one take 17 KB, which stays in the nearest cache."""
HALF = HOUR // 2
_HALF = float(HALF)
_PER_HOUR = 1.0 / HOUR
MEAN_TO_SIGMA = float(np.sqrt(np.pi / 2))
"""Sigma of a normal distribution over its mean absolute deviation."""
TINY = 1e-9
MAX_DEVIATION = 1e3
WILDEST = 8.0
"""A single deviation counts no more in the mean of the last ones."""
NEAR = 1.5
"""Deviations below it take that mean back soon."""
NEARLY = 0.99
"""A sample this close to the threshold is looked at with care."""

# Where fields begin in the array of what a sample brings and what seldom changes:
VALUE, SCALED, AT, TROUBLED = 0 * WIDTH, 1 * WIDTH, 2 * WIDTH, 3 * WIDTH
RELATIVE_FLOOR, ABSOLUTE_FLOOR = 4 * WIDTH, 5 * WIDTH
RELATIVE_CREEP, ABSOLUTE_CREEP = 6 * WIDTH, 7 * WIDTH
ABOVE, BELOW, CERTAIN, SCALE = 8 * WIDTH, 9 * WIDTH, 10 * WIDTH, 11 * WIDTH
RISE, START, LOG, ODD = 12 * WIDTH, 13 * WIDTH, 14 * WIDTH, 15 * WIDTH
GIVEN = 16
"""Fields; sides and flags are 1 or 0, `START` is when the half hour of the last sample began."""
# The same in the arrays of what changes with every sample:
SAMPLES, LEVEL, SLOW, SPREAD = 0 * WIDTH, 1 * WIDTH, 2 * WIDTH, 3 * WIDTH
LAST, STEP, SUM, COUNT = 4 * WIDTH, 5 * WIDTH, 6 * WIDTH, 7 * WIDTH
INVERSE, TAIL, STRAYING = 8 * WIDTH, 9 * WIDTH, 10 * WIDTH
EXPECTED, SIGMA, DISTANCE, LIMIT, NEWEST = (
    11 * WIDTH, 12 * WIDTH, 13 * WIDTH, 14 * WIDTH, 15 * WIDTH
)  # fmt: skip
MEAN, LASTING, LINGERING = 16 * WIDTH, 17 * WIDTH, 18 * WIDTH
KNOWN = 19
"""Fields; `INVERSE` is one over the samples, `SIGMA` NaN where the newest was not judged."""


class Pace(NamedTuple):
    """Parameters that the loop needs, as floats."""

    level_rate: float
    spread_rate: float
    slow_rate: float
    warm_up: float
    settled: float
    creep_after: float
    clip: float
    minimum: float
    margin: float
    up: float
    down: float
    lowest: float
    highest: float
    lasting: float
    lasting_rate: float
    lasting_calm: float


@compiled
def calm(  # noqa: PLR0915  one loop: what is in several is not done in registers
    lane: Float64Array, known: Float64Array, then: Float64Array, p: Pace
) -> int:
    """Take one sample of every lane; how many are odd.

    What is known after the sample is written to `then`, and is wrong for odd lanes. A lane is
    odd if there is no number, the baseline is young or not near, the
    sample is beyond the threshold or nearly so, or the series is in trouble or has crept away.
    """
    odds = 0
    for j in range(WIDTH):
        x, at, n, tail = lane[SCALED + j], lane[AT + j], known[SAMPLES + j], known[TAIL + j]
        gap = at - known[LAST + j]
        drift = lane[RISE + j] * (gap * _PER_HOUR)
        carried, slow = known[LEVEL + j] + drift, known[SLOW + j] + drift
        relative, reach = lane[RELATIVE_CREEP + j] * abs(slow), lane[ABSOLUTE_CREEP + j]
        reach = max(reach, relative)
        low = min(x, carried)
        high = max(x, carried)
        crept = ((low - slow > reach) | (slow - high > reach)) & (n >= p.creep_after)
        relative, floor = lane[RELATIVE_FLOOR + j] * abs(carried), lane[ABSOLUTE_FLOOR + j]
        floor = max(floor, relative)
        noise = known[SPREAD + j] * MEAN_TO_SIGMA
        noise = max(floor, noise)
        noise = max(TINY, noise)
        inverse = known[INVERSE + j]
        sigma = noise * (1.0 + 8.0 * inverse) if n < p.settled else noise
        z = (x - carried) / sigma
        z = max(-MAX_DEVIATION, z)
        z = min(MAX_DEVIATION, z)
        ready = n >= p.warm_up
        distance = (z * lane[ABOVE + j] if z > 0.0 else -z * lane[BELOW + j]) + 0.0  # never -0.0
        distance = distance if ready else 0.0
        bound = p.margin * tail
        capped = bound * sigma > lane[CERTAIN + j]
        wild = z if ready else 0.0
        wild = max(-WILDEST, wild)
        wild = min(WILDEST, wild)
        rate = p.lasting_calm if abs(wild) < NEAR else p.lasting_rate
        mean = known[MEAN + j]
        mean = float(np.float32(mean + rate * (wild - mean)))
        away = (mean * lane[ABOVE + j] if mean > 0.0 else -mean * lane[BELOW + j]) + 0.0
        lasting = known[LASTING + j]
        usual = p.margin * lasting
        most_away = max(p.lasting, usual) * lane[SCALE + j]
        limit = (max(p.minimum, bound)) * lane[SCALE + j]
        odd = np.isnan(x) | (n < 2.0) | (at < lane[START + j]) | (at >= lane[START + j] + _HALF)
        odd = odd | (away > NEARLY * most_away)
        odd = odd | crept | capped | (distance > NEARLY * limit) | (lane[TROUBLED + j] > 0.0)
        lane[ODD + j] = 1.0 if odd else 0.0
        odds += 1 if odd else 0
        innovation = x - carried
        most = p.clip * noise if ready else np.inf
        innovation = min(most, innovation)
        innovation = max(-most, innovation)
        following = 1.0 / (n + 1.0)
        rate = max(following, p.level_rate)
        level = carried + rate * innovation
        rate = max(inverse, p.spread_rate)
        spread = known[SPREAD + j] + rate * (abs(innovation) - known[SPREAD + j])
        most = reach / 3.0 if n >= p.creep_after else np.inf
        creep = x - slow
        creep = min(most, creep)
        creep = max(-most, creep)
        rate = max(following, p.slow_rate)
        beyond = distance > tail
        moved = tail * (p.up if beyond else p.down)
        moved = max(p.lowest, moved)
        moved = min(p.highest, moved)
        held = (beyond & (known[STRAYING + j] > 0.0)) | (not ready)
        moved = tail if held else float(np.float32(moved))
        further = away > lasting
        grown = lasting * (p.up if further else p.down)
        least = p.lasting / p.margin / 2.0
        grown = max(least, grown)
        grown = min(20.0 * p.lasting, grown)
        held = (further & (known[LINGERING + j] > 0.0)) | (not ready)
        grown = lasting if held else float(np.float32(grown))
        leads = away * limit > distance * most_away
        usual = known[STEP + j]
        longest = min(4.0 * usual, gap)
        step = float(np.float32(usual + 0.05 * (longest - usual))) if gap > 0.0 else usual
        more = min(p.settled, n + 1.0)
        then[LEVEL + j], then[SLOW + j] = level, slow + rate * creep
        then[SPREAD + j] = float(np.float32(spread))
        then[TAIL + j], then[STRAYING + j] = moved, 1.0 if beyond else 0.0
        then[STEP + j], then[LAST + j] = step, at
        then[SUM + j], then[COUNT + j] = known[SUM + j] + level, known[COUNT + j] + 1.0
        then[SAMPLES + j], then[INVERSE + j] = more, following
        then[EXPECTED + j], then[SIGMA + j] = carried, sigma if ready else np.nan
        then[DISTANCE + j] = away if leads else distance
        then[LIMIT + j] = most_away if leads else limit
        then[MEAN + j], then[LASTING + j] = mean, grown
        then[LINGERING + j] = 1.0 if further else 0.0
        then[NEWEST + j] = lane[VALUE + j]
    return odds
