"""Variance shift: a series has become restless, or suspiciously calm, around whatever its level is.

The scale of the newest steps from sample to sample is the mean of their absolute values without
the largest ones, so that neither a spike (two large steps) nor a shift of the level (one) counts.
The logarithm of the scale is compared with its own past: the likelihood ratio of two variances
depends on nothing but their ratio (Basseville & Nikiforov, *Detection of Abrupt Changes*, 1993,
section 2.6; differences instead of residuals make it blind to slow movements of the mean).

It has no direction in the series' unit: deviations are not negative, and there is no band.

    >>> import numpy as np
    >>> from dos.testing.detectors import deviations
    >>> values = np.random.default_rng(1).normal(100.0, 2.0, 600)
    >>> values[250:] += 40.0  # a shift of the level
    >>> values[400:] += np.random.default_rng(2).normal(0.0, 20.0, 200)
    >>> z = deviations("variance_shift", values)
    >>> bool(z[:400].max() < 6.0), bool(z[410:480].max() > 6.0)
    (True, True)

State: 205 bytes a series. Cost: one sort of 16 numbers a sample, twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

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
from dos.model.telemetry import BoolArray, Float64Array, Int32Array, Int64Array, Series

_LEAST = 0.15
"""Smallest spread of the logarithm that is believed."""


class Config(BaseModel):
    """Parameters of the variance shift."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    recent: int = Field(default=16, ge=6, le=256)
    """Steps whose scale is taken."""
    dropped: int = Field(default=3, ge=0, le=64)
    """Largest steps left out of it; fewer than half of `recent`."""
    half_life: int = Field(default=480, ge=2, le=100_000)
    """Samples after which half of what is known of the usual scale is forgotten."""
    warm_up: int = Field(default=48, ge=3, le=100_000)
    """Scales that must be known before one is judged."""


class VarianceShift:
    """See the module's text."""

    name = "variance_shift"
    version = "1"

    def __init__(self, config: Config) -> None:
        self._config = config
        self._kept = max(config.recent // 2 + 1, config.recent - config.dropped)
        self._pace = Pace()
        self._usual = Calibration(
            prefix="usual", half_life=config.half_life, warm_up=config.warm_up
        )

    def layout(self) -> Mapping[str, Column]:
        """The newest steps and the usual scale."""
        return {
            **FLOORS,
            **self._pace.layout(),
            **self._usual.layout(),
            "count": Column(dtype="<i8"),
            "before": Column(dtype="<f8"),
            "steps": Column(dtype="<f8", width=self._config.recent),
            "seen": Column(dtype="<i8"),
        }

    def prepare(self, columns: Columns, first: int, series: Sequence[Series]) -> None:
        """Take scale and floors from role and unit."""
        set_floors(columns, first, series)

    def score(
        self, columns: Columns, row: Int32Array, timestamp: Int64Array, value: Float64Array
    ) -> Scored:
        """Logarithm of the scale, against what is usual."""
        broken = self._pace.broken(columns, row, timestamp)
        size, known = self._size(columns, row, value, broken)
        ready = known & self._usual.ready(columns, row)
        usual = self._usual.level(columns, row)
        sigma = self._usual.sigma(columns, row, _LEAST)
        unknown = np.full(len(row), np.nan)
        return Scored(
            deviation=clipped(np.where(ready, np.abs(size - usual) / sigma, 0.0)),
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
        """Learn the scale, and take in the step."""
        use = usable(value)
        row, timestamp, value, weight = row[use], timestamp[use], value[use], weight[use]
        begin_again(columns, self.layout(), row)
        broken = self._pace.broken(columns, row, timestamp)
        size, known = self._size(columns, row, value, broken)
        self._usual.learn(columns, row[known], size[known], weight[known], _LEAST)
        count, before = whole(columns, "count"), real(columns, "before")
        seen, steps = whole(columns, "seen"), real(columns, "steps")
        judged = scaled(columns, row, value)
        seen[row[broken]] = 0
        moved = (count[row] > 0) & ~broken
        there = row[moved]
        steps[there, seen[there] % self._config.recent] = np.abs(judged - before[row])[moved]
        seen[there] += 1
        before[row] = judged
        self._pace.learn(columns, row, timestamp)
        count[row] += 1

    def to_unit(self, columns: Columns, row: Int32Array, scaled: Float64Array) -> Float64Array:
        """Undo the log scale."""
        return unscaled(columns, row, scaled)

    def _size(
        self, columns: Columns, row: Int32Array, value: Float64Array, broken: BoolArray
    ) -> tuple[Float64Array, BoolArray]:
        """Logarithm of the scale of the newest steps, and whether there are enough of them."""
        size, known = np.zeros(len(row)), usable(value) & ~broken
        judged = scaled(columns, row, value)
        held = _Steps(real(columns, "before"), real(columns, "steps"), whole(columns, "seen"))
        _scales(row, judged, known, held, self._kept, size)
        # Steps of twice the smallest sigma that means anything: calmer than that is all the same.
        floor = 2.0 * floor_of(columns, row, np.where(known, judged, 0.0))
        return np.log(np.maximum(size, floor)), known


class _Steps(NamedTuple):
    """Columns, by row."""

    before: Float64Array
    steps: Float64Array
    seen: Int64Array


@compiled
def _scales(
    row: Int32Array,
    value: Float64Array,
    known: BoolArray,
    held: _Steps,
    kept: int,
    size: Float64Array,
) -> None:
    """Fill `size` with the mean of the `kept` smallest steps; `known` becomes False without."""
    before, steps, seen = held.before, held.steps, held.seen
    width = steps.shape[1]
    window = np.empty(width)
    for at in range(len(row)):
        one = row[at]
        if not known[at] or seen[one] < width - 1:
            known[at] = False
            continue
        window[:] = steps[one]
        window[seen[one] % width] = abs(value[at] - before[one])
        window.sort()
        size[at] = window[:kept].mean()


PLUGIN = Plugin(Config, VarianceShift)
