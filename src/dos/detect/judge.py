"""From how far a sample strays to the decision that a series is abnormal, compiled.

One row at a time: `limit_of` is the threshold (see `dos.detect.thresholds`), `decide` moves
evidence and hysteresis, `tail_after` learns how far healthy samples stray. A calm sample of a
series that is well leaves all of the decision's columns as they are, so that a tick reads them
and seldom writes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dos.detect.ewma import whole
from dos.detect.lanes import NEAR, WILDEST
from dos.kit.compiled import compiled, lean
from dos.model.telemetry import BoolArray, Float32Array, Float64Array, Int32Array, Int64Array

NOTHING, STARTED, WORSE, ENDED, EXHAUSTED = 0, 1, 2, 3, 4
"""What a decision changed; exhausted: what was abnormal for so long is the new normal."""


WORSENED = 1.3
"""An anomaly that became this many times as strong is reported again."""


class Rules(NamedTuple):
    """Parameters, as numbers."""

    minimum: float
    margin: float
    up: float
    """Factor by which the tracked quantile grows when a sample lies beyond it."""
    down: float
    """The same when it does not."""
    lowest: float
    highest: float
    confirm: float
    recover: int
    calm: float
    abnormal_weight: float
    relearn: int
    lasting: float
    """Least threshold for the mean of the last samples."""
    lasting_rate: float
    """How much of that mean a sample makes up; `lasting_calm` if it is near what was expected."""
    lasting_calm: float


class Side(NamedTuple):
    """Which side of the expected value is bad, and how far away is bad in any case."""

    above: bool
    below: bool
    certain: float
    scale: float
    """What feedback makes of the threshold."""


class Rows(NamedTuple):
    """The columns of the decision, `[series]` each."""

    above: BoolArray
    below: BoolArray
    certain: Float32Array
    scale: Float32Array
    evidence: Float32Array
    abnormal: BoolArray
    calm: Int32Array
    onset: Int64Array
    streak: Int32Array
    reported: Float32Array
    mean: Float32Array
    """Mean deviation of the last samples."""
    lasting: Float32Array
    """How far it strays in health."""
    lasting_before: Float32Array
    """The same before the stretch of wild samples that goes on."""
    lingering: BoolArray
    """Whether the newest mean was beyond it."""
    tail: Float32Array
    """How far healthy samples stray by the measure of the everyday detector."""
    tail_before: Float32Array
    """The same before the stretch of wild samples that goes on."""
    straying: BoolArray
    """Whether the newest sample was beyond it."""


class Opinions(NamedTuple):
    """What a detector says, `[sample]` each."""

    sigma: Float64Array
    """The detector's spread."""
    deviation: Float64Array
    """Signed distance from what it expected."""
    sure: BoolArray
    """Where that is measured by a bound of its own."""


@lean
def side_of(rows: Rows, i: int) -> Side:
    """What row `i` says of it."""
    certain, scale = np.float64(rows.certain[i]), np.float64(rows.scale[i])
    return Side(rows.above[i], rows.below[i], certain, scale)


@lean
def distance_of(side: Side, deviation: float) -> float:
    """|z| where the side matters for the role, else 0."""
    if deviation > 0.0:
        return deviation if side.above else 0.0
    return -deviation if side.below else 0.0


@lean
def limit_of(r: Rules, side: Side, tail: float, sigma: float, sure: bool) -> float:
    """Threshold for |z|; the lowest if the detector is `sure`.

    A past full of trouble must not teach that a quarter of all requests may fail: what is certain
    is abnormal as far as `minimum` allows.
    """
    reach = r.margin * tail
    if reach * sigma > side.certain:
        reach = side.certain / sigma
    return max(r.minimum, 0.0 if sure else reach) * side.scale


@lean
def tail_after(r: Rules, tail: float, straying: bool, distance: float) -> float:
    """The tracked quantile after one more healthy sample.

    A stretch beyond the tail counts once, or a slow ramp would push its limit ahead.
    """
    beyond = distance > tail
    if beyond and straying:
        return tail
    moved = tail * (r.up if beyond else r.down)
    return np.float64(np.float32(min(max(moved, r.lowest), r.highest)))


@lean
def mean_after(r: Rules, mean: float, deviation: float, abnormal: bool) -> float:
    """The mean deviation after one more sample.

    A single one counts `WILDEST` at most. One near what was expected takes the mean back soon, and
    at once where the series is abnormal, or a trouble that is over would linger.
    """
    z = min(max(deviation, -WILDEST), WILDEST)
    rate = r.lasting_rate
    if abs(z) < NEAR:
        rate = 1.0 if abnormal else r.lasting_calm
    return np.float64(np.float32(mean + rate * (z - mean)))


@lean
def lasting_limit(r: Rules, side: Side, lasting: float) -> float:
    """Threshold for the mean deviation."""
    return max(r.lasting, r.margin * lasting) * side.scale


@lean
def lasting_after(r: Rules, lasting: float, lingering: bool, distance: float) -> float:
    """As `tail_after`, for the mean deviation."""
    beyond = distance > lasting
    if beyond and lingering:
        return lasting
    lowest = r.lasting / r.margin / 2.0
    moved = lasting * (r.up if beyond else r.down)
    return np.float64(np.float32(min(max(moved, lowest), 20.0 * r.lasting)))


@lean
def decide(r: Rules, rows: Rows, i: int, strength: float, at: int) -> int:
    """`decide_by` where the same strength begins and ends an anomaly."""
    return decide_by(r, rows, i, strength, strength, at)


@lean
def decide_by(r: Rules, rows: Rows, i: int, strength: float, easing: float, at: int) -> int:
    """Move evidence and hysteresis of row `i`; what changed.

    One sample never gives more than 2, so that it takes two at least. `easing` is the strength
    that has to become calm for an anomaly to end.
    """
    beyond = strength >= 1.0
    before = np.float64(rows.evidence[i])
    if beyond and before == 0.0:
        rows.onset[i] = at
    after = before + min(strength, 2.0) if beyond else max(before - 1.0, 0.0)
    rows.evidence[i] = min(after, 2.0 * r.confirm)
    if not rows.abnormal[i]:
        if beyond and after >= r.confirm:
            rows.abnormal[i] = True
            rows.calm[i] = 0
            rows.streak[i] = 0
            rows.reported[i] = strength
            return STARTED
        return NOTHING
    rows.calm[i] = rows.calm[i] + 1 if easing < r.calm else 0
    rows.streak[i] += 1
    exhausted = rows.streak[i] >= r.relearn
    if exhausted or rows.calm[i] >= r.recover:
        rows.abnormal[i] = False
        rows.evidence[i] = 0.0
        return EXHAUSTED if exhausted else ENDED
    if strength >= WORSENED * np.float64(rows.reported[i]):
        rows.reported[i] = strength
        return WORSE
    return NOTHING


@compiled
def decide_rows(
    r: Rules,
    rows: Rows,
    row: Int32Array,
    strength: Float64Array,
    easing: Float64Array,
    at: Int64Array,
) -> Int32Array:
    """`decide_by` for one sample of each of `row`; what changed, `[sample]`."""
    changed = np.zeros(len(row), np.int32)
    for k in range(len(row)):
        i = whole(row[k])
        if rows.abnormal[i] or strength[k] >= 1.0 or rows.evidence[i] > 0.0:
            changed[k] = decide_by(r, rows, i, strength[k], easing[k], whole(at[k]))
    return changed


@lean
def tail_rows(
    r: Rules,
    tail: Float32Array,
    straying: BoolArray,
    row: Int32Array,
    distance: Float64Array,
    learns: BoolArray,
) -> None:
    """Learn the distances of one sample of each of `row` where `learns`."""
    for k in range(len(row)):
        i = whole(row[k])
        before = np.float64(tail[i])
        if learns[k]:
            tail[i] = tail_after(r, before, straying[i], distance[k])
        straying[i] = distance[k] > before


@compiled
def mean_rows(
    r: Rules, rows: Rows, row: Int32Array, deviation: Float64Array, strength: Float64Array
) -> Float64Array:
    """Take one deviation of each of `row` into its mean; how far the means are, `[sample]`.

    `strength` becomes the mean's where that is the stronger one.
    """
    distance = np.zeros(len(row))
    for k in range(len(row)):
        i = whole(row[k])
        side = side_of(rows, i)
        troubled = rows.evidence[i] > 0.0
        lasting = np.float64(rows.lasting_before[i] if troubled else rows.lasting[i])
        mean = mean_after(r, np.float64(rows.mean[i]), deviation[k], rows.abnormal[i])
        rows.mean[i] = mean
        distance[k] = distance_of(side, mean)
        if not np.isnan(strength[k]):
            strength[k] = max(strength[k], distance[k] / lasting_limit(r, side, lasting)) + 0.0
    return distance


@lean
def lasting_rows(
    r: Rules, rows: Rows, row: Int32Array, distance: Float64Array, learns: BoolArray
) -> None:
    """Learn how far the mean of each of `row` strays where `learns`."""
    for k in range(len(row)):
        i = whole(row[k])
        before = np.float64(rows.lasting[i])
        if learns[k]:
            rows.lasting[i] = lasting_after(r, before, rows.lingering[i], distance[k])
        rows.lingering[i] = distance[k] > before


@compiled
def weigh_rows(  # noqa: PLR0917  compiled functions know no keyword-only arguments
    r: Rules,
    rows: Rows,
    tail: Float32Array,
    before: Float32Array,
    row: Int32Array,
    own: Int32Array,
    said: Opinions,
    everyday: bool,
) -> tuple[Float64Array, Float64Array]:
    """Distance and threshold of one sample of each of `row`, `[sample]` each.

    Args:
        r: The parameters.
        rows: Columns of the engine.
        tail: Tails of the detector.
        before: The same before the stretch of wild samples that goes on, if one does: what it
            teaches takes effect when it is over.
        row: `[sample]` rows of the engine.
        own: `[sample]` the same series' rows in `tail`.
        said: What the detector says.
        everyday: Whether its scale is that on which something is certain.
    """
    distance, limit = np.empty(len(row)), np.empty(len(row))
    for k in range(len(row)):
        side = side_of(rows, row[k])
        if not everyday:
            side = Side(side.above, side.below, np.inf, side.scale)
        distance[k] = distance_of(side, said.deviation[k])
        known = np.float64((before if rows.evidence[row[k]] > 0.0 else tail)[own[k]])
        limit[k] = limit_of(r, side, known, said.sigma[k], said.sure[k])
    return distance, limit


@compiled
def weigh_close(
    rows: Rows, row: Int32Array, said: Opinions, fitted: Float64Array, least: float
) -> tuple[Float64Array, Float64Array]:
    """Distance and threshold of one sample of each of `row` by a detector that looks closely.

    Args:
        rows: Columns of the engine.
        row: `[sample]` rows of the engine.
        said: What the detector says.
        fitted: `[sample]` the deviation that is as rare as wanted.
        least: The lowest threshold.
    """
    distance, limit = np.empty(len(row)), np.empty(len(row))
    for k in range(len(row)):
        side = side_of(rows, whole(row[k]))
        distance[k] = distance_of(side, said.deviation[k])
        limit[k] = (least if said.sure[k] else max(least, fitted[k])) * side.scale
    return distance, limit
