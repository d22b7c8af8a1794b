"""Robust EWMA of level and spread, carried along by the learned daily shape.

For each series a level and a mean absolute deviation are kept as exponentially weighted averages
whose innovations are clipped (Huber's psi; Gelper, Fried & Croux, *Robust forecasting with
exponential and Holt-Winters smoothing*, J. Forecasting 29, 2010, eq. 6-8), so that an outlier
moves them by a bounded amount. The daily shape is the mean level of each hour, kept apart for
working days and days off; only its *slope* is used: between two samples the level moves by what
the shape moves. A shape that is not known yet therefore changes nothing, and one that becomes
known causes no jump.

A level follows whatever moves slowly enough, a leak over hours too. So a second, *slow* level
with a long memory goes along: where level and sample have both crept away from it by more than
the role of the series allows in the bad direction or in both (`Profile.creep`), the sample is
judged against the slow level.

A gap is no jump: where the shape does not tell how the level moved meanwhile and the gap is an
hour longer than usual, or where it is a week, the baseline begins again, and the series is not
judged before it has warmed up. The shape and the threshold that was learned stay.

    >>> import numpy as np
    >>> from dos.detect.columns import Columns
    >>> from dos.model.telemetry import Series, SeriesSpec
    >>> detector = SeasonalEwma(Config())
    >>> columns = Columns(detector.layout())
    >>> columns.grow(1)
    >>> detector.prepare(columns, 0, [Series(id=0, spec=SeriesSpec(entity="shop", metric="rate"))])
    >>> row, one = np.zeros(1, np.int32), np.ones(1)
    >>> for minute in range(60):
    ...     at = np.array([60_000 * minute])
    ...     detector.learn(columns, row, at, np.array([100.0 + minute % 7]), one)
    >>> bool(detector.score(columns, row, at + 60_000, np.array([150.0])).deviation[0] > 8)
    True

Computed in `dos.detect.ewma`, sample by sample and compiled. State: 310 bytes a series.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from dos.detect.base import Scored
from dos.detect.calendar import Calendars, DaysOff
from dos.detect.columns import Column, Columns
from dos.detect.ewma import BINS, Settings, Table, learn_rows, look_rows
from dos.detect.profile import profile_of
from dos.kit.plugins import Plugin
from dos.model.telemetry import Float64Array, Int32Array, Int64Array, Series


class Config(BaseModel):
    """Parameters of the robust EWMA with daily shape."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    level_half_life: int = Field(default=60, ge=2, le=100_000)
    """Samples after which the level has moved half the way to a new value."""
    slow_half_life: int = Field(default=960, ge=2, le=1_000_000)
    """The same for the slow level, against which creeping changes are seen."""
    spread_half_life: int = Field(default=240, ge=2, le=100_000)
    """The same for the spread."""
    warm_up: int = Field(default=15, ge=3, le=100_000)
    """Samples before a series is judged."""
    clip: float = Field(default=3.0, gt=0, le=20)
    """Innovations are clipped at this many sigmas."""


class SeasonalEwma:
    """See the module's text."""

    name = "seasonal_ewma"
    version = "2"

    def __init__(self, config: Config) -> None:
        rates = [
            1 - 0.5 ** (1 / samples)
            for samples in (config.level_half_life, config.slow_half_life, config.spread_half_life)
        ]
        level, slow, spread = rates
        settled = max(8000, int(np.ceil(1 / min(rates))) + 1, config.warm_up)
        self.settings = Settings(
            level_rate=level,
            slow_rate=slow,
            spread_rate=spread,
            warm_up=config.warm_up,
            creep_after=2 * config.level_half_life,
            settled=settled,
            clip=config.clip,
            first_off=DaysOff.FIRST,
        )
        self._names = tuple(self.layout())
        self._days_off = DaysOff(Calendars())

    def use(self, days_off: DaysOff) -> None:
        """Take holidays from there."""
        self._days_off = days_off

    def layout(self) -> Mapping[str, Column]:
        """Columns of this detector, in the order of `Table`."""
        return {
            "count": Column(dtype="<i4"),
            "level": Column(dtype="<f8"),
            "slow": Column(dtype="<f8"),
            "spread": Column(dtype="<f4"),
            "last": Column(dtype="<i8"),
            "step": Column(dtype="<f4"),
            "rise": Column(dtype="<f4"),
            "hour_sum": Column(dtype="<f8"),
            "hour_count": Column(dtype="<i4"),
            "log": Column(dtype="|b1", initial=False),
            "relative_floor": Column(dtype="<f4"),
            "absolute_floor": Column(dtype="<f4"),
            "relative_creep": Column(dtype="<f4"),
            "absolute_creep": Column(dtype="<f4"),
            "calendar": Column(dtype="|u1"),
            "shape": Column(dtype="<f4", width=2 * BINS),
            "visits": Column(dtype="|u1", width=2 * BINS),
        }

    def prepare(self, columns: Columns, first: int, series: Sequence[Series]) -> None:
        """Take scale and floors from role and unit."""
        profiles = [profile_of(one.spec) for one in series]
        columns["log"][first:] = [profile.logarithmic for profile in profiles]
        columns["relative_floor"][first:] = [profile.relative_floor for profile in profiles]
        columns["absolute_floor"][first:] = [profile.absolute_floor for profile in profiles]
        columns["relative_creep"][first:] = [profile.relative_creep for profile in profiles]
        columns["absolute_creep"][first:] = [profile.absolute_creep for profile in profiles]
        columns["calendar"][first:] = [self._days_off.group_of(one.spec) for one in series]

    def table(self, columns: Columns) -> Table:
        """The columns as compiled functions take them; valid until they grow."""
        return Table._make([*(columns[name] for name in self._names), self._days_off.table])

    def score(
        self, columns: Columns, row: Int32Array, timestamp: Int64Array, value: Float64Array
    ) -> Scored:
        """Deviation of each sample from the level, moved along the daily shape."""
        out = np.empty((3, len(row)))
        flags = look_rows(self.table(columns), self.settings, row, timestamp, value, out)
        ready, crept = flags
        return Scored(deviation=out[0], expected=out[1], sigma=out[2], ready=ready, sure=crept)

    def learn(
        self,
        columns: Columns,
        row: Int32Array,
        timestamp: Int64Array,
        value: Float64Array,
        weight: Float64Array,
    ) -> None:
        """Move level, spread and shape towards the samples."""
        learn_rows(self.table(columns), self.settings, row, timestamp, value, weight)

    def to_unit(self, columns: Columns, row: Int32Array, scaled: Float64Array) -> Float64Array:
        """Undo the log scale."""
        return np.where(columns["log"][row], np.exp(np.minimum(scaled, 300.0)), scaled)


PLUGIN = Plugin(Config, SeasonalEwma)
