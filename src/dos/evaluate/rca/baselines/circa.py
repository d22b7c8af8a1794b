"""CIRCA: regression on the causes in a structural graph (Li et al., KDD 2022).

*Causal Inference-Based Root Cause Analysis for Online Service Systems with Intervention
Recognition*: what regression-based hypothesis testing (section 4.2) cannot explain by the parents
is the score; descendant adjustment (section 4.3) adds to it what the children that are abnormal
themselves show. Parents of a metric are by its meta: traffic of an entity comes from traffic of
its callers, saturation from its traffic, latency and errors from its traffic and saturation and
from those of its callees.
"""

from __future__ import annotations

import numpy as np

from dos.evaluate.rca.baselines.table import Table, table_of
from dos.model.ids import EntityId
from dos.model.telemetry import Float64Array, Role
from dos.rca.base import EntityScores
from dos.rca.case import Case

_ABNORMAL = 3.0
_RIDGE = 1e-3
_MOST_PARENTS = 12


def score(case: Case) -> EntityScores:
    """The greatest adjusted score of any series of each entity."""
    table = table_of(case)
    if not table.column:
        return table.scores(np.zeros(0))
    parents = [_parents(table, at) for at in range(len(table.column))]
    away = np.array([_residual(table, at, mine) for at, mine in enumerate(parents)])
    adjusted = away.copy()
    for child, mine in enumerate(parents):
        if away[child] >= _ABNORMAL:
            for parent in mine:
                if away[parent] >= _ABNORMAL:
                    adjusted[parent] = max(adjusted[parent], away[parent] + away[child])
    return table.scores(adjusted)


def _parents(table: Table, at: int) -> list[int]:
    """Columns that a column may be caused by."""
    spec = table.case.series[table.column[at]]
    graph = table.case.graph
    callees = set(graph.callees(spec.entity)) if graph else set()
    callers = set(graph.callers(spec.entity)) if graph else set()
    own: dict[Role, set[Role]] = {
        Role.SATURATION: {Role.TRAFFIC},
        Role.LATENCY: {Role.TRAFFIC, Role.SATURATION},
        Role.ERRORS: {Role.TRAFFIC, Role.SATURATION, Role.LATENCY},
        Role.AVAILABILITY: {Role.TRAFFIC, Role.SATURATION, Role.LATENCY},
    }
    feeling = {Role.LATENCY, Role.ERRORS, Role.AVAILABILITY}

    def causes(other_role: Role, entity: EntityId) -> bool:
        if entity == spec.entity:
            return other_role in own.get(spec.role, set())
        if spec.role is Role.TRAFFIC:
            return entity in callers and other_role is Role.TRAFFIC
        return spec.role in feeling and entity in callees and other_role in feeling

    found = [
        place
        for place, column in enumerate(table.column)
        if place != at and causes(table.case.series[column].role, table.case.series[column].entity)
    ]
    if len(found) <= _MOST_PARENTS:
        return found
    with np.errstate(invalid="ignore", divide="ignore"):
        related = [abs(np.corrcoef(table.normal[:, at], table.normal[:, one])[0, 1]) for one in found]
    best = np.argsort(-np.nan_to_num(np.array(related)), kind="stable")[:_MOST_PARENTS]
    return [found[one] for one in best.tolist()]


def _residual(table: Table, at: int, parents: list[int]) -> float:
    """Greatest absolute z-score of what the parents do not explain."""
    y, later = table.normal[:, at], table.abnormal[:, at]
    if parents and len(y) > len(parents) + 2:
        x, x_later = table.normal[:, parents], table.abnormal[:, parents]
        mean, spread = x.mean(axis=0), x.std(axis=0) + 1e-12
        x, x_later = _with_one((x - mean) / spread), _with_one((x_later - mean) / spread)
        gram = x.T @ x + _RIDGE * len(y) * np.eye(x.shape[1])
        weights = np.linalg.solve(gram, x.T @ y)
        y, later = y - x @ weights, later - x_later @ weights
    spread_of = float(y.std())
    if spread_of <= 0:
        return float(np.abs(later - y.mean()).max() > 0) * _ABNORMAL
    return float((np.abs(later - y.mean()) / spread_of).max())


def _with_one(table: Float64Array) -> Float64Array:
    return np.concatenate([table, np.ones((len(table), 1))], axis=1)
