"""Half-Space Trees: shapes of the last few samples that hardly ever occur.

Tan, Ting & Liu, *Fast anomaly detection for streaming data* (IJCAI 2011). Each tree halves random
dimensions of a box again and again, without looking at data, and counts how many recent points
fell into each node (its mass). A point in nodes of little mass is anomalous: each tree gives mass
times 2^depth at the node where the mass becomes small (eq. 1). Masses of one window are the
reference while the next window is counted; then they change places. Other than the paper, trees
are averaged by the logarithm: in a sum the one tree whose cuts miss the anomaly drowns the rest.

A point is the lag window of a series in six numbers: the newest sample and those 1, 2 and 4
before it, and the differences over 1 and 4 samples, in robust sigmas of the series and squeezed
into (0, 1). So one forest serves every series; only the masses are a series' own. The average is
put on the scale of robust deviations by the series' own past. A shape
has no direction: deviations are not negative, and there is no band.

    >>> import numpy as np
    >>> from dos.testing.detectors import deviations
    >>> values = np.tile([0.0, 1.0, 3.0, 1.0], 300) + np.random.default_rng(1).normal(0, 0.1, 1200)
    >>> values[1000:1004] = [3.0, 1.0, 0.0, 3.0]  # usual values in an unusual order
    >>> z = deviations("half_space_trees", values)
    >>> bool(z[500:1000].max() < 6.0), bool(z[1000:1006].max() > 10.0)
    (True, True)

State: 2,677 bytes a series. Cost: 20 tree descents a sample to score, and to learn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, cast

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from dos.detect.base import Scored
from dos.detect.columns import Column, Columns
from dos.detect.robust import (
    FLOORS,
    Calibration,
    Pace,
    begin_again,
    clipped,
    floor_of,
    real,
    scaled,
    set_floors,
    unscaled,
    usable,
    whole,
)
from dos.kit.compiled import compiled
from dos.kit.plugins import Plugin
from dos.model.telemetry import (
    BoolArray,
    Float64Array,
    Int32Array,
    Int64Array,
    Series,
    UInt8Array,
)

_LAGS = 4
"""Samples before the newest that a point is made of."""
_NUMBERS = 6
"""Dimensions of a point."""
_LEAST = 0.35
"""Smallest spread of the logarithm of the score that is believed."""


class Config(BaseModel):
    """Parameters of the Half-Space Trees."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    trees: int = Field(default=10, ge=1, le=64)
    """Trees of the forest."""
    depth: int = Field(default=6, ge=1, le=10)
    """Times a tree halves the box."""
    window: int = Field(default=250, ge=16, le=255)
    """Points that are counted before the masses change places."""
    small: float = Field(default=0.1, gt=0, lt=1)
    """Share of the window below which a mass is small, so that a descent ends."""
    seed: int = Field(default=1, ge=0)
    """Of the random halvings."""
    half_life: int = Field(default=480, ge=2, le=100_000)
    """Samples after which half of what is known of level, spread and scores is forgotten."""
    warm_up: int = Field(default=64, ge=3, le=100_000)
    """Scores that must be known before one is judged."""


class HalfSpaceTrees:
    """See the module's text."""

    name = "half_space_trees"
    version = "1"

    def __init__(self, config: Config) -> None:
        self._config = config
        self._pace = Pace()
        self._value = Calibration(prefix="value", half_life=config.half_life, warm_up=16)
        self._usual = Calibration(
            prefix="usual", half_life=config.half_life, warm_up=config.warm_up
        )
        self._forest = _forest(config)

    def layout(self) -> Mapping[str, Column]:
        """Newest samples, masses, and what is usual."""
        masses = self._config.trees * (2 ** (self._config.depth + 1) - 1)
        return {
            **FLOORS,
            **self._pace.layout(),
            **self._value.layout(),
            **self._usual.layout(),
            "count": Column(dtype="<i8"),
            "lags": Column(dtype="<f8", width=_LAGS),
            "seen": Column(dtype="<i8"),
            "reference": Column(dtype="|u1", width=masses),
            "counted": Column(dtype="|u1", width=masses),
            "points": Column(dtype="<i4"),
            "total": Column(dtype="<i4"),
            "credit": Column(dtype="<f8"),
        }

    def prepare(self, columns: Columns, first: int, series: Sequence[Series]) -> None:
        """Take scale and floors from role and unit."""
        set_floors(columns, first, series)

    def score(
        self, columns: Columns, row: Int32Array, timestamp: Int64Array, value: Float64Array
    ) -> Scored:
        """How little mass there is where each point falls, against what is usual."""
        broken = self._pace.broken(columns, row, timestamp)
        point, known = self._point(columns, row, value, broken)
        rarity, known = self._rarity(columns, row, point, known)
        surplus = np.maximum(rarity - self._usual.level(columns, row), 0.0)
        sigma = self._usual.sigma(columns, row, _LEAST)
        ready = known & self._usual.ready(columns, row)
        unknown = np.full(len(row), np.nan)
        return Scored(
            deviation=clipped(np.where(ready, surplus / sigma, 0.0)),
            expected=unknown,
            sigma=unknown,
            ready=ready,
        )

    def learn(
        self,
        columns: Columns,
        row: Int32Array,
        timestamp: Int64Array,
        value: Float64Array,
        weight: Float64Array,
    ) -> None:
        """Learn how rare points are, and count this one."""
        use = usable(value)
        row, timestamp, value, weight = row[use], timestamp[use], value[use], weight[use]
        begin_again(columns, self.layout(), row)
        broken = self._pace.broken(columns, row, timestamp)
        point, whole_point = self._point(columns, row, value, broken)
        rarity, known = self._rarity(columns, row, point, whole_point)
        self._usual.learn(columns, row[known], rarity[known], weight[known], _LEAST)
        _count(
            row,
            point,
            # What is counted is forgotten after two windows anyway: less caution than elsewhere.
            np.where(whole_point, np.sqrt(weight), 0.0),
            self._forest,
            _masses(columns),
            self._config.window,
        )
        judged, seen = scaled(columns, row, value), whole(columns, "seen")
        self._value.learn(columns, row, judged, weight, floor_of(columns, row, judged))
        seen[row[broken]] = 0
        real(columns, "lags")[row, seen[row] % _LAGS] = judged
        seen[row] += 1
        self._pace.learn(columns, row, timestamp)
        whole(columns, "count")[row] += 1

    def to_unit(self, columns: Columns, row: Int32Array, scaled: Float64Array) -> Float64Array:
        """Undo the log scale."""
        return unscaled(columns, row, scaled)

    def _point(
        self, columns: Columns, row: Int32Array, value: Float64Array, broken: BoolArray
    ) -> tuple[Float64Array, BoolArray]:
        """`[sample, 6]` points in (0, 1), and whether all their samples are there."""
        seen = whole(columns, "seen")[row]
        known = usable(value) & ~broken & (seen >= _LAGS) & self._value.ready(columns, row)
        judged = np.where(known, scaled(columns, row, value), 0.0)
        level = self._value.level(columns, row)
        sigma = self._value.sigma(columns, row, floor_of(columns, row, level))
        order = (seen[:, None] - np.array([1, 2, 4])) % _LAGS
        lags = (real(columns, "lags")[row[:, None], order] - level[:, None]) / sigma[:, None]
        now = (judged - level) / sigma
        point = np.column_stack([now, lags, now - lags[:, 0], now - lags[:, 2]])
        return 0.5 + 0.5 * point / (1.0 + np.abs(point)), known

    def _rarity(
        self, columns: Columns, row: Int32Array, point: Float64Array, known: BoolArray
    ) -> tuple[Float64Array, BoolArray]:
        """Mean over trees of -log of (eq. 1) as a share of the window."""
        total = whole(columns, "total")[row]
        known = known & (total > 0)
        small = self._config.small * total.astype(np.float64)
        score = _descend(row, point, known, self._forest, _masses(columns), small)
        return np.log(np.maximum(total, 1)) - score / self._config.trees, known


class _Forest(NamedTuple):
    """Inner nodes, `[tree, node]`; the children of node n are 2n+1 and 2n+2."""

    dimension: Int32Array
    split: Float64Array


class _Masses(NamedTuple):
    """Columns, by row."""

    reference: UInt8Array
    counted: UInt8Array
    points: Int64Array
    total: Int64Array
    credit: Float64Array


def _masses(columns: Columns) -> _Masses:
    return _Masses(
        reference=cast(UInt8Array, columns["reference"]),
        counted=cast(UInt8Array, columns["counted"]),
        points=whole(columns, "points"),
        total=whole(columns, "total"),
        credit=real(columns, "credit"),
    )


def _forest(config: Config) -> _Forest:
    """Random trees.

    The box of a tree reaches around a random centre, twice as far as the farther end of the unit
    interval (section 3.1 of the paper), in each dimension; a cut halves what is left of it.
    """
    rng = np.random.default_rng(config.seed)
    inner = 2**config.depth - 1
    dimension = rng.integers(0, _NUMBERS, (config.trees, inner)).astype(np.int32)
    split = np.empty((config.trees, inner))
    for tree in range(config.trees):
        centre = rng.random(_NUMBERS)
        reach = 2.0 * np.maximum(centre, 1.0 - centre)
        low = np.tile(centre - reach, (2 * inner + 1, 1))
        high = np.tile(centre + reach, (2 * inner + 1, 1))
        for node in range(inner):
            axis = dimension[tree, node]
            split[tree, node] = 0.5 * (low[node, axis] + high[node, axis])
            for child in (2 * node + 1, 2 * node + 2):
                low[child], high[child] = low[node], high[node]
            high[2 * node + 1, axis] = low[2 * node + 2, axis] = split[tree, node]
    return _Forest(dimension, split)


@compiled
def _descend(
    row: Int32Array,
    point: Float64Array,
    known: BoolArray,
    forest: _Forest,
    masses: _Masses,
    small: Float64Array,
) -> Float64Array:
    """`[sample]` sum over trees of log(mass times 2^depth) where a descent ends."""
    dimension, split = forest.dimension, forest.split
    trees, inner = dimension.shape
    nodes = 2 * inner + 1
    score = np.zeros(len(row))
    for at in range(len(row)):
        if not known[at]:
            continue
        mass = masses.reference[row[at]]
        for tree in range(trees):
            node = 0
            depth = 0
            while node < inner and mass[tree * nodes + node] > small[at]:
                right = point[at, dimension[tree, node]] >= split[tree, node]
                node = 2 * node + (2 if right else 1)
                depth += 1
            score[at] += np.log((mass[tree * nodes + node] + 0.5) * 2.0**depth)
    return score


@compiled
def _count(
    row: Int32Array,
    point: Float64Array,
    weight: Float64Array,
    forest: _Forest,
    masses: _Masses,
    window: int,
) -> None:
    """Raise the masses on the way of each point; abnormal ones are counted one in 1/`weight`."""
    dimension, split = forest.dimension, forest.split
    reference, counted, points = masses.reference, masses.counted, masses.points
    total, credit = masses.total, masses.credit
    trees, inner = dimension.shape
    nodes = 2 * inner + 1
    for at in range(len(row)):
        one = row[at]
        credit[one] += weight[at]
        if credit[one] < 1.0:
            continue
        credit[one] -= 1.0
        for tree in range(trees):
            node = 0
            counted[one, tree * nodes] += 1
            while node < inner:
                right = point[at, dimension[tree, node]] >= split[tree, node]
                node = 2 * node + (2 if right else 1)
                counted[one, tree * nodes + node] += 1
        points[one] += 1
        # The first reference is of a quarter of a window, so that judging begins early.
        if points[one] >= (window if total[one] > 0 else window // 4):
            reference[one] = counted[one]
            counted[one] = 0
            total[one] = points[one]
            points[one] = 0


PLUGIN = Plugin(Config, HalfSpaceTrees)
