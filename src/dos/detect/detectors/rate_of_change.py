"""Rate of change: a value climbs or falls faster than it usually does.

The rate is the slope of the least-squares line through the newest samples, at their own times
(the first derivative of Savitzky & Golay, *Smoothing and differentiation of data by simplified
least squares procedures*, Analytical Chemistry 36, 1964, here for any spacing). It is compared
with the rates of the series' own past.

The slope is linear in the newest value, with factor `c`: the expected value is the one with which
the slope would be as usual, and the band around it is the spread of slopes over `c`. So the band
is in the unit of the series, although what is judged is a rate.

    >>> import numpy as np
    >>> from dos.testing.detectors import deviations
    >>> values = np.random.default_rng(1).normal(500.0, 1.0, 300)
    >>> values[200:220] += 5.0 * np.arange(20)  # a ramp, 5 a minute
    >>> values[220:] += 95.0
    >>> z = deviations("rate_of_change", values)
    >>> bool(abs(z[:200]).max() < 6.0), bool(z[204:219].max() > 6.0)
    (True, True)

State: 149 bytes a series. Cost: 40 operations a sample, twice.
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


class Config(BaseModel):
    """Parameters of the rate of change."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    points: int = Field(default=5, ge=2, le=64)
    """Samples the line goes through; 2 judges single steps."""
    half_life: int = Field(default=240, ge=2, le=100_000)
    """Samples after which half of what is known of the usual rate is forgotten."""
    warm_up: int = Field(default=24, ge=3, le=100_000)
    """Rates that must be known before one is judged."""


class RateOfChange:
    """See the module's text."""

    name = "rate_of_change"
    version = "1"

    def __init__(self, config: Config) -> None:
        self._config = config
        self._pace = Pace(gap=5.0)
        self._usual = Calibration(
            prefix="usual", half_life=config.half_life, warm_up=config.warm_up
        )

    def layout(self) -> Mapping[str, Column]:
        """The newest samples and the usual rate."""
        return {
            **FLOORS,
            **self._pace.layout(),
            **self._usual.layout(),
            "count": Column(dtype="<i8"),
            "values": Column(dtype="<f8", width=self._config.points),
            "times": Column(dtype="<i8", width=self._config.points),
            "seen": Column(dtype="<i8"),
        }

    def prepare(self, columns: Columns, first: int, series: Sequence[Series]) -> None:
        """Take scale and floors from role and unit."""
        set_floors(columns, first, series)

    def score(
        self, columns: Columns, row: Int32Array, timestamp: Int64Array, value: Float64Array
    ) -> Scored:
        """Rate of each series, against what is usual."""
        rate, lever, known = self._rate(columns, row, timestamp, value)
        judged = scaled(columns, row, value)
        floor = lever * floor_of(columns, row, np.where(known, judged, 0.0))
        sigma = self._usual.sigma(columns, row, floor)
        surplus = rate - self._usual.level(columns, row)
        ready = known & self._usual.ready(columns, row)
        return Scored(
            deviation=clipped(np.where(ready, surplus / sigma, 0.0)),
            expected=judged - surplus / lever,
            sigma=sigma / lever,
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
        """Learn the rate, and take in the sample."""
        use = usable(value)
        row, timestamp, value, weight = row[use], timestamp[use], value[use], weight[use]
        begin_again(columns, self.layout(), row)
        rate, lever, known = self._rate(columns, row, timestamp, value)
        judged = scaled(columns, row, value)
        floor = (lever * floor_of(columns, row, judged))[known]
        self._usual.learn(columns, row[known], rate[known], weight[known], floor)
        seen, place = whole(columns, "seen"), self._config.points
        seen[row[self._pace.broken(columns, row, timestamp)]] = 0
        again = self._pace.passed(columns, row, timestamp) == 0
        again &= seen[row] > 0
        seen[row[again]] -= 1  # a second sample of the same time replaces the first
        real(columns, "values")[row, seen[row] % place] = judged
        whole(columns, "times")[row, seen[row] % place] = timestamp
        seen[row] += 1
        self._pace.learn(columns, row, timestamp)
        whole(columns, "count")[row] += 1

    def to_unit(self, columns: Columns, row: Int32Array, scaled: Float64Array) -> Float64Array:
        """Undo the log scale."""
        return unscaled(columns, row, scaled)

    def _rate(
        self, columns: Columns, row: Int32Array, timestamp: Int64Array, value: Float64Array
    ) -> tuple[Float64Array, Float64Array, BoolArray]:
        """Change per second, its factor `c` of the newest value, and whether they are known."""
        known = usable(value) & ~self._pace.broken(columns, row, timestamp)
        held = _Held(real(columns, "values"), whole(columns, "times"), whole(columns, "seen"))
        rate, lever = _slopes(row, timestamp, scaled(columns, row, value), known, held)
        return rate, lever, known


class _Held(NamedTuple):
    """Columns, by row."""

    values: Float64Array
    times: Int64Array
    seen: Int64Array


@compiled
def _slopes(
    row: Int32Array, timestamp: Int64Array, value: Float64Array, known: BoolArray, held: _Held
) -> tuple[Float64Array, Float64Array]:
    """Slope and its factor of the newest value; `known` becomes False where there is none."""
    values, times, seen = held.values, held.times, held.seen
    rate, lever = np.zeros(len(row)), np.ones(len(row))
    width = values.shape[1]
    when = np.empty(width)
    what = np.empty(width)
    for at in range(len(row)):
        one = row[at]
        if not known[at] or seen[one] < width - 1:
            known[at] = False
            continue
        for back in range(1, width):
            place = (seen[one] - back) % width
            # Seconds before and difference to the newest: large times and levels cancel exactly.
            when[back] = (times[one, place] - timestamp[at]) / 1000.0
            what[back] = values[one, place] - value[at]
        when[0] = 0.0
        what[0] = 0.0
        middle = when.mean()
        square = 0.0
        product = 0.0
        for place in range(width):
            square += (when[place] - middle) ** 2
            product += (when[place] - middle) * what[place]
        if when[1] >= 0.0 or square <= 0.0:
            known[at] = False  # two samples of one time have no slope
            continue
        rate[at] = product / square
        lever[at] = -middle / square
    return rate, lever


PLUGIN = Plugin(Config, RateOfChange)
