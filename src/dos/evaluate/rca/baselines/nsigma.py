"""N-sigma: how many standard deviations a metric strays at most (Lin et al. 2018; RCAEval)."""

from __future__ import annotations

import numpy as np

from dos.evaluate.rca.baselines.table import table_of
from dos.rca.base import EntityScores
from dos.rca.case import Case


def score(case: Case) -> EntityScores:
    """The greatest absolute z-score of any series of each entity."""
    table = table_of(case)
    if not table.column:
        return table.scores(np.zeros(0))
    spread = table.normal.std(axis=0)
    spread = np.where(spread > 0, spread, 1.0)
    away = np.abs(table.abnormal - table.normal.mean(axis=0)) / spread
    return table.scores(away.max(axis=0))
