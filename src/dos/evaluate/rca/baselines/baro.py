"""BARO: median and interquartile range (Pham et al., FSE 2024).

*BARO: Robust Root Cause Analysis for Microservices via Multivariate Bayesian Online Change Point
Detection*, section 3.3, `RobustScorer`. The start that is given takes the place of the detected
one, as in the paper's and RCAEval's evaluation of the ranking. As published: one-sided, the
greatest rise of any sample; where the interquartile range is 0 it is taken for 1. Added is that
availability is turned over.

AC@1/AC@3/Avg@5, metrics only, and in brackets the published implementation's on such files: Sock
Shop 0.96/1.00/0.99 (0.96/1.00/0.99), Nezha 0.36/0.62/0.61 (0.36/0.62/0.61), OpenNetAI part a
0.09/0.28/0.35 (all of it 0.09/0.32/0.37), PetShop 0.15/0.38/0.41 (0.27/0.46/0.39, of one statistic
and one day of history). On Sock Shop and OpenNetAI the whole order of services is fse-baro's
0.2.2 in every case.
"""

from __future__ import annotations

import numpy as np

from dos.evaluate.rca.baselines.table import table_of
from dos.rca.base import EntityScores
from dos.rca.case import Case


def score(case: Case) -> EntityScores:
    """The greatest distance from the median, over the interquartile range, of each entity."""
    table = table_of(case).turned()
    if not table.column:
        return table.scores(np.zeros(0))
    low, middle, high = np.nanquantile(table.normal, (0.25, 0.5, 0.75), axis=0)
    spread = np.where(high > low, high - low, 1.0)
    return table.scores(np.nanmax((table.abnormal - middle) / spread, axis=0))
