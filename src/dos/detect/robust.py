"""What detectors share: the scale of judgement, the pace of samples, and robust z-scores.

A detector turns the newest samples of a series into a *statistic* (how far two windows are apart,
how fast the value changes, …). How large a statistic is large is a question to the series' own
past: `Calibration` keeps level and spread of any statistic and gives its robust z-score. All is
vectorised over rows; the columns are the detector's own, under a prefix.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from dos.detect.columns import Column, Columns
from dos.detect.profile import profile_of
from dos.model.telemetry import (
    BoolArray,
    Float64Array,
    Int32Array,
    Int64Array,
    Role,
    Series,
    SeriesSpec,
)

MEAN_TO_SIGMA = float(np.sqrt(np.pi / 2))
"""Sigma of a normal distribution over its mean absolute deviation."""
MAX_DEVIATION = 1e3
"""Deviations are clipped here."""
LIMIT = 1e12
"""Values are clipped here, so that no square or sum overflows."""
_TINY = 1e-9
_OWN = 0.002
"""Relative floor of a metric of which nothing is known but its past."""

FLOORS: Mapping[str, Column] = {
    "log": Column(dtype="|b1", initial=False),
    "relative_floor": Column(dtype="<f8"),
    "absolute_floor": Column(dtype="<f8"),
}
"""Columns that `set_floors` fills."""


def real(columns: Columns, name: str) -> Float64Array:
    """A column of floating-point numbers."""
    return cast(Float64Array, columns[name])


def whole(columns: Columns, name: str) -> Int64Array:
    """A column of integers."""
    return cast(Int64Array, columns[name])


def set_floors(columns: Columns, first: int, series: Sequence[Series]) -> None:
    """Scale and smallest meaningful spread of the rows `first…`, by role and unit."""
    floors = [_floors(one.spec) for one in series]
    columns["log"][first:] = [profile_of(one.spec).logarithmic for one in series]
    columns["relative_floor"][first:] = [relative for relative, _ in floors]
    columns["absolute_floor"][first:] = [absolute for _, absolute in floors]


def scaled(columns: Columns, row: Int32Array, value: Float64Array) -> Float64Array:
    """Values on the scale of judgement: logarithms where the profile says so; NaN stays NaN."""
    log = np.log(np.clip(value, _TINY, LIMIT))
    return np.where(columns["log"][row], log, np.clip(value, -LIMIT, LIMIT))


def unscaled(columns: Columns, row: Int32Array, value: Float64Array) -> Float64Array:
    """Undo `scaled`."""
    return np.where(columns["log"][row], np.exp(np.minimum(value, 300.0)), value)


def floor_of(columns: Columns, row: Int32Array, expected: Float64Array) -> Float64Array:
    """The smallest sigma that means anything around `expected`, on the scale of judgement."""
    relative = real(columns, "relative_floor")[row] * np.abs(expected)
    absolute = real(columns, "absolute_floor")[row]
    return np.maximum(np.maximum(relative, absolute), _TINY)


def begin_again(
    columns: Columns, layout: Mapping[str, Column], row: Int32Array, keep: Iterable[str] = FLOORS
) -> None:
    """Forget what rows with a `count` of 0 had learned: the engine took back their baseline."""
    fresh = row[whole(columns, "count")[row] == 0]
    if len(fresh):
        kept = {*keep}
        for name, column in layout.items():
            if name not in kept:
                columns[name][fresh] = column.initial


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often a series reports, so that a gap is not judged as a jump.

    The typical interval is the exponentially weighted mean of intervals, each clipped to twice
    the mean, so that gaps count little.
    """

    gap: float = 20.0
    """Intervals without a sample after which windows begin anew."""

    @staticmethod
    def layout() -> dict[str, Column]:
        """Time of the last sample and typical interval, ms."""
        return {"last": Column(dtype="<i8"), "interval": Column(dtype="<f8")}

    def broken(self, columns: Columns, row: Int32Array, timestamp: Int64Array) -> BoolArray:
        """Whether too long a gap, or a clock that was set back, lies before each sample."""
        passed = self.passed(columns, row, timestamp)
        typical = real(columns, "interval")[row]
        broken: BoolArray = (passed < 0) | ((typical > 0) & (passed > self.gap * typical))
        known: BoolArray = whole(columns, "count")[row] > 0
        return broken & known

    @staticmethod
    def passed(columns: Columns, row: Int32Array, timestamp: Int64Array) -> Float64Array:
        """Milliseconds since the sample before."""
        return timestamp.astype(np.float64) - whole(columns, "last")[row]

    @staticmethod
    def learn(columns: Columns, row: Int32Array, timestamp: Int64Array) -> None:
        """Take in the times of samples; before `count` is raised."""
        interval, last = real(columns, "interval"), whole(columns, "last")
        passed = np.where(
            whole(columns, "count")[row] > 0, Pace.passed(columns, row, timestamp), 0.0
        )
        typical = interval[row]
        step = np.clip(passed, 0.0, np.where(typical > 0, 2.0 * typical, np.inf))
        rate = np.where(typical > 0, 0.1, 1.0)
        interval[row] = np.where(passed > 0, typical + rate * (step - typical), typical)
        last[row] = timestamp


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Robust z-scores of a statistic against its own past.

    Level and mean absolute deviation are exponentially weighted averages whose innovations are
    clipped (Huber's psi; Gelper, Fried & Croux, *Robust forecasting with exponential and
    Holt-Winters smoothing*, J. Forecasting 29, 2010, eq. 6-8).
    """

    prefix: str
    """Of the columns' names."""
    half_life: float
    """Samples after which the level has moved half the way to a new value; the spread takes
    twice as many."""
    warm_up: int
    """Values of the statistic before it is judged."""
    clip: float = 3.0
    """Innovations are clipped at this many sigmas."""

    def layout(self) -> dict[str, Column]:
        """Three numbers a series."""
        return {
            f"{self.prefix}_count": Column(dtype="<i4"),
            f"{self.prefix}_level": Column(dtype="<f8"),
            f"{self.prefix}_spread": Column(dtype="<f8"),
        }

    def level(self, columns: Columns, row: Int32Array) -> Float64Array:
        """Usual value of the statistic."""
        return real(columns, f"{self.prefix}_level")[row]

    def sigma(self, columns: Columns, row: Int32Array, floor: Float64Array | float) -> Float64Array:
        """Robust standard deviation of the statistic, at least `floor`.

        Few values say little about the spread: it is widened by what a t-like factor would.
        """
        count = whole(columns, f"{self.prefix}_count")[row]
        spread = real(columns, f"{self.prefix}_spread")[row] * MEAN_TO_SIGMA
        doubt = 1.0 + 8.0 / np.maximum(count, 1)
        return np.maximum(np.maximum(spread, floor), _TINY) * doubt

    def ready(self, columns: Columns, row: Int32Array) -> BoolArray:
        """Whether enough values are known."""
        ready: BoolArray = whole(columns, f"{self.prefix}_count")[row] >= self.warm_up
        return ready

    def learn(
        self,
        columns: Columns,
        row: Int32Array,
        value: Float64Array,
        weight: Float64Array,
        floor: Float64Array | float = 0.0,
    ) -> None:
        """Move level and spread towards `value`, which is finite."""
        count = whole(columns, f"{self.prefix}_count")
        level = cast(Float64Array, columns[f"{self.prefix}_level"])
        spread = cast(Float64Array, columns[f"{self.prefix}_spread"])
        seen = count[row].astype(np.float64)
        before = np.where(seen == 0, value, level[row])
        # While young, a plain average (rate 1/n); robust clipping only once the spread is known.
        sigma = np.maximum(np.maximum(spread[row] * MEAN_TO_SIGMA, floor), _TINY)
        bound = np.where(seen < self.warm_up, np.inf, self.clip * sigma)
        innovation = np.clip(value - before, -bound, bound)
        level_rate = np.maximum(1.0 - 0.5 ** (1.0 / self.half_life), 1.0 / (seen + 1.0)) * weight
        spread_rate = 1.0 - 0.5 ** (0.5 / self.half_life)
        spread_rate = np.maximum(spread_rate, 1.0 / np.maximum(seen, 1.0)) * weight
        level[row] = before + level_rate * innovation
        step = spread_rate * (np.abs(innovation) - spread[row])
        spread[row] += np.where(seen == 0, 0.0, step)
        count[row] = np.minimum(seen + 1, 2**30).astype(np.int32)


def clipped(deviation: Float64Array) -> Float64Array:
    """Deviations within ±`MAX_DEVIATION`; NaN becomes 0."""
    return np.clip(np.nan_to_num(deviation), -MAX_DEVIATION, MAX_DEVIATION)


def _floors(spec: SeriesSpec) -> tuple[float, float]:
    """Relative and absolute floor; of a metric without role and unit only its past is known."""
    if spec.role is Role.OTHER and not spec.unit:
        return _OWN, 0.0
    profile = profile_of(spec)
    return profile.relative_floor, profile.absolute_floor


def usable(value: Float64Array) -> BoolArray:
    """Which samples can be judged and learned: the finite ones."""
    finite: BoolArray = np.isfinite(value)
    return finite
