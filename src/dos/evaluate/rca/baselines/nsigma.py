"""N-sigma: by how many standard deviations a metric rises (Lin et al., ICSOC 2018; RCAEval).

*Microscope: Pinpoint Performance Issues with Causal Graphs in Micro-service Environments* ranks
by it; what is reproduced here is RCAEval's `nsigma`. `score` is as published: one-sided, the
greatest rise of any sample. Added is that availability is turned over. `absolute` counts a fall
like a rise and drops no constant series, which is what PetShop's figures were computed with.

AC@1/AC@3/Avg@5, metrics only, and in brackets the published implementation's on such files: Sock
Shop 0.94/1.00/0.99 (0.94/1.00/0.99), Nezha 0.45/0.66/0.64 (0.45/0.66/0.65), OpenNetAI part a
0.50/0.65/0.63 (all of it 0.50/0.66/0.63); `absolute` on PetShop 0.38/0.77/0.72 (0.35/0.77/0.69).
"""

from __future__ import annotations

import numpy as np

from dos.evaluate.rca.baselines.table import Table, table_of
from dos.model.telemetry import Float64Array
from dos.rca.base import EntityScores
from dos.rca.case import Case


def score(case: Case) -> EntityScores:
    """The greatest z-score of any series of each entity."""
    table = table_of(case).turned()
    if not table.column:
        return table.scores(np.zeros(0))
    return table.scores(np.nanmax(_away(table), axis=0))


def absolute(case: Case) -> EntityScores:
    """The greatest absolute z-score of any series of each entity."""
    table = table_of(case, constant=True)
    if not table.column:
        return table.scores(np.zeros(0))
    return table.scores(np.nanmax(np.abs(_away(table)), axis=0))


def _away(table: Table) -> Float64Array:
    """`[time, column]` after the start; where there is no spread, in the column's own unit."""
    spread = np.nanstd(table.normal, axis=0)
    # Of equal values the mean may be off by a rounding, and so the spread be next to nothing.
    level = np.nanmean(table.normal, axis=0)
    spread = np.where(spread > 1e-12 * np.abs(level), spread, 1.0)
    away: Float64Array = (table.abnormal - level) / spread
    return away
