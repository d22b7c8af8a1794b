"""Epsilon-diagnosis: whose samples before and after the start do not go together.

Shan et al., *ε-Diagnosis: Unsupervised and Real-time Diagnosis of Small-window Long-tail Latency
in Large-scale Microservice Platforms*, WWW 2019, as in PyRCA 1.0.1: the squared correlation of as
many samples before the start as there are after it with these, against the quantile of what pairs
of resampled columns have by chance. What differs: all entities are ranked, by how far they exceed
that quantile, and the resampling is seeded and limited to `_COLUMNS` columns, because the pairs
of 2,000 columns are two million.

AC@1/AC@3/Avg@5, metrics only: Sock Shop 0.00/0.02/0.11, Nezha 0.14/0.43/0.41, OpenNetAI part a
0.00/0.02/0.02, PetShop 0.04/0.12/0.11. What precedes a fault does not go together with it in time.
"""

from __future__ import annotations

import numpy as np

from dos.evaluate.rca.baselines.table import table_of
from dos.model.telemetry import Float64Array
from dos.rca.base import EntityScores
from dos.rca.case import Case

_DRAWS = 50
_COLUMNS = 100
_QUANTILE = 0.95


def score(case: Case) -> EntityScores:
    """By how much the squared correlation of any series exceeds that of chance."""
    table = table_of(case, constant=True).filled()
    length = min(len(table.normal), len(table.abnormal))
    if not table.column or length < 2:
        return table.scores(np.zeros(len(table.column)))
    before, after = _unit(table.normal[-length:]), _unit(table.abnormal[-length:])
    together = (before * after).sum(axis=0) ** 2
    return table.scores(together - _by_chance(table.normal[-length:]))


def _by_chance(normal: Float64Array) -> float:
    """The squared correlation that few pairs of resampled columns exceed."""
    rng = np.random.default_rng(0)
    columns = rng.permutation(normal.shape[1])[:_COLUMNS]
    pairs = np.triu_indices(len(columns), 1)
    found = []
    for _ in range(_DRAWS):
        rows = rng.integers(0, len(normal), (len(normal), len(columns)))
        drawn = _unit(normal[rows, columns])
        found.append(((drawn.T @ drawn)[pairs]) ** 2)
    seen = np.concatenate(found)
    return float(np.quantile(seen, _QUANTILE)) if len(seen) else 0.0


def _unit(values: Float64Array) -> Float64Array:
    """Columns of mean 0 and length 1; of constant ones, zeros."""
    centred = values - values.mean(axis=0)
    size = np.sqrt((centred**2).sum(axis=0))
    moves = size > 1e-12 * np.abs(values).max(axis=0)
    unit: Float64Array = np.where(moves, centred / np.where(moves, size, 1.0), 0.0)
    return unit
