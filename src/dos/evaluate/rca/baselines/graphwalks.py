"""Three methods that start from an alarm and look at who else is abnormal.

`traversal`: the abnormal that call nobody abnormal, reached from the alarm along the abnormal
(Chen et al., *CauseInfer*, INFOCOM 2014; Liu et al., *MicroHECL*, ICSE 2021), scored as in the
evaluation of PetShop (Hardt et al., CLeaR 2024): one statistic of the alarm's metric, at one moment
(the third sample of five there, the middle one here), its median absolute deviation with a
threshold of 5, and the sum of scores along the way. The way is the shortest one; there it is the
best of all simple ones, whose number explodes. It ranks but these; the others follow by their own
score.

`random_walk`: a walk over the abnormal part of the graph, mostly towards callees (Ma et al.,
*MS-Rank*, 2019; PyRCA's `RandomWalk`): forth with the callee's weight, back with a tenth of the
caller's, and staying where the own weight exceeds that of all callees. Weights are correlations
with the alarm there and logarithms of z-scores here, which also say something without an alarm
(Wu et al., *MicroRCA*, NOMS 2020); time in each place is solved for and not sampled.

`ranked_correlation`: who moves as the alarmed series does (Hardt et al.), before and after the
start together; without an alarm, as the golden signals of entry points do.

Without a call graph the first two rank by their own scores alone.

AC@1/AC@3/Avg@5, metrics only, on Sock Shop, Nezha, OpenNetAI part a (no graph), PetShop:
`traversal` 0.22/0.24/0.26, 0.21/0.29/0.28, 0.59/0.72/0.69, 0.58/1.00/0.90; `random_walk`
0.08/0.18/0.22, 0.54/0.70/0.66, 0.57/0.72/0.69, 0.62/0.88/0.82; `ranked_correlation`
0.68/0.80/0.81, 0.27/0.48/0.50, 0.57/0.72/0.69, 0.31/0.42/0.45. Of the ten test cases of PetShop's
latency the first place is right in 0.70 by traversal (published 0.80, run again 0.70) and in 0.40
by correlation (published 0.40).
"""

from __future__ import annotations

from collections import deque

import numpy as np

from dos.evaluate.rca.baselines import nsigma
from dos.evaluate.rca.baselines.table import Table, table_of
from dos.model.graph import GraphSnapshot
from dos.model.ids import EntityId
from dos.model.telemetry import Float64Array
from dos.rca.base import EntityScores
from dos.rca.case import Case

_ABNORMAL = 5.0
"""Median absolute deviations, in standard deviations of a normal distribution."""
_TO_SIGMA = 1.4826
_RESTART = 0.15
_BACK = 0.1
_ROUNDS = 200


def traversal(case: Case) -> EntityScores:
    """Abnormal entities without abnormal callees first."""
    table = table_of(case, constant=True, statistics=False)
    if not table.column:
        return table.scores(np.zeros(0))
    plain = table.scores(_deviations(table))
    if case.graph is None:
        return plain
    own = dict(zip(plain.entities, plain.score.tolist(), strict=True))
    ill = {entity for entity, value in own.items() if value > _ABNORMAL}
    along = _reached(case, case.graph, own, ill)
    most = max(own.values(), default=0.0) + 1.0
    score = [
        most + along[entity]
        if entity in along and not any(one in ill for one in case.graph.callees(entity))
        else value
        for entity, value in own.items()
    ]
    return EntityScores(entities=tuple(own), score=np.array(score))


def _reached(
    case: Case, graph: GraphSnapshot, own: dict[EntityId, float], ill: set[EntityId]
) -> dict[EntityId, float]:
    """The sum of scores along the shortest way from the alarm, or from any of the abnormal."""
    starts = [case.target[0]] if case.target and case.target[0] in own else sorted(ill)
    along = {one: own[one] for one in starts}
    waiting = deque(starts)
    while waiting:
        here = waiting.popleft()
        for one in graph.callees(here):
            if one in ill and one not in along:
                along[one] = along[here] + own[one]
                waiting.append(one)
    return along


def _deviations(table: Table) -> Float64Array:
    """`[column]` distance from the median in the middle of the incident.

    In their own unit where a series is constant; 0 where there is no sample.
    """
    middle = np.nanmedian(table.normal, axis=0)
    spread = _TO_SIGMA * np.nanmedian(np.abs(table.normal - middle), axis=0)
    # Mostly constant, though not always: the standard deviation is the next best.
    spread = np.where(spread > 0, spread, np.nanstd(table.normal, axis=0))
    spread = np.where(spread > 1e-12 * np.abs(middle), spread, 1.0)
    moment = table.abnormal[len(table.abnormal) // 2]
    away: Float64Array = np.nan_to_num(np.abs(moment - middle) / spread)
    return away


def random_walk(case: Case) -> EntityScores:
    """Where a walker from callers to callees spends its time, drawn to what is abnormal."""
    plain = nsigma.absolute(case)
    if case.graph is None or not len(plain.entities):
        return plain
    place = {entity: at for at, entity in enumerate(plain.entities)}
    strength = np.log1p(np.maximum(plain.score, 0.0))
    step = np.zeros((len(place), len(place)))
    for entity, at in place.items():
        callees = [place[one] for one in case.graph.callees(entity) if one in place]
        callers = [place[one] for one in case.graph.callers(entity) if one in place]
        step[at, callers] = _BACK * strength[callers]
        step[at, callees] = strength[callees]
        below = max((float(strength[one]) for one in callees), default=0.0)
        step[at, at] = max(float(strength[at]) - below, 0.0)
    total = step.sum(axis=1, keepdims=True)
    step = np.where(total > 0, step / np.where(total > 0, total, 1.0), 1.0 / len(place))
    home = strength if strength.sum() > 0 else np.ones(len(place))
    home = home / home.sum()
    stay: Float64Array = home
    for _ in range(_ROUNDS):
        stay = _RESTART * home + (1 - _RESTART) * (stay @ step)
    return EntityScores(entities=plain.entities, score=stay)


def ranked_correlation(case: Case) -> EntityScores:
    """Absolute correlation with the alarmed series, over history and incident together."""
    table = table_of(case, constant=True).filled()
    alarmed = _alarmed(case)
    chosen = [at for at, place in enumerate(table.column) if place in alarmed]
    if not chosen:
        return nsigma.absolute(case)
    both = np.concatenate([table.normal, table.abnormal])
    centred = both - both.mean(axis=0)
    size = np.sqrt((centred**2).sum(axis=0))
    # Of equal values the mean may be off by a rounding.
    moves = size > 1e-12 * np.abs(both).max(axis=0)
    unit = np.where(moves, centred / np.where(moves, size, 1.0), 0.0)
    score = np.abs(unit.T @ unit[:, chosen])
    score[chosen] = 0.0
    return table.scores(score.max(axis=1))


def _alarmed(case: Case) -> set[int]:
    """The series somebody was alarmed by; without an alarm those of who is called by nobody."""
    if case.target is not None:
        node, metric = case.target
        mine = [at for at, one in enumerate(case.series) if one.entity == node]
        named = [at for at in mine if metric and case.series[at].metric.startswith(metric)]
        return set(named or mine)
    doors = set(case.graph.entry_points()) if case.graph else set()
    return {at for at, one in enumerate(case.series) if one.entity in doors and one.role.is_golden}
