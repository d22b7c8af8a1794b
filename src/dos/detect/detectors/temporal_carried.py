"""The carried temporal network: an LSTM that reads each sample once and keeps its state.

It answers the same two questions as `temporal` (is this sample part of an anomaly, and where will
the next one lie?), but has no window: what it has read is in its state, and a sample costs one step
instead of sixty. So it can watch every series, where the windowed one watches those that matter.
The deviation is made as there: 6 where so much suspicion is one clean sample in fifty.

    >>> import numpy as np
    >>> from dos.testing.detectors import deviations
    >>> values = 100.0 + np.random.default_rng(1).normal(0.0, 2.0, 900)
    >>> values[600:640] += 60.0
    >>> z = deviations("temporal_carried", values)
    >>> bool(abs(z[100:600]).max() < 6.0), bool(z[606:620].min() > 6.0)
    (True, True)

State: 637 bytes a series. Cost: about 2 µs a sample, many rows at once, on one thread without
torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import cast

import numpy as np
from pydantic import Field

from dos.detect import temporal_pace
from dos.detect.base import Scored
from dos.detect.columns import Column, Columns
from dos.detect.robust import FLOORS, Pace, floor_of, real, set_floors, unscaled, whole
from dos.detect.temporal_judge import Asked, Judge, JudgeConfig, scaled
from dos.detect.temporal_window import LEVELS
from dos.kit.plugins import Plugin
from dos.ml.card import find, read_card
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


class Config(JudgeConfig):
    """Parameters of the carried temporal network."""

    model: str = "temporal_carried"
    """Name of a model that comes with DOS, or a folder with `model.onnx` and `card.json`."""
    warm_up: int = Field(default=60, ge=3, le=100_000)
    """Samples before a series is judged."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Said(Asked):
    """What the network says of some samples."""

    at: Int64Array
    """Positions of those it was asked about; what follows is of these."""
    suspicion: Float64Array
    """Smoothed log odds."""
    forecast: Float32Array
    """`[at, LEVELS]` of the next sample."""
    hidden: Float32Array
    cell: Float32Array
    """`[at, hidden_dim]` state to carry on."""


class TemporalCarried:
    """See the module's text."""

    name = "temporal_carried"
    version = "1"

    def __init__(self, config: Config) -> None:
        self._config = config
        self._pace = Pace()
        self._latest: _Said | None = None

    def layout(self) -> Mapping[str, Column]:
        """Statistics, the network's state, forecast and suspicion."""
        hidden = read_card(find(self._config.model)).shape["hidden_dim"]
        return {
            **FLOORS,
            **self._pace.layout(),
            **temporal_pace.LAYOUT,
            "hidden": Column(dtype="<f4", width=hidden),
            "cell": Column(dtype="<f4", width=hidden),
            "forecast": Column(dtype="<f4", initial=float("nan"), width=len(LEVELS)),
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
        deviation, ready = np.zeros(len(row)), np.zeros(len(row), np.bool_)
        if len(at):
            new = scaled(columns, rows, value[at])
            middle, spread = _band(columns, rows)
            floor = floor_of(columns, rows, middle)
            expected[at], sigma[at] = middle, np.maximum(spread, floor)
            side, effect = _side(columns, rows, new, middle, sigma[at])
            size = self._judge.size(said.suspicion)
            deviation[at] = side * self._judge.limited(columns, rows, size, effect, floor)
            ready[at] = whole(columns, "count")[rows] >= self._config.warm_up
        return Scored(deviation=deviation, expected=expected, sigma=sigma, ready=ready)

    def learn(
        self,
        columns: Columns,
        row: Int32Array,
        timestamp: Int64Array,
        value: Float64Array,
        weight: Float64Array,
    ) -> None:
        """Carry the network's state on, and learn the statistics."""
        said = self._latest
        if said is None or not said.is_of(columns, row, value):
            said = self._ask(columns, row, timestamp, value)
        self._latest = None
        use = np.isfinite(value)
        rows = row[use]
        # After a gap the sample only says where the next one comes from.
        broken = self._pace.broken(columns, rows, timestamp[use])
        fresh = rows[whole(columns, "count")[rows] == 0]
        columns["hidden"][fresh], columns["cell"][fresh] = 0.0, 0.0
        columns["suspicion"][rows], columns["forecast"][rows] = np.nan, np.nan
        self._pace.learn(columns, rows, timestamp[use])
        new = scaled(columns, rows, value[use])
        temporal_pace.learn(columns, rows, new, np.where(broken, 0.0, weight[use]))
        mine = row[said.at]
        columns["hidden"][mine], columns["cell"][mine] = said.hidden, said.cell
        columns["forecast"][mine] = said.forecast
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
        """Ask the network about those of the samples that follow another without a gap."""
        there: BoolArray = np.isfinite(value) & (whole(columns, "count")[row] > 0)
        at = np.flatnonzero(there & ~self._pace.broken(columns, row, timestamp))
        rows = row[at]
        sample = temporal_pace.inputs(columns, rows, scaled(columns, rows, value[at]))
        hidden = cast(Float32Array, columns["hidden"])[rows]
        cell = cast(Float32Array, columns["cell"])[rows]
        odds, forecast = np.empty(0), np.empty((0, len(LEVELS)), np.float32)
        if len(at):
            said = self._model.run({"sample": sample, "hidden": hidden, "cell": cell})
            odds, forecast = said["anomaly"].astype(np.float64), said["quantiles"]
            hidden, cell = said["hidden_out"], said["cell_out"]
        return _Said(
            columns=columns,
            row=row,
            count=whole(columns, "count")[row].copy(),
            value=value,
            at=at,
            suspicion=self._judge.smoothed(real(columns, "suspicion")[rows], odds),
            forecast=forecast,
            hidden=hidden,
            cell=cell,
        )


def _band(columns: Columns, row: Int32Array) -> tuple[Float64Array, Float64Array]:
    """Expected value and sigma by the forecast; around the last sample where there is none."""
    location, scale = temporal_pace.frame(columns, row)
    forecast = cast(Float32Array, columns["forecast"])[row].astype(np.float64)
    unknown: BoolArray = np.isnan(forecast[:, _MIDDLE])
    far = np.sinh(np.clip(np.where(unknown[:, None], 0.0, forecast), -12.0, 12.0))
    # From the 5 % to the 95 % quantile are 3.29 sigmas of a normal distribution.
    spread = scale * (far[:, -2] - far[:, 1]) / 3.29
    return location + scale * far[:, _MIDDLE], np.where(unknown, 1.25 * scale, spread)


def _side(
    columns: Columns,
    row: Int32Array,
    new: Float64Array,
    expected: Float64Array,
    sigma: Float64Array,
) -> tuple[Float64Array, Float64Array]:
    """Side of the sample (1 above, -1 below), and its largest distance from what is usual."""
    usual = real(columns, "slow")[row]
    spread = np.maximum(1.25 * real(columns, "slow_spread")[row], sigma)
    now, past = (new - expected) / sigma, (new - usual) / spread
    effect = np.maximum(np.abs(new - expected), np.abs(new - usual))
    return np.where(np.clip(now, -1e6, 1e6) + np.clip(past, -1e6, 1e6) < 0, -1.0, 1.0), effect


PLUGIN = Plugin(Config, TemporalCarried)
