"""Flat line: a series that used to move repeats one value, as stuck sensors and dead caches do.

Two things are learned: how often a sample equals the one before, and how long such runs get. If
repeats came independently with probability p, a run of n of them would have the probability p^n,
which is turned into the normal deviation of the same rarity (z²/2 ≈ -n ln p, the tail bound of
the normal distribution). But repeats come in bursts: an idle night is one long run. So the run
must also be long against the longest that is remembered: a third of that, and 3 samples at
least, is taken for one sigma. The smaller deviation counts.

Values are compared exactly. A series that has hardly ever moved is never judged, so constants are
no anomalies. A flat line has no direction: deviations are not negative, and there is no band.

    >>> import numpy as np
    >>> from dos.testing.detectors import deviations
    >>> values = np.random.default_rng(1).normal(20.0, 1.0, 400)
    >>> values[300:] = values[299]
    >>> z = deviations("flat_line", values)
    >>> bool(z[:305].max() < 6.0), bool(z[330:].min() > 6.0)
    (True, True)

State: 48 bytes a series. Cost: about 30 vector operations a batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from dos.detect.base import Scored
from dos.detect.columns import Column, Columns
from dos.detect.robust import begin_again, clipped, real, usable, whole
from dos.kit.plugins import Plugin
from dos.model.telemetry import Float64Array, Int32Array, Int64Array, Series

_SHORT = 3.0
"""Samples that are taken for one sigma of a run's length, at least."""


class Config(BaseModel):
    """Parameters of the flat line."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    half_life: int = Field(default=1000, ge=2, le=100_000)
    """Samples after which half of what is known of repeats is forgotten."""
    remember: int = Field(default=50_000, ge=2, le=10_000_000)
    """Samples after which the longest run is remembered as half as long."""
    moves: int = Field(default=20, ge=2, le=100_000)
    """Times a series must have moved before it is judged."""


class FlatLine:
    """See the module's text."""

    name = "flat_line"
    version = "1"

    def __init__(self, config: Config) -> None:
        self._config = config
        self._rate = 1.0 - 0.5 ** (1.0 / config.half_life)
        self._fading = 0.5 ** (1.0 / config.remember)

    def layout(self) -> Mapping[str, Column]:
        """The run under way, and what runs there have been."""
        return {
            "count": Column(dtype="<i8"),
            "before": Column(dtype="<f8"),
            "run": Column(dtype="<i8"),
            "repeats": Column(dtype="<f8"),
            "longest": Column(dtype="<f8"),
            "moves": Column(dtype="<i4"),
            "trust": Column(dtype="<f4", initial=1.0),
        }

    def prepare(self, columns: Columns, first: int, series: Sequence[Series]) -> None:
        """Nothing depends on role or unit."""

    def score(
        self, columns: Columns, row: Int32Array, timestamp: Int64Array, value: Float64Array
    ) -> Scored:
        """How rare a run as long as the present one is."""
        run = self._run(columns, row, value)
        share = np.clip(real(columns, "repeats")[row], 1e-3, 1.0)
        rare = np.sqrt(-2.0 * np.maximum(run - 1.0, 0.0) * np.log(share))
        longest = np.maximum(real(columns, "longest")[row], 1.0)
        long = np.maximum(run - longest, 0.0) / np.maximum(longest / 3.0, _SHORT)
        strange = np.minimum(rare, long)
        ready = usable(value) & (whole(columns, "moves")[row] >= self._config.moves)
        unknown = np.full(len(row), np.nan)
        return Scored(
            deviation=clipped(np.where(ready, strange, 0.0)),
            expected=unknown,
            sigma=unknown,
            ready=ready,
            sure=ready,
        )

    def learn(
        self,
        columns: Columns,
        row: Int32Array,
        timestamp: Int64Array,
        value: Float64Array,
        weight: Float64Array,
    ) -> None:
        """Count the repeat, or learn the run that has ended."""
        use = usable(value)
        row, value, weight = row[use], value[use], weight[use]
        begin_again(columns, self.layout(), row, keep=())
        count, repeats = whole(columns, "count"), real(columns, "repeats")
        before, run = real(columns, "before"), whole(columns, "run")
        trust = real(columns, "trust")
        known = count[row] > 0
        same = known & (value == before[row])
        over = row[known & ~same]
        # A run is worth as much as its least normal sample.
        worth = np.minimum(trust[row], weight)
        moves = whole(columns, "moves")
        moves[over] = np.minimum(moves[over], 2**30) + 1
        longest = real(columns, "longest")
        beyond = np.maximum(run[over] - longest[over], 0.0)
        longest[over] += worth[known & ~same] * beyond
        longest[row] *= self._fading
        rate = np.maximum(self._rate, 1.0 / (count[row] + 1.0)) * weight
        repeats[row] += np.where(known, rate * (same - repeats[row]), 0.0)
        run[row] = np.where(same, run[row] + 1, 1)
        trust[row] = np.where(same, worth, 1.0)
        before[row] = value
        count[row] += 1

    def to_unit(self, columns: Columns, row: Int32Array, scaled: Float64Array) -> Float64Array:
        """The scale is the unit."""
        return scaled

    @staticmethod
    def _run(columns: Columns, row: Int32Array, value: Float64Array) -> Float64Array:
        """Length of the run that each sample continues, or 1."""
        same = (whole(columns, "count")[row] > 0) & (value == real(columns, "before")[row])
        return np.where(same, whole(columns, "run")[row] + 1.0, 1.0)


PLUGIN = Plugin(Config, FlatLine)
