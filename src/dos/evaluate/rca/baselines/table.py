"""A case as these methods take it: a table without gaps, before and after, and scores of columns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dos.model.ids import EntityId
from dos.model.telemetry import Float64Array
from dos.rca.base import EntityScores
from dos.rca.case import Case


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Table:
    """The series that are not constant, gaps filled with the value before, as RCAEval does."""

    case: Case
    column: tuple[int, ...]
    """Which series of the case."""
    normal: Float64Array
    """`[time, column]` before the start."""
    abnormal: Float64Array
    """`[time, column]` from the start to the end."""

    def scores(self, score: Float64Array) -> EntityScores:
        """Each entity has the greatest score of its columns; 0 where it has none.

        Args:
            score: `[column]`.
        """
        best: dict[EntityId, float] = dict.fromkeys(self.case.entities(), 0.0)
        for place, one in zip(self.column, np.nan_to_num(score).tolist(), strict=True):
            entity = self.case.series[place].entity
            best[entity] = max(best[entity], one)
        return EntityScores(entities=tuple(best), score=np.array(list(best.values())))


def table_of(case: Case) -> Table:
    """The table of a case."""
    values = _filled(case.values)
    before = case.times < case.start
    after = ~before & (case.times <= case.end)
    normal, abnormal = values[before], values[after]
    if not len(normal) or not len(abnormal):
        empty = np.zeros((0, 0))
        return Table(case=case, column=(), normal=empty, abnormal=empty)
    moves = (normal.max(axis=0) > normal.min(axis=0)) & (abnormal.max(axis=0) > abnormal.min(axis=0))
    moves |= np.abs(abnormal.mean(axis=0) - normal.mean(axis=0)) > 0
    column = np.flatnonzero(moves)
    return Table(
        case=case,
        column=tuple(column.tolist()),
        normal=normal[:, column],
        abnormal=abnormal[:, column],
    )


def _filled(values: Float64Array) -> Float64Array:
    """The last known value where there is none; 0 before the first."""
    known = np.isfinite(values)
    last = np.maximum.accumulate(np.where(known, np.arange(len(values))[:, None], -1), axis=0)
    filled = np.take_along_axis(values, np.maximum(last, 0), axis=0)
    return np.where(last >= 0, filled, 0.0)
