"""Many calm series at a time: the everyday pass as arithmetic that vector units can do.

A chunk of `WIDTH` series lies in arrays with a stretch of `WIDTH` numbers for each field, so that
the loops of `calm` have no calls and no branches and run on several series per instruction. They do
what `dos.detect.fused` does for a sample of a series that is well and stays so, with the same
operations in the same order and so with the same bits. Any other lane is marked as odd and keeps
what it knows.

There are several loops, not one: a processor overlaps the turns of a short loop, while one long
chain of operations waits for itself, and what does not fit in registers goes to memory anyway.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dos.kit.clock import HOUR
from dos.kit.compiled import lean
from dos.model.telemetry import Float64Array

WIDTH = 64
"""Series of a chunk; the fields of one take 26 KB, which stays in the nearest cache."""
HALF = HOUR // 2
_HALF = float(HALF)
_PER_HOUR = 1.0 / HOUR
MEAN_TO_SIGMA = float(np.sqrt(np.pi / 2))
"""Sigma of a normal distribution over its mean absolute deviation."""
THIRD = 1.0 / 3.0
"""Of what a series may creep: how far one sample takes its slow level at most."""
TINY = 1e-9
MAX_DEVIATION = 1e3
WILDEST = 8.0
"""A single deviation counts no more in the mean of the last ones."""
NEAR = 1.5
"""Deviations below it take that mean back soon."""
NEARLY = 0.99
"""A sample this close to the threshold is looked at with care."""

# Where the fields of a series begin. What seldom changes:
VALUE, SCALED, AT, TROUBLED = 0 * WIDTH, 1 * WIDTH, 2 * WIDTH, 3 * WIDTH
RELATIVE_FLOOR, ABSOLUTE_FLOOR = 4 * WIDTH, 5 * WIDTH
RELATIVE_CREEP, ABSOLUTE_CREEP = 6 * WIDTH, 7 * WIDTH
ABOVE, BELOW, CERTAIN, SCALE = 8 * WIDTH, 9 * WIDTH, 10 * WIDTH, 11 * WIDTH
RISE, START, LOG = 12 * WIDTH, 13 * WIDTH, 14 * WIDTH
"""Sides and flags are 1 or 0; `START` is when the half hour of the last sample began."""
# What changes with every sample:
SAMPLES, LEVEL, SLOW, SPREAD = 15 * WIDTH, 16 * WIDTH, 17 * WIDTH, 18 * WIDTH
LAST, STEP, SUM, COUNT = 19 * WIDTH, 20 * WIDTH, 21 * WIDTH, 22 * WIDTH
INVERSE, TAIL, STRAYING = 23 * WIDTH, 24 * WIDTH, 25 * WIDTH
MEAN, LASTING, LINGERING = 26 * WIDTH, 27 * WIDTH, 28 * WIDTH
NEWEST = 29 * WIDTH
"""`INVERSE` is one over the samples."""
# What was said of the newest sample, of it alone and of the mean of the last:
EXPECTED, SIGMA, DISTANCE, LIMIT, AWAY, MOST = (
    30 * WIDTH, 31 * WIDTH, 32 * WIDTH, 33 * WIDTH, 34 * WIDTH, 35 * WIDTH
)  # fmt: skip
"""`SIGMA` is NaN where it was not judged."""
# What one loop tells the next:
ODD, DRIFT, DEVIATION, NOISE, SLOWED, REACH = (
    36 * WIDTH, 37 * WIDTH, 38 * WIDTH, 39 * WIDTH, 40 * WIDTH, 41 * WIDTH
)  # fmt: skip
# What was known before the sample, if anybody asked to `remember` it:
WAS_LAST, WAS_SUM, WAS_COUNT = 42 * WIDTH, 43 * WIDTH, 44 * WIDTH
WAS_EXPECTED, WAS_SIGMA, WAS_DISTANCE, WAS_LIMIT, WAS_AWAY, WAS_MOST = (
    45 * WIDTH, 46 * WIDTH, 47 * WIDTH, 48 * WIDTH, 49 * WIDTH, 50 * WIDTH
)  # fmt: skip
FIELDS = 51


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


@lean
def moved(lane: Float64Array) -> int:
    """How the daily shape moves each level; how many lanes have no sample in the same half hour.

    Those are marked as odd, and their drift is wrong.
    """
    turned = 0
    for j in range(WIDTH):
        at, start = lane[AT + j], lane[START + j]
        lane[DRIFT + j] = lane[RISE + j] * ((at - lane[LAST + j]) * _PER_HOUR)
        away = (at < start) | (at >= start + _HALF)
        lane[ODD + j] = 1.0 if away else 0.0
        turned += 1 if away else 0
    return turned


@lean
def remember(lane: Float64Array) -> None:
    """Keep what is needed after the sample of lanes that have none, or begin another hour."""
    for j in range(WIDTH):
        lane[WAS_LAST + j] = lane[LAST + j]
        lane[WAS_SUM + j], lane[WAS_COUNT + j] = lane[SUM + j], lane[COUNT + j]
        lane[WAS_EXPECTED + j], lane[WAS_SIGMA + j] = lane[EXPECTED + j], lane[SIGMA + j]
        lane[WAS_DISTANCE + j], lane[WAS_LIMIT + j] = lane[DISTANCE + j], lane[LIMIT + j]
        lane[WAS_AWAY + j], lane[WAS_MOST + j] = lane[AWAY + j], lane[MOST + j]


@lean
def recall(lane: Float64Array, j: int) -> None:
    """What was said of the newest sample of a lane, which has no newer one."""
    lane[EXPECTED + j], lane[SIGMA + j] = lane[WAS_EXPECTED + j], lane[WAS_SIGMA + j]
    lane[DISTANCE + j], lane[LIMIT + j] = lane[WAS_DISTANCE + j], lane[WAS_LIMIT + j]
    lane[AWAY + j], lane[MOST + j] = lane[WAS_AWAY + j], lane[WAS_MOST + j]


@lean
def calm(lane: Float64Array, p: Pace) -> int:
    """Take one sample of every lane, given its drift; how many are odd.

    What was said of the newest sample is wrong for odd lanes. A lane is odd if it was marked so
    before, there is no number, the baseline is young, the sample is beyond the threshold or nearly
    so, or the series is in trouble or has crept away.
    """
    _look(lane, p)
    odds = _weigh(lane, p)
    _learn(lane, p)
    _pass(lane)
    return odds


@lean
def _look(lane: Float64Array, p: Pace) -> None:
    """Deviations, 0 for a series that is not judged yet; see `dos.detect.ewma.look`."""
    for j in range(WIDTH):
        x, n, drift = lane[SCALED + j], lane[SAMPLES + j], lane[DRIFT + j]
        carried, slow = lane[LEVEL + j] + drift, lane[SLOW + j] + drift
        relative, reach = lane[RELATIVE_CREEP + j] * abs(slow), lane[ABSOLUTE_CREEP + j]
        reach = max(reach, relative)
        low = min(x, carried)
        high = max(x, carried)
        crept = ((low - slow > reach) | (slow - high > reach)) & (n >= p.creep_after)
        relative, floor = lane[RELATIVE_FLOOR + j] * abs(carried), lane[ABSOLUTE_FLOOR + j]
        floor = max(floor, relative)
        noise = lane[SPREAD + j] * MEAN_TO_SIGMA
        noise = max(floor, noise)
        noise = max(TINY, noise)
        inverse = lane[INVERSE + j]
        sigma = noise * (1.0 + 8.0 * inverse) if n < p.settled else noise
        z = (x - carried) / sigma
        z = max(-MAX_DEVIATION, z)
        z = min(MAX_DEVIATION, z)
        odd = np.isnan(x) | (n < 2.0) | crept | (lane[TROUBLED + j] > 0.0) | (lane[ODD + j] > 0.0)
        lane[ODD + j] = 1.0 if odd else 0.0
        lane[DEVIATION + j] = z if n >= p.warm_up else 0.0
        lane[NOISE + j], lane[SLOWED + j], lane[REACH + j] = noise, slow, reach
        lane[EXPECTED + j], lane[SIGMA + j] = carried, sigma


@lean
def _weigh(lane: Float64Array, p: Pace) -> int:
    """Distances, thresholds and what they learn; see `dos.detect.judge`. How many are odd."""
    odds = 0
    for j in range(WIDTH):
        z, tail = lane[DEVIATION + j], lane[TAIL + j]
        above, below = lane[ABOVE + j], lane[BELOW + j]
        young, scale = lane[SAMPLES + j] < p.warm_up, lane[SCALE + j]
        distance = max(z * above, -z * below) + 0.0  # never -0.0
        bound = p.margin * tail
        capped = bound * lane[SIGMA + j] > lane[CERTAIN + j]
        limit = max(p.minimum, bound) * scale
        wild = max(-WILDEST, z)
        wild = min(WILDEST, wild)
        rate = p.lasting_calm if abs(wild) < NEAR else p.lasting_rate
        before = lane[MEAN + j]
        mean = float(np.float32(before + rate * (wild - before)))
        away = max(mean * above, -mean * below) + 0.0
        lasting = lane[LASTING + j]
        usual = p.margin * lasting
        most_away = max(p.lasting, usual) * scale
        odd = capped | (distance > NEARLY * limit) | (away > NEARLY * most_away)
        odd = odd | (lane[ODD + j] > 0.0)
        lane[ODD + j] = 1.0 if odd else 0.0
        odds += 1 if odd else 0
        beyond = distance > tail
        after = tail * (p.up if beyond else p.down)
        after = max(p.lowest, after)
        after = min(p.highest, after)
        straying = lane[STRAYING + j]
        held = (beyond & (straying > 0.0)) | young | odd
        lane[TAIL + j] = tail if held else float(np.float32(after))
        now = 1.0 if beyond else 0.0
        lane[STRAYING + j] = straying if odd else now
        further = away > lasting
        grown = lasting * (p.up if further else p.down)
        least = p.lasting / p.margin / 2.0
        grown = max(least, grown)
        grown = min(20.0 * p.lasting, grown)
        lingering = lane[LINGERING + j]
        held = (further & (lingering > 0.0)) | young | odd
        lane[LASTING + j] = lasting if held else float(np.float32(grown))
        now = 1.0 if further else 0.0
        lane[LINGERING + j] = lingering if odd else now
        lane[DISTANCE + j], lane[LIMIT + j] = distance, limit
        lane[AWAY + j], lane[MOST + j] = away, most_away
        lane[MEAN + j] = before if odd else mean
    return odds


@lean
def _learn(lane: Float64Array, p: Pace) -> None:
    """Levels and spreads after the sample; see `dos.detect.ewma.learn`."""
    for j in range(WIDTH):
        x, n, odd = lane[SCALED + j], lane[SAMPLES + j], lane[ODD + j] > 0.0
        carried, sigma, spread = lane[EXPECTED + j], lane[SIGMA + j], lane[SPREAD + j]
        level, before, slow = lane[LEVEL + j], lane[SLOW + j], lane[SLOWED + j]
        total, count = lane[SUM + j], lane[COUNT + j]
        ready = n >= p.warm_up
        innovation = x - carried
        most = p.clip * lane[NOISE + j] if ready else np.inf
        innovation = min(most, innovation)
        innovation = max(-most, innovation)
        following = 1.0 / (n + 1.0)
        rate = max(following, p.level_rate)
        level = level if odd else carried + rate * innovation
        inverse = lane[INVERSE + j]
        rate = max(inverse, p.spread_rate)
        wider = float(np.float32(spread + rate * (abs(innovation) - spread)))
        most = lane[REACH + j] * THIRD if n >= p.creep_after else np.inf
        creep = x - slow
        creep = min(most, creep)
        creep = max(-most, creep)
        rate = max(following, p.slow_rate)
        slow += rate * creep
        more = min(p.settled, n + 1.0)
        lane[LEVEL + j], lane[SLOW + j] = level, before if odd else slow
        lane[SPREAD + j] = spread if odd else wider
        lane[SUM + j] = total if odd else total + level
        lane[COUNT + j] = count if odd else count + 1.0
        lane[SAMPLES + j], lane[INVERSE + j] = n if odd else more, inverse if odd else following
        lane[SIGMA + j] = sigma if ready else np.nan


@lean
def _pass(lane: Float64Array) -> None:
    """Times: of the newest sample, and how long it usually is between two."""
    for j in range(WIDTH):
        at, last, usual = lane[AT + j], lane[LAST + j], lane[STEP + j]
        value, newest, odd = lane[VALUE + j], lane[NEWEST + j], lane[ODD + j] > 0.0
        gap = at - last
        longest = min(4.0 * usual, gap)
        step = float(np.float32(usual + 0.05 * (longest - usual)))
        lane[STEP + j] = step if (gap > 0.0) & (not odd) else usual
        lane[LAST + j] = last if odd else at
        lane[NEWEST + j] = newest if odd else value
