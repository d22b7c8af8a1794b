"""Spectral residual: what stands out of the window's own spectrum.

Ren et al., *Time-series anomaly detection service at Microsoft* (KDD 2019, section 4.1, eq. 1-7):
the logarithm of a window's amplitude spectrum minus its own moving average is what the spectrum
cannot be expected to have; transformed back with the phases as they were, it is the saliency map,
in which repeating patterns are flat and novelties stand out. The saliency of the newest point is
compared with the mean of the points before it (eq. 8).

Causal: the window ends at the newest sample. As in the paper it is prolonged by `ahead` points
that continue the mean slope of the last ones (eq. 9-10), so that the newest point is not at the
edge, where saliency is unreliable. No sample after it is used.

The relative saliency is put on the scale of robust deviations by the series' own past, takes the
direction in which the sample lies from the median of its window, and is at most the distance from
it in the smallest sigmas that mean anything: a blip of a flat line is salient, but not large.
The band is median and spread of the window.

    >>> import numpy as np
    >>> from dos.testing.detectors import deviations
    >>> time = np.arange(400)
    >>> values = np.sin(time / 5.0) + np.random.default_rng(1).normal(0.0, 0.05, 400)
    >>> values[300] -= 1.5
    >>> z = deviations("spectral_residual", values)
    >>> bool(abs(z[:300]).max() < 6.0), bool(z[300] < -6.0)
    (True, True)

State: 541 bytes a series. Cost: two FFTs of 64 points a sample, for all series at once, twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

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
from dos.kit.plugins import Plugin
from dos.model.telemetry import BoolArray, Float64Array, Int32Array, Int64Array, Series

_TOGETHER = 512
"""Series whose windows are transformed at once; more would leave the cache."""
_MAD_TO_SIGMA = 1.4826
"""Sigma of a normal distribution over its median absolute deviation."""
_LEAST = 0.3
"""Smallest spread of the relative saliency that is believed."""


class Config(BaseModel):
    """Parameters of the spectral residual."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    window: int = Field(default=59, ge=16, le=1024)
    """Samples of the window; with `ahead` best a power of two."""
    ahead: int = Field(default=5, ge=0, le=32)
    """Points estimated beyond the newest (the paper's kappa)."""
    smooth: int = Field(default=3, ge=2, le=16)
    """Frequencies the log spectrum is averaged over (q)."""
    around: int = Field(default=21, ge=4, le=256)
    """Points before the newest whose saliency it is compared with (z); fewer than `window`."""
    slope: int = Field(default=5, ge=1, le=15)
    """Points whose mean slope is continued (m)."""
    half_life: int = Field(default=480, ge=2, le=100_000)
    """Samples after which half of what is known of the usual saliency is forgotten."""
    warm_up: int = Field(default=32, ge=3, le=100_000)
    """Saliencies that must be known before one is judged."""


class SpectralResidual:
    """See the module's text."""

    name = "spectral_residual"
    version = "1"

    def __init__(self, config: Config) -> None:
        self._config = config
        self._around = min(config.around, config.window - 1)
        self._pace = Pace()
        self._usual = Calibration(
            prefix="usual", half_life=config.half_life, warm_up=config.warm_up
        )

    def layout(self) -> Mapping[str, Column]:
        """The window and the usual saliency."""
        return {
            **FLOORS,
            **self._pace.layout(),
            **self._usual.layout(),
            "count": Column(dtype="<i8"),
            "window": Column(dtype="<f8", width=self._config.window),
            "seen": Column(dtype="<i8"),
        }

    def prepare(self, columns: Columns, first: int, series: Sequence[Series]) -> None:
        """Take scale and floors from role and unit."""
        set_floors(columns, first, series)

    def score(
        self, columns: Columns, row: Int32Array, timestamp: Int64Array, value: Float64Array
    ) -> Scored:
        """Saliency of each sample, against what is usual."""
        broken = self._pace.broken(columns, row, timestamp)
        salience, known = self._salience(columns, row, value, broken)
        middle, spread = self._band(columns, row, value, known)
        surplus = np.maximum(salience - self._usual.level(columns, row), 0.0)
        rare = surplus / self._usual.sigma(columns, row, _LEAST)
        distance = np.where(known, scaled(columns, row, value) - middle, 0.0)
        floor = floor_of(columns, row, middle)
        most = np.abs(distance) / floor
        ready = known & self._usual.ready(columns, row)
        deviation = np.sign(distance) * np.minimum(rare, most)
        return Scored(
            deviation=clipped(np.where(ready, deviation, 0.0)),
            expected=middle,
            sigma=np.maximum(spread, floor),
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
        """Learn the saliency, and move the window on."""
        use = usable(value)
        row, timestamp, value, weight = row[use], timestamp[use], value[use], weight[use]
        begin_again(columns, self.layout(), row)
        broken = self._pace.broken(columns, row, timestamp)
        salience, known = self._salience(columns, row, value, broken)
        self._usual.learn(columns, row[known], salience[known], weight[known], _LEAST)
        seen = whole(columns, "seen")
        seen[row[broken]] = 0
        real(columns, "window")[row, seen[row] % self._config.window] = scaled(columns, row, value)
        seen[row] += 1
        self._pace.learn(columns, row, timestamp)
        whole(columns, "count")[row] += 1

    def to_unit(self, columns: Columns, row: Int32Array, scaled: Float64Array) -> Float64Array:
        """Undo the log scale."""
        return unscaled(columns, row, scaled)

    def _salience(
        self, columns: Columns, row: Int32Array, value: Float64Array, broken: BoolArray
    ) -> tuple[Float64Array, BoolArray]:
        """Relative saliency of the new samples, and whether their windows are full."""
        full = whole(columns, "seen")[row] >= self._config.window - 1
        known = usable(value) & ~broken & full
        salience = np.zeros(len(row))
        for at, window in self._windows(columns, row, value, known):
            salience[at] = self._newest(window)
        return salience, known

    def _band(
        self, columns: Columns, row: Int32Array, value: Float64Array, known: BoolArray
    ) -> tuple[Float64Array, Float64Array]:
        """Median and spread of the windows of the new samples."""
        middle, spread = np.zeros(len(row)), np.zeros(len(row))
        for at, window in self._windows(columns, row, value, known):
            middle[at] = np.median(window, axis=1)
            spread[at] = _MAD_TO_SIGMA * np.median(np.abs(window - middle[at, None]), axis=1)
        return middle, spread

    def _windows(
        self, columns: Columns, row: Int32Array, value: Float64Array, known: BoolArray
    ) -> Iterator[tuple[Int64Array, Float64Array]]:
        """Positions in the batch and `[series, window]` samples, oldest first, some at a time."""
        size, seen = self._config.window, whole(columns, "seen")[row]
        ring, judged = real(columns, "window"), scaled(columns, row, value)
        chosen = np.flatnonzero(known)
        for start in range(0, len(chosen), _TOGETHER):
            at = chosen[start : start + _TOGETHER]
            order = (seen[at, None] + 1 + np.arange(size - 1)) % size
            yield at, np.column_stack([ring[row[at, None], order], judged[at]])

    def _newest(self, window: Float64Array) -> Float64Array:
        """`[series]` relative saliency of the last point of each window (eq. 1-10)."""
        config = self._config
        centred = window - window.mean(axis=1, keepdims=True)
        scale = np.abs(centred).max(axis=1, keepdims=True)
        centred /= np.where(scale > 0, scale, 1.0)
        whole = np.column_stack([centred, self._ahead(centred)]) if config.ahead else centred
        spectrum = np.fft.rfft(whole, axis=1)
        amplitude = np.abs(spectrum) + 1e-8
        logarithm = np.log(amplitude)
        residual = logarithm - _moving_average(logarithm, config.smooth)
        saliency = np.abs(
            np.fft.irfft(spectrum / amplitude * np.exp(residual), n=whole.shape[1], axis=1)
        )
        newest = saliency[:, config.window - 1]
        before = saliency[:, config.window - 1 - self._around : config.window - 1].mean(axis=1)
        # A window without any change has no spectrum, and nothing stands out of it.
        relative = (newest - before) / np.maximum(before, 1e-6)
        return np.where(scale[:, 0] > 0, np.minimum(relative, 1e6), 0.0)

    def _ahead(self, window: Float64Array) -> Float64Array:
        """`[series, ahead]` the mean slope of the last points, continued (eq. 9-10).

        Slopes are those of the points before the newest: an outlier must not prolong itself.
        """
        count = self._config.slope
        last = window[:, -2:-1]
        steps = np.arange(1, count + 1)
        slope = ((last - window[:, -2 - steps]) / steps).mean(axis=1, keepdims=True)
        estimate = window[:, -1 - count : -count] + slope * count
        return np.repeat(estimate, self._config.ahead, axis=1)


def _moving_average(values: Float64Array, width: int) -> Float64Array:
    """Mean of each value and the `width` - 1 before it, of fewer at the start."""
    total = np.cumsum(values, axis=1)
    total[:, width:] -= total[:, :-width].copy()
    return total / np.minimum(np.arange(1, values.shape[1] + 1), width)


PLUGIN = Plugin(Config, SpectralResidual)
