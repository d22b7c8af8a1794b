"""The temporal network: LSTM with attention over the newest 60 samples and a thinned-out past.

One network that was trained beforehand serves every metric, since it sees windows without unit and
size (`dos.detect.temporal_window`). At each sample it says whether the newest sample belongs to an
anomaly, and between which values the next will lie; the forecast is kept and gives the expected
value of the sample that then comes. See `dos.detect.nets.temporal` for the network, and
`docs/guides/training.md` for how it is trained, also on one's own history.

The deviation tells how rare it is in clean series that the network is so sure of an anomaly, over
the last few samples: 6 where it is one sample in fifty, and proportional to the logarithm. (Most of
these are in a few restless series, whose thresholds the engine raises; quiet ones stay far below.)
Its sign is that of the sample against the forecast and against the longer past. What is small by
role and unit (`dos.detect.robust`) is small here too.

    >>> import numpy as np
    >>> from dos.testing.detectors import deviations
    >>> values = 100.0 + np.random.default_rng(1).normal(0.0, 2.0, 600)
    >>> values[400:430] += 40.0
    >>> z = deviations("temporal", values)
    >>> bool(abs(z[:400]).max() < 6.0), bool(z[405:425].min() > 6.0), bool(abs(z[560:]).max() < 6.0)
    (True, True, True)

State: 1,645 bytes a series. Cost: one window of the network a sample, about 100 µs; the rows of a
batch are asked together, on one thread, without torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import cast

import numpy as np
from pydantic import Field

from dos.detect import temporal_state
from dos.detect.base import Scored
from dos.detect.columns import Column, Columns
from dos.detect.robust import FLOORS, floor_of, real, set_floors, unscaled, whole
from dos.detect.temporal_judge import Asked, Judge, JudgeConfig, scaled
from dos.detect.temporal_window import LEVELS, Described
from dos.kit.plugins import Plugin
from dos.ml.runtime import Served
from dos.model.telemetry import (
    BoolArray,
    Float32Array,
    Float64Array,
    Int32Array,
    Int64Array,
    Series,
)

_MIDDLE = len(LEVELS) // 2
_NARROW = 0.02
"""Least spread of memory, in scales of the window, when a sample's side is looked for."""


class Config(JudgeConfig):
    """Parameters of the temporal network."""

    model: str = "temporal"
    """Name of a model that comes with DOS, or a folder with `model.onnx` and `card.json`."""
    sparsest: int = Field(default=128, ge=1, le=4096)
    """The memory of 64 samples keeps every so-many-th of the past at least."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Said(Asked):
    """What the network says of some samples."""

    at: Int64Array
    """Positions of those whose window is full; what follows is of these."""
    described: Described
    suspicion: Float64Array
    """Smoothed log odds."""
    forecast: Float32Array
    """`[at, LEVELS]` of the next sample."""


class Temporal:
    """See the module's text."""

    name = "temporal"
    version = "1"

    def __init__(self, config: Config) -> None:
        self._config = config
        self._latest: _Said | None = None

    def layout(self) -> Mapping[str, Column]:
        """Window, memory, forecast and suspicion."""
        return {
            **FLOORS,
            **temporal_state.LAYOUT,
            "forecast": Column(dtype="<f4", initial=float("nan"), width=len(LEVELS)),
            "location": Column(dtype="<f8"),
            "scale": Column(dtype="<f8", initial=1.0),
            "suspicion": Column(dtype="<f8", initial=float("nan")),
        }

    def prepare(self, columns: Columns, first: int, series: Sequence[Series]) -> None:
        """Take scale and floors from role and unit; load the model."""
        set_floors(columns, first, series)
        _ = self._model

    def score(
        self, columns: Columns, row: Int32Array, timestamp: Int64Array, value: Float64Array
    ) -> Scored:
        """How sure the network is, as a deviation towards the side of the sample."""
        said = self._latest = self._ask(columns, row, timestamp, value)
        at, rows = said.at, row[said.at]
        expected, sigma = np.full(len(row), np.nan), np.full(len(row), np.nan)
        deviation = np.zeros(len(row))
        if len(at):
            new = scaled(columns, rows, value[at])
            middle, spread = _band(columns, rows, said)
            floor = floor_of(columns, rows, middle)
            expected[at], sigma[at] = middle, np.maximum(spread, floor)
            side, effect = _side(said.described, new, middle, sigma[at])
            size = self._judge.size(said.suspicion)
            deviation[at] = side * self._judge.limited(columns, rows, size, effect, floor)
        ready = np.zeros(len(row), np.bool_)
        ready[at] = True
        return Scored(deviation=deviation, expected=expected, sigma=sigma, ready=ready)

    def learn(
        self,
        columns: Columns,
        row: Int32Array,
        timestamp: Int64Array,
        value: Float64Array,
        weight: Float64Array,
    ) -> None:
        """Move the windows on, and keep what the network forecasts."""
        said = self._latest
        if said is None or not said.is_of(columns, row, value):
            said = self._ask(columns, row, timestamp, value)
        self._latest = None
        use = np.isfinite(value)
        rows = row[use]
        new = scaled(columns, rows, value[use])
        temporal_state.keep(columns, rows, timestamp[use], new, weight[use], self._config.sparsest)
        columns["forecast"][rows], columns["suspicion"][rows] = np.nan, np.nan
        mine = row[said.at]
        columns["forecast"][mine] = said.forecast
        columns["location"][mine] = said.described.location
        columns["scale"][mine] = said.described.scale
        columns["suspicion"][mine] = said.suspicion

    def to_unit(self, columns: Columns, row: Int32Array, scaled: Float64Array) -> Float64Array:
        """Undo the log scale."""
        return unscaled(columns, row, scaled)

    @cached_property
    def _model(self) -> Served:
        return Served(self._config.model)

    @cached_property
    def _judge(self) -> Judge:
        return Judge(self._config, self._model.card)

    def _ask(
        self, columns: Columns, row: Int32Array, timestamp: Int64Array, value: Float64Array
    ) -> _Said:
        """Ask the network about those of the samples that have a full window."""
        full = temporal_state.full(columns, row, timestamp) & np.isfinite(value)
        at = np.flatnonzero(full)
        rows = row[at]
        described = temporal_state.described(columns, rows, scaled(columns, rows, value[at]))
        if len(at):
            answer = self._model.run({"window": described.window, "memory": described.memory})
            odds, forecast = answer["anomaly"].astype(np.float64), answer["quantiles"]
        else:
            odds, forecast = np.empty(0), np.empty((0, len(LEVELS)), np.float32)
        return _Said(
            columns=columns,
            row=row,
            count=whole(columns, "count")[row].copy(),
            value=value,
            at=at,
            described=described,
            suspicion=self._judge.smoothed(real(columns, "suspicion")[rows], odds),
            forecast=forecast,
        )


def _band(columns: Columns, row: Int32Array, said: _Said) -> tuple[Float64Array, Float64Array]:
    """Expected value and sigma by the forecast; by the window where there is no forecast yet."""
    described = said.described
    forecast = cast(Float32Array, columns["forecast"])[row].astype(np.float64)
    unknown: BoolArray = np.isnan(forecast[:, _MIDDLE])
    far = np.sinh(np.clip(np.where(unknown[:, None], 0.0, forecast), -12.0, 12.0))
    scale = real(columns, "scale")[row]
    middle = real(columns, "location")[row] + scale * far[:, _MIDDLE]
    # From the 5 % to the 95 % quantile are 3.29 sigmas of a normal distribution.
    spread = scale * (far[:, -2] - far[:, 1]) / 3.29
    return (
        np.where(unknown, described.location, middle),
        np.where(unknown, 1.25 * described.scale, spread),
    )


def _side(
    described: Described, new: Float64Array, expected: Float64Array, sigma: Float64Array
) -> tuple[Float64Array, Float64Array]:
    """Side of the sample (1 above, -1 below), and its largest distance from what is usual.

    Right after a jump the forecast tells the side; when the forecast has followed, memory does.
    """
    memory = np.sinh(described.memory[:, :5].astype(np.float64))
    known = described.memory[:, 8] > 0
    spread = np.maximum((memory[:, 4] - memory[:, 0]) / 4.1, _NARROW) * described.scale
    usual = described.location + described.scale * memory[:, 2]
    past = np.where(known, (new - usual) / spread, 0.0)
    now = (new - expected) / sigma
    effect = np.maximum(np.abs(new - expected), np.where(known, np.abs(new - usual), 0.0))
    return np.where(np.clip(now, -1e6, 1e6) + np.clip(past, -1e6, 1e6) < 0, -1.0, 1.0), effect


PLUGIN = Plugin(Config, Temporal)
