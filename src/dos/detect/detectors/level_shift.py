"""Level shift: the last few samples lie elsewhere than those before them, and stay there.

Two windows lie side by side, as in Kifer, Ben-David & Gehrke, *Detecting change in data streams*
(VLDB 2004, section 3): the newest `recent` samples and the `past` ones that left the first window.
The statistic is the difference of their medians, which neither a spike nor an outlier in the past
moves. Its usual size is learned for each series, so that the slopes of a daily pattern, which
make windows differ every day, do not count. Samples enter the past only as far as they were
normal (`weight`), so the level before an incident is remembered until the incident is over.

A shift is seen when it fills half of the recent window: after 4 samples of 8, never after one.

    >>> import numpy as np
    >>> from dos.testing.detectors import deviations
    >>> values = np.random.default_rng(1).normal(100.0, 2.0, 400)
    >>> values[200] += 100.0  # a spike
    >>> values[300:] -= 30.0  # a shift
    >>> z = deviations("level_shift", values)
    >>> bool(abs(z[:300]).max() < 6.0), bool(z[305] < -6.0), bool(z[330] < -6.0)
    (True, True, True)

State: 565 bytes a series. Cost: two sorts of a few dozen numbers a sample, twice.
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
    """Parameters of the level shift."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    recent: int = Field(default=8, ge=2, le=256)
    """Samples of the recent window; half of them must have moved."""
    past: int = Field(default=48, ge=4, le=1024)
    """Samples of the window before."""
    half_life: int = Field(default=240, ge=2, le=100_000)
    """Samples after which half of what is known of the usual difference is forgotten."""
    warm_up: int = Field(default=24, ge=3, le=100_000)
    """Differences that must be known before one is judged."""


class LevelShift:
    """See the module's text."""

    name = "level_shift"
    version = "1"

    def __init__(self, config: Config) -> None:
        self._config = config
        self._pace = Pace()
        self._usual = Calibration(
            prefix="usual", half_life=config.half_life, warm_up=config.warm_up
        )

    def layout(self) -> Mapping[str, Column]:
        """Both windows and the usual difference."""
        return {
            **FLOORS,
            **self._pace.layout(),
            **self._usual.layout(),
            "count": Column(dtype="<i8"),
            "recent": Column(dtype="<f8", width=self._config.recent),
            "trust": Column(dtype="<f4", width=self._config.recent),
            "seen": Column(dtype="<i8"),
            "past": Column(dtype="<f8", width=self._config.past),
            "kept": Column(dtype="<i8"),
            "credit": Column(dtype="<f8"),
        }

    def prepare(self, columns: Columns, first: int, series: Sequence[Series]) -> None:
        """Take scale and floors from role and unit."""
        set_floors(columns, first, series)

    def score(
        self, columns: Columns, row: Int32Array, timestamp: Int64Array, value: Float64Array
    ) -> Scored:
        """Difference of the medians, against what is usual."""
        broken = self._pace.broken(columns, row, timestamp)
        difference, reference, known = self._compare(columns, row, value, broken)
        sigma = self._usual.sigma(columns, row, floor_of(columns, row, reference))
        usual = self._usual.level(columns, row)
        ready = known & self._usual.ready(columns, row)
        return Scored(
            deviation=clipped(np.where(ready, (difference - usual) / sigma, 0.0)),
            expected=reference + usual,
            sigma=sigma,
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
        """Learn the difference, and move the windows on."""
        use = usable(value)
        row, timestamp, value, weight = row[use], timestamp[use], value[use], weight[use]
        begin_again(columns, self.layout(), row)
        broken = self._pace.broken(columns, row, timestamp)
        difference, reference, known = self._compare(columns, row, value, broken)
        floor = floor_of(columns, row[known], reference[known])
        self._usual.learn(columns, row[known], difference[known], weight[known], floor)
        _push(row, scaled(columns, row, value), weight, broken, _windows(columns))
        self._pace.learn(columns, row, timestamp)
        whole(columns, "count")[row] += 1

    def to_unit(self, columns: Columns, row: Int32Array, scaled: Float64Array) -> Float64Array:
        """Undo the log scale."""
        return unscaled(columns, row, scaled)

    def _compare(
        self, columns: Columns, row: Int32Array, value: Float64Array, broken: BoolArray
    ) -> tuple[Float64Array, Float64Array, BoolArray]:
        """Recent median with the new sample minus past median, the latter, and if both exist."""
        difference, reference = np.zeros(len(row)), np.zeros(len(row))
        known = usable(value) & ~broken
        _medians(row, scaled(columns, row, value), known, _windows(columns), difference, reference)
        return difference, reference, known


class _Windows(NamedTuple):
    """Columns, by row."""

    recent: Float64Array
    trust: Float64Array
    seen: Int64Array
    past: Float64Array
    kept: Int64Array
    credit: Float64Array


def _windows(columns: Columns) -> _Windows:
    return _Windows(
        recent=real(columns, "recent"),
        trust=real(columns, "trust"),
        seen=whole(columns, "seen"),
        past=real(columns, "past"),
        kept=whole(columns, "kept"),
        credit=real(columns, "credit"),
    )


@compiled
def _medians(
    row: Int32Array,
    value: Float64Array,
    known: BoolArray,
    windows: _Windows,
    difference: Float64Array,
    reference: Float64Array,
) -> None:
    """Fill `difference` and `reference`; `known` becomes False where a window is not full yet."""
    recent, seen, past, kept = windows.recent, windows.seen, windows.past, windows.kept
    width, reach = recent.shape[1], past.shape[1]
    window = np.empty(width)
    for at in range(len(row)):
        one = row[at]
        held = min(kept[one], reach)
        if not known[at] or seen[one] < width - 1 or held < max(4, reach // 4):
            known[at] = False
            continue
        # The oldest of a full window is the one that the new sample will replace.
        window[:] = recent[one]
        window[seen[one] % width] = value[at]
        reference[at] = np.median(past[one, :held])
        difference[at] = np.median(window) - reference[at]


@compiled
def _push(
    row: Int32Array, value: Float64Array, weight: Float64Array, broken: BoolArray, windows: _Windows
) -> None:
    """New samples into the recent window; what leaves it goes into the past if it was normal."""
    recent, trust, seen = windows.recent, windows.trust, windows.seen
    past, kept, credit = windows.past, windows.kept, windows.credit
    width, reach = recent.shape[1], past.shape[1]
    for at in range(len(row)):
        one = row[at]
        if broken[at]:
            seen[one] = 0
            kept[one] = 0
        place = seen[one] % width
        if seen[one] >= width:
            credit[one] += min(trust[one, place], weight[at])
            if credit[one] >= 1.0:
                credit[one] -= 1.0
                past[one, kept[one] % reach] = recent[one, place]
                kept[one] += 1
        recent[one, place] = value[at]
        trust[one, place] = weight[at]
        seen[one] += 1


PLUGIN = Plugin(Config, LevelShift)
