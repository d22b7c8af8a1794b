"""A case as these methods take it: a table before the start and after it, and scores of columns.

What is done to the samples is what RCAEval 1.8.1 does (`io/time_series.py`: series that are
constant before or after the start are dropped, memory is in megabytes), with what its data needs
no answer for: gaps are left out or carried forward and never zero, and an alarm on a metric
restricts the table to that metric, as the evaluation of PetShop does (Hardt et al., CLeaR 2024).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from dos.model.ids import EntityId
from dos.model.telemetry import BoolArray, Float64Array, Role
from dos.rca.base import EntityScores
from dos.rca.case import Case

_MEGABYTE = 1e6
_GREATEST = 1e150


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Table:
    """Some of the series of a case."""

    case: Case
    column: tuple[int, ...]
    """Which series of the case."""
    normal: Float64Array
    """`[time, column]` before the start; NaN where there is no sample."""
    abnormal: Float64Array
    """`[time, column]` from the start to the end."""

    def scores(self, score: Float64Array) -> EntityScores:
        """Each entity has the greatest score of its columns; below all where it has none.

        Args:
            score: `[column]`; not a number counts as nothing known.
        """
        known = np.isfinite(score)
        least = float(score[known].min()) - 1.0 if known.any() else 0.0
        best: dict[EntityId, float] = dict.fromkeys(self.case.entities(), least)
        for place, one in zip(self.column, np.where(known, score, least).tolist(), strict=True):
            entity = self.case.series[place].entity
            best[entity] = max(best[entity], one)
        return EntityScores(entities=tuple(best), score=np.array(list(best.values())))

    def filled(self) -> Table:
        """Gaps filled with the value before, else with the one after."""
        both = np.concatenate([self.normal, self.abnormal])
        whole = _carried(_carried(both)[::-1])[::-1]
        cut = len(self.normal)
        return replace(self, normal=whole[:cut], abnormal=whole[cut:])

    def turned(self) -> Table:
        """Availability as unavailability, so that more of anything is worse."""
        falls = np.array([self.case.series[one].role is Role.AVAILABILITY for one in self.column])
        sign = np.where(falls, -1.0, 1.0)
        return replace(self, normal=self.normal * sign, abnormal=self.abnormal * sign)


def table_of(case: Case, *, constant: bool = False, statistics: bool = True) -> Table:
    """The table of a case.

    Args:
        case: The case.
        constant: Whether to keep series that are constant before or after the start.
        statistics: Whether to keep all statistics of the alarm's metric (its mean, its
            quantiles), and not only the first of each entity.
    """
    # A value whose square no number holds is as good as infinite.
    values = np.where(np.abs(case.values) < _GREATEST, case.values, np.nan)
    before = case.times < case.start
    after = ~before & (case.times <= case.end)
    normal, abnormal = values[before], values[after]
    use = _known(normal) & _known(abnormal) & _of_the_alarm(case, statistics=statistics)
    if not constant:
        use = use & _moves(normal) & _moves(abnormal)
    column = np.flatnonzero(use)
    scale = np.array([_scale(case.series[one].metric) for one in column])
    return Table(
        case=case,
        column=tuple(column.tolist()),
        normal=normal[:, column] / scale,
        abnormal=abnormal[:, column] / scale,
    )


def _of_the_alarm(case: Case, *, statistics: bool) -> BoolArray:
    """Series of the metric somebody was alarmed by; all where that is not known."""
    every = np.ones(len(case.series), np.bool_)
    metric = case.target[1] if case.target else None
    if metric is None:
        return every
    named = [at for at, one in enumerate(case.series) if one.metric.startswith(metric)]
    if not named:
        return every
    if not statistics:
        named = list({case.series[at].entity: at for at in reversed(named)}.values())
    use = np.zeros(len(case.series), np.bool_)
    use[named] = True
    return use


def _known(values: Float64Array) -> BoolArray:
    known: BoolArray = np.isfinite(values).sum(axis=0) > 0
    return known


def _moves(values: Float64Array) -> BoolArray:
    if not len(values):
        return np.zeros(values.shape[1], np.bool_)
    known = np.isfinite(values)
    most = np.where(known, values, -np.inf).max(axis=0)
    least = np.where(known, values, np.inf).min(axis=0)
    # One moment is not called constant: of a failure just noticed there is no more.
    moves: BoolArray = (most > least) | (known.any(axis=0) & (len(values) == 1))
    return moves


def _scale(metric: str) -> float:
    """What a value is divided by: `mem` and `…_mem`, by name and by nothing else, as published."""
    return _MEGABYTE if metric == "mem" or metric.endswith("_mem") else 1.0


def _carried(values: Float64Array) -> Float64Array:
    """The last known value where there is none."""
    known = np.isfinite(values)
    last = np.maximum.accumulate(np.where(known, np.arange(len(values))[:, None], -1), axis=0)
    filled = np.take_along_axis(values, np.maximum(last, 0), axis=0)
    return np.where(last >= 0, filled, np.nan)
