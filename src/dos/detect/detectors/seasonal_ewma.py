"""Robust EWMA of level and spread, carried along by the learned daily shape.

For each series a level and a mean absolute deviation are kept as exponentially weighted averages
whose innovations are clipped (Huber's psi; Gelper, Fried & Croux, *Robust forecasting with
exponential and Holt-Winters smoothing*, J. Forecasting 29, 2010, eq. 6-8), so that an outlier
moves them by a bounded amount. The daily shape is the mean level of each hour, kept apart for
working days and weekends; only its *slope* is used: between two samples the level moves by what
the shape moves. A shape that is not known yet therefore changes nothing, and one that becomes
known causes no jump.

Cost: about 40 vector operations a batch; 21 numbers and 48 hours a series.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from dos.detect.base import Scored
from dos.detect.columns import Column, Columns
from dos.detect.profile import profile_of
from dos.kit.clock import DAY, HOUR
from dos.kit.plugins import Plugin
from dos.model.telemetry import (
    Float32Array,
    Float64Array,
    Int32Array,
    Int64Array,
    Series,
    UInt8Array,
)

_MEAN_TO_SIGMA = float(np.sqrt(np.pi / 2))
"""Sigma of a normal distribution over its mean absolute deviation."""
_TINY = 1e-9
_LIMIT = 1e12
"""Values are clipped here, so that no square or sum overflows."""
_BINS = 24
_MAX_DEVIATION = 1e3


class Config(BaseModel):
    """Parameters of the robust EWMA with daily shape."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    level_half_life: int = Field(default=60, ge=2, le=100_000)
    """Samples after which the level has moved half the way to a new value."""
    spread_half_life: int = Field(default=240, ge=2, le=100_000)
    """The same for the spread."""
    warm_up: int = Field(default=15, ge=3, le=100_000)
    """Samples before a series is judged."""
    clip: float = Field(default=3.0, gt=0, le=20)
    """Innovations are clipped at this many sigmas."""


class SeasonalEwma:
    """See the module's text."""

    name = "seasonal_ewma"
    version = "1"

    def __init__(self, config: Config) -> None:
        self._config = config
        self._level_rate = 1 - 0.5 ** (1 / config.level_half_life)
        self._spread_rate = 1 - 0.5 ** (1 / config.spread_half_life)

    def layout(self) -> Mapping[str, Column]:
        """Columns of this detector."""
        return {
            "count": Column(dtype="<i8"),
            "level": Column(dtype="<f8"),
            "spread": Column(dtype="<f8"),
            "last": Column(dtype="<i8"),
            "log": Column(dtype="|b1", initial=False),
            "relative_floor": Column(dtype="<f8"),
            "absolute_floor": Column(dtype="<f8"),
            "hour": Column(dtype="<i4", initial=-1),
            "hour_sum": Column(dtype="<f8"),
            "hour_count": Column(dtype="<f8"),
            "shape": Column(dtype="<f4", width=2 * _BINS),
            "visits": Column(dtype="|u1", width=2 * _BINS),
        }

    def prepare(self, columns: Columns, first: int, series: Sequence[Series]) -> None:
        """Take scale and floors from role and unit."""
        profiles = [profile_of(one.spec) for one in series]
        columns["log"][first:] = [profile.logarithmic for profile in profiles]
        columns["relative_floor"][first:] = [profile.relative_floor for profile in profiles]
        columns["absolute_floor"][first:] = [profile.absolute_floor for profile in profiles]

    def score(
        self, columns: Columns, row: Int32Array, timestamp: Int64Array, value: Float64Array
    ) -> Scored:
        """Deviation of each sample from the level, moved along the daily shape."""
        count = columns["count"][row].astype(np.float64)
        scaled = self._scale(columns, row, value)
        expected = self._expect(columns, row, timestamp)
        # Few samples say little about the spread: widen by what a t-like factor would.
        doubt = 1.0 + 8.0 / np.maximum(count, 1.0)
        sigma = self._sigma(columns, row, expected) * doubt
        deviation = np.clip((scaled - expected) / sigma, -_MAX_DEVIATION, _MAX_DEVIATION)
        return Scored(
            deviation=deviation,
            expected=expected,
            sigma=sigma,
            ready=count >= self._config.warm_up,
        )

    def learn(
        self,
        columns: Columns,
        row: Int32Array,
        timestamp: Int64Array,
        value: Float64Array,
        weight: Float64Array,
    ) -> None:
        """Move level, spread and shape towards the samples."""
        count = cast(Int64Array, columns["count"])
        level, spread = cast(Float64Array, columns["level"]), cast(Float64Array, columns["spread"])
        seen = count[row].astype(np.float64)
        scaled = self._scale(columns, row, value)
        expected = self._expect(columns, row, timestamp)
        expected = np.where(seen == 0, scaled, expected)
        sigma = self._sigma(columns, row, expected)
        # While young, a plain average (rate 1/n); robust clipping only once the spread is known.
        bound = np.where(seen < self._config.warm_up, np.inf, self._config.clip * sigma)
        innovation = np.clip(scaled - expected, -bound, bound)
        level_rate = np.maximum(self._level_rate, 1.0 / (seen + 1.0)) * weight
        spread_rate = np.maximum(self._spread_rate, 1.0 / np.maximum(seen, 1.0)) * weight
        level[row] = expected + level_rate * innovation
        spread[row] += np.where(seen == 0, 0.0, spread_rate * (np.abs(innovation) - spread[row]))
        count[row] += 1
        columns["last"][row] = timestamp
        self._learn_shape(columns, row, timestamp, level[row])

    def to_unit(self, columns: Columns, row: Int32Array, scaled: Float64Array) -> Float64Array:
        """Undo the log scale."""
        return np.where(columns["log"][row], np.exp(np.minimum(scaled, 300.0)), scaled)

    @staticmethod
    def _scale(columns: Columns, row: Int32Array, value: Float64Array) -> Float64Array:
        log = np.log(np.clip(value, _TINY, _LIMIT))
        return np.where(columns["log"][row], log, np.clip(value, -_LIMIT, _LIMIT))

    @staticmethod
    def _sigma(columns: Columns, row: Int32Array, expected: Float64Array) -> Float64Array:
        spread = cast(Float64Array, columns["spread"])[row] * _MEAN_TO_SIGMA
        relative = cast(Float64Array, columns["relative_floor"])[row] * np.abs(expected)
        floor = np.maximum(relative, cast(Float64Array, columns["absolute_floor"])[row])
        return np.maximum(np.maximum(spread, floor), _TINY)

    @staticmethod
    def _expect(columns: Columns, row: Int32Array, timestamp: Int64Array) -> Float64Array:
        """The level, moved by what the daily shape moved since the last sample."""
        level = cast(Float64Array, columns["level"])[row]
        last = cast(Int64Array, columns["last"])[row]
        shape = cast(Float32Array, columns["shape"])
        known = cast(UInt8Array, columns["visits"])
        then, now = _position(last), _position(timestamp)
        drift = np.zeros(len(row))
        usable = np.ones(len(row), dtype=bool)
        for (before, after, share), sign in ((now, 1.0), (then, -1.0)):
            usable &= (known[row, before] > 0) & (known[row, after] > 0)
            drift += sign * ((1 - share) * shape[row, before] + share * shape[row, after])
        return level + np.where(usable, drift, 0.0)

    @staticmethod
    def _learn_shape(
        columns: Columns, row: Int32Array, timestamp: Int64Array, level: Float64Array
    ) -> None:
        """Average the level over each hour; when the hour is over, put it into the shape."""
        hour = _bin(timestamp).astype(np.int32)
        current = cast(Int32Array, columns["hour"])[row]
        over = np.flatnonzero(hour != current)
        if len(over):
            total = cast(Float64Array, columns["hour_sum"])
            count = cast(Float64Array, columns["hour_count"])
            shape, visits = cast(Float32Array, columns["shape"]), columns["visits"]
            done = over[count[row[over]] >= 3]  # fewer samples are no average worth keeping
            at, old = row[done], current[done]
            seen = visits[at, old].astype(np.float64)
            mean = total[at] / count[at]
            rate = 1.0 / np.minimum(seen + 1.0, 4.0)
            shape[at, old] += (rate * (mean - shape[at, old])).astype(np.float32)
            visits[at, old] = np.minimum(seen + 1, 250).astype(np.uint8)
            started = row[over]
            columns["hour"][started] = hour[over]
            total[started] = 0.0
            count[started] = 0.0
        cast(Float64Array, columns["hour_sum"])[row] += level
        cast(Float64Array, columns["hour_count"])[row] += 1.0


def _bin(timestamp: Int64Array) -> Int64Array:
    """The hour of the shape a time falls into: 0-23 on working days, 24-47 at weekends (UTC)."""
    day = (timestamp // DAY + 3) % 7  # 1970-01-01 was a Thursday; Monday is 0
    return (timestamp % DAY) // HOUR + np.where(day >= 5, _BINS, 0)


def _position(timestamp: Int64Array) -> tuple[Int64Array, Int64Array, Float64Array]:
    """The two hours whose middles lie around a time, and the share of the later one."""
    earlier = timestamp - HOUR // 2
    before = _bin(earlier)
    after = _bin(earlier + HOUR)
    share = (earlier % HOUR) / HOUR
    return before, after, share


PLUGIN = Plugin(Config, SeasonalEwma)
