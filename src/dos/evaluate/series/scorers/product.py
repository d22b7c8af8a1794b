"""The product: the detection kernel as the pipeline runs it, fed one sample of each series a tick.

The prefix is given as history (learn, decide nothing), what follows as it would arrive. The score
is the kernel's own, 0 to 1; the alarm is on while the kernel holds the series to be abnormal, by
its own thresholds, evidence and patience. Series have no role and no unit, as a metric that no
preset knows, and times begin on a Monday at midnight, as the files have none.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dos.compute.base import ColumnBatch
from dos.detect.engine import DetectConfig, DetectKernel, EngineState
from dos.evaluate.series.scorer import Given, Scored
from dos.kit.clock import SECOND
from dos.model.ids import EntityId, SeriesId
from dos.model.telemetry import BoolArray, Float64Array, Series, SeriesSpec

MONDAY = 1_767_571_200_000
"""2026-01-05T00:00:00Z."""


class Product:
    """See the module's text.

    Args:
        config: Of detection, the same for every series.
    """

    def __init__(self, config: DetectConfig) -> None:
        self._kernel = DetectKernel(config)

    def score_all(self, fleet: Sequence[Given]) -> list[Scored]:
        """One row of the kernel's state for each series, all moved on together."""
        state = self._kernel.grow(self._kernel.create(), _series(fleet))
        longest = max(len(one.values) for one in fleet)
        table = np.full((longest, len(fleet)), np.nan)
        for place, given in enumerate(fleet):
            table[: len(given.values), place] = given.values
        length = np.array([len(one.values) for one in fleet])
        prefix = np.array([one.prefix for one in fleet])
        step = np.array([round(one.step_s * SECOND) for one in fleet], np.int64)
        score, alarm = np.zeros(table.shape), np.zeros(table.shape, np.bool_)
        rarity = np.full(table.shape, np.nan)
        for tick in range(longest):
            for which, history in ((tick < prefix, True), (tick >= prefix, False)):
                row = np.flatnonzero(which & (tick < length)).astype(np.int32)
                if len(row):
                    batch = ColumnBatch(
                        row=row,
                        timestamp=MONDAY + tick * step[row],
                        value=table[tick, row],
                        history=history,
                    )
                    state, _ = self._kernel.step(state, batch)
            self._read(state, score[tick], alarm[tick], rarity[tick])
        return [
            Scored(
                score=score[:count, place].copy(),
                alarm=alarm[:count, place].copy(),
                rarity=rarity[:count, place].copy(),
            )
            for place, count in enumerate(length.tolist())
        ]

    def _read(
        self, state: EngineState, score: Float64Array, alarm: BoolArray, rarity: Float64Array
    ) -> None:
        """Score, alarm and rarity of every row now; a series that is not judged yet scores 0."""
        readings = self._kernel.readings(state)
        rarity[:] = readings.rarity
        score[:] = np.nan_to_num(readings.score, nan=0.0)
        alarm[:] = readings.abnormal


def _series(fleet: Sequence[Given]) -> list[Series]:
    return [
        Series(id=SeriesId(place), spec=SeriesSpec(entity=EntityId(one.name), metric="value"))
        for place, one in enumerate(fleet)
    ]
