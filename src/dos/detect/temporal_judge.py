"""What the temporal detectors share: from the log odds of a network to a deviation.

The networks say how sure they are that a sample is abnormal. That is smoothed (quickly up, slowly
down), and read off the calibration in the model's card: how rare is so much suspicion in clean
series? The deviation is proportional to the logarithm of the rarity, and at most as large as the
sample is far from what is usual in units of the smallest spread that matters by role and unit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from dos.detect.columns import Columns
from dos.detect.robust import real, whole
from dos.detect.temporal_figures import FALL, RISE
from dos.kit.errors import CorruptDataError
from dos.ml.card import ModelCard
from dos.model.telemetry import Float64Array, Int32Array, Int64Array

LARGEST = 1e100
"""Values are clipped here, so that no difference overflows."""
_SMALLEST = 1e-12
"""Least value on the log scale."""
_SIX = 6.0 / float(np.log(50.0))
"""Deviation for each factor e of rarity: 6 at one clean sample in fifty. (Most of these are in a
few restless series, whose thresholds the engine raises.)"""


class JudgeConfig(BaseModel):
    """Parameters that the temporal detectors share."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rise: float = Field(default=RISE, gt=0, le=100)
    """Samples in which suspicion rises half the way to a new value; the calibration of models is
    for the defaults of this and `fall`."""
    fall: float = Field(default=FALL, gt=0, le=100)
    """The same for how it falls."""


class Judge:
    """From log odds to deviations.

    Args:
        config: Of the smoothing.
        card: Of the network, with its calibration.

    Raises:
        CorruptDataError: The card has no calibration.
    """

    def __init__(self, config: JudgeConfig, card: ModelCard) -> None:
        self._up = 1.0 - 0.5 ** (1.0 / config.rise)
        self._down = 1.0 - 0.5 ** (1.0 / config.fall)
        if not card.calibration:
            raise CorruptDataError(f"The card of the model {card.name!r} has no calibration.")
        points = np.array(card.calibration, np.float64)
        self._suspicion, self._rarity = points[:, 0], points[:, 1]

    def smoothed(self, before: Float64Array, odds: Float64Array) -> Float64Array:
        """Suspicion after new log odds; `before` is NaN where there was none."""
        before = np.where(np.isnan(before), odds, before)
        rate = np.where(odds > before, self._up, self._down)
        smoothed: Float64Array = before + rate * (odds - before)
        return smoothed

    def size(self, suspicion: Float64Array) -> Float64Array:
        """Size of the deviation; beyond the calibration each point of suspicion is a factor e."""
        rarity = np.interp(suspicion, self._suspicion, self._rarity)
        beyond = np.maximum(suspicion - self._suspicion[-1], 0.0)
        size: Float64Array = _SIX * (rarity + beyond)
        return size

    @staticmethod
    def limited(
        columns: Columns,
        row: Int32Array,
        size: Float64Array,
        effect: Float64Array,
        floor: Float64Array,
    ) -> Float64Array:
        """Sizes that are not beyond the effect, where role and unit say what is small."""
        known = real(columns, "absolute_floor")[row] > 0
        return np.where(known, np.minimum(size, effect / floor), size)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Asked:
    """The samples that a network was asked about; its answer serves `score`, then `learn`."""

    columns: Columns
    row: Int32Array
    count: Int64Array
    value: Float64Array

    def is_of(self, columns: Columns, row: Int32Array, value: Float64Array) -> bool:
        """Whether it is these very samples, and none was learned since."""
        return (
            self.columns is columns
            and np.array_equal(self.row, row)
            and np.array_equal(self.value, value, equal_nan=True)
            and np.array_equal(self.count, whole(columns, "count")[row])
        )


def scaled(columns: Columns, row: Int32Array, value: Float64Array) -> Float64Array:
    """Finite values on the scale of judgement: logarithms where the profile says so."""
    log = np.log(np.clip(value, _SMALLEST, LARGEST))
    return np.where(columns["log"][row], log, np.clip(value, -LARGEST, LARGEST))
