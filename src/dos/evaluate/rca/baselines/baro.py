"""BARO: Bayesian change point, then median and interquartile range (Pham et al., FSE 2024).

*BARO: Robust Root Cause Analysis for Microservices via Multivariate Bayesian Online Change Point
Detection*. The start that is given takes the place of the detected one, as in its evaluation; its
RobustScorer is section 3.3. Scores are one-sided there; here a fall counts as much as a rise,
which is kinder to it.
"""

from __future__ import annotations

import numpy as np

from dos.evaluate.rca.baselines.table import table_of
from dos.rca.base import EntityScores
from dos.rca.case import Case


def score(case: Case) -> EntityScores:
    """The greatest distance from the median, over the interquartile range, of each entity."""
    table = table_of(case)
    if not table.column:
        return table.scores(np.zeros(0))
    low, middle, high = np.quantile(table.normal, (0.25, 0.5, 0.75), axis=0)
    spread = np.where(high > low, high - low, 1.0)
    return table.scores((np.abs(table.abnormal - middle) / spread).max(axis=0))
