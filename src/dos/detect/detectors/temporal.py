"""The temporal network: LSTM with attention over the newest 60 samples and a thinned-out past.

One network that was trained beforehand serves every metric, since it sees windows without unit and
size (`dos.detect.temporal_window`). At each sample it says whether the newest sample belongs to an
anomaly, and between which values the next will lie; the forecast is kept and gives the expected
value of the sample that then comes. See `dos.detect.nets.temporal` for the network, and
`docs/guides/training.md` for how it is trained, also on one's own history.

The deviation tells how rare it is in clean series that the network is so sure of an anomaly, over
the last few samples: 6 where it is one sample in two hundred, and proportional to the logarithm.
(Series differ: quiet ones stay far below, and the engine raises the threshold of restless ones.)
Its sign is that of the sample against the forecast and against the longer past. What is small by
role and unit (`dos.detect.robust`) is small here too.

    >>> import numpy as np
    >>> from dos.testing.detectors import deviations
    >>> values = 100.0 + np.random.default_rng(1).normal(0.0, 2.0, 600)
    >>> values[400:430] += 40.0
    >>> z = deviations("temporal", values)
    >>> bool(abs(z[:400]).max() < 6.0), bool(z[405:425].min() > 6.0), bool(abs(z[560:]).max() < 6.0)
    (True, True, True)

State: 2.3 KB a series. Cost: one window of the network a sample, about 100 µs; the rows of a batch
are asked together, on one thread, without torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import cast

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from dos.detect import temporal_state
from dos.detect.base import Scored
from dos.detect.columns import Column, Columns
from dos.detect.robust import FLOORS, floor_of, real, set_floors, whole
from dos.detect.temporal_figures import FALL, RISE
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

_LARGEST = 1e100
"""Values are clipped here, so that no difference overflows."""
_SMALLEST = 1e-12
"""Least value on the log scale."""
_SIX = 6.0 / float(np.log(200.0))
"""Deviation for each factor e of rarity."""
_MIDDLE = len(LEVELS) // 2
_NARROW = 0.02
"""Least spread of memory, in scales of the window, when a sample's side is looked for."""


class Config(BaseModel):
    """Parameters of the temporal network."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = "temporal"
    """Name of a model that comes with DOS, or a folder with `model.onnx` and `card.json`."""
    rise: float = Field(default=RISE, gt=0, le=100)
    fall: float = Field(default=FALL, gt=0, le=100)
    """Samples in which suspicion rises, and falls, half the way to a new value; the calibration of
    models is for the defaults."""
    sparsest: int = Field(default=128, ge=1, le=4096)
    """The memory of 64 samples keeps every so-many-th of the past at least."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Said:
    """What the network says of some samples; kept from `score` to `learn`, which needs it too."""

    columns: Columns
    row: Int32Array
    count: Int64Array
    value: Float64Array
    at: Int64Array
    """Positions of those whose window is full; what follows is of these."""
    described: Described
    suspicion: Float64Array
    """Smoothed log odds."""
    forecast: Float32Array
    """`[at, LEVELS]` of the next sample."""

    def is_of(self, columns: Columns, row: Int32Array, value: Float64Array) -> bool:
        """Whether it was said of these very samples."""
        return (
            self.columns is columns
            and np.array_equal(self.row, row)
            and np.array_equal(self.value, value, equal_nan=True)
            and np.array_equal(self.count, whole(columns, "count")[row])
        )


class Temporal:
    """See the module's text."""

    name = "temporal"
    version = "1"

    def __init__(self, config: Config) -> None:
        self._config = config
        self._up = 1.0 - 0.5 ** (1.0 / config.rise)
        self._down = 1.0 - 0.5 ** (1.0 / config.fall)
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
            new = _scaled(columns, rows, value[at])
            middle, spread = _band(columns, rows, said)
            floor = floor_of(columns, rows, middle)
            expected[at], sigma[at] = middle, np.maximum(spread, floor)
            rare = _SIX * np.interp(said.suspicion, *self._calibration)
            rare += _SIX * np.maximum(said.suspicion - self._calibration[0][-1], 0.0)
            side, effect = _side(said.described, new, middle, sigma[at])
            known = real(columns, "absolute_floor")[rows] > 0
            rare = np.where(known, np.minimum(rare, effect / floor), rare)
            deviation[at] = side * rare
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
        scaled = _scaled(columns, rows, value[use])
        temporal_state.keep(
            columns, rows, timestamp[use], scaled, weight[use], self._config.sparsest
        )
        columns["forecast"][rows], columns["suspicion"][rows] = np.nan, np.nan
        mine = row[said.at]
        columns["forecast"][mine] = said.forecast
        columns["location"][mine] = said.described.location
        columns["scale"][mine] = said.described.scale
        columns["suspicion"][mine] = said.suspicion

    def to_unit(self, columns: Columns, row: Int32Array, scaled: Float64Array) -> Float64Array:
        """Undo the log scale."""
        return np.where(columns["log"][row], np.exp(np.minimum(scaled, 300.0)), scaled)

    @cached_property
    def _model(self) -> Served:
        return Served(self._config.model)

    @cached_property
    def _calibration(self) -> tuple[Float64Array, Float64Array]:
        points = np.array(self._model.card.calibration, np.float64).reshape(-1, 2)
        return points[:, 0], points[:, 1]

    def _ask(
        self, columns: Columns, row: Int32Array, timestamp: Int64Array, value: Float64Array
    ) -> _Said:
        """Ask the network about those of the samples that have a full window."""
        full = temporal_state.full(columns, row, timestamp) & np.isfinite(value)
        at = np.flatnonzero(full)
        rows = row[at]
        described = temporal_state.described(columns, rows, _scaled(columns, rows, value[at]))
        if len(at):
            answer = self._model.run({"window": described.window, "memory": described.memory})
            odds, forecast = answer["anomaly"].astype(np.float64), answer["quantiles"]
        else:
            odds, forecast = np.empty(0), np.empty((0, len(LEVELS)), np.float32)
        before = real(columns, "suspicion")[rows]
        before = np.where(np.isnan(before), odds, before)
        return _Said(
            columns=columns,
            row=row,
            count=whole(columns, "count")[row].copy(),
            value=value,
            at=at,
            described=described,
            suspicion=before + np.where(odds > before, self._up, self._down) * (odds - before),
            forecast=forecast,
        )


def _scaled(columns: Columns, row: Int32Array, value: Float64Array) -> Float64Array:
    """On the scale of judgement."""
    log = np.log(np.clip(value, _SMALLEST, _LARGEST))
    return np.where(columns["log"][row], log, np.clip(value, -_LARGEST, _LARGEST))


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
