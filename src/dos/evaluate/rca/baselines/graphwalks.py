"""Three methods that need the call graph.

`traversal`: entities that are abnormal and call nobody abnormal, reached from the alarm along
abnormal ones (Chen et al., *CauseInfer*, 2014; Liu et al., *MicroHECL*, ICSE 2021).
`random_walk`: a personalised random walk on the abnormal part of the graph, towards callees
(Wu et al., *MicroRCA*, NOMS 2020). `ranked_correlation`: who moves as the alarmed series does
(Hardt et al., *The PetShop dataset*, CLeaR 2024).
"""

from __future__ import annotations

import numpy as np

from dos.evaluate.rca.baselines import nsigma
from dos.evaluate.rca.baselines.table import table_of
from dos.model.ids import EntityId
from dos.model.telemetry import Float64Array
from dos.rca.base import EntityScores
from dos.rca.case import Case

ABNORMAL = 3.0
"""Standard deviations."""
_RESTART = 0.15
_ROUNDS = 200


def traversal(case: Case) -> EntityScores:
    """Abnormal entities without abnormal callees first, by their z-scores."""
    plain = nsigma.score(case)
    z = dict(zip(plain.entities, plain.score.tolist(), strict=True))
    graph = case.graph
    if graph is None:
        return plain
    ill = {entity for entity, value in z.items() if value >= ABNORMAL}
    origins = [case.target[0]] if case.target and case.target[0] in z else sorted(ill)
    reached: set[EntityId] = set()
    waiting = list(origins)
    while waiting:
        here = waiting.pop()
        if here not in reached:
            reached.add(here)
            waiting += [one for one in graph.callees(here) if one in ill]
    highest = max(z.values(), default=1.0) + 1.0
    score = [
        value + highest * (entity in reached and not any(one in ill for one in graph.callees(entity)))
        for entity, value in z.items()
    ]
    return EntityScores(entities=tuple(z), score=np.array(score))


def random_walk(case: Case) -> EntityScores:
    """Where a walker from callers to callees spends its time, drawn to what is abnormal."""
    plain = nsigma.score(case)
    if case.graph is None or not len(plain.entities):
        return plain
    place = {entity: at for at, entity in enumerate(plain.entities)}
    strength = np.log1p(np.maximum(plain.score, 0.0))
    step = np.zeros((len(place), len(place)))
    for entity, at in place.items():
        callees = [place[one] for one in case.graph.callees(entity) if one in place]
        callers = [place[one] for one in case.graph.callers(entity) if one in place]
        step[at, callees] = strength[callees]
        step[at, callers] = 0.1 * strength[callers]
        below = max((strength[one] for one in callees), default=0.0)
        step[at, at] = max(strength[at] - below, 0.0)
    total = step.sum(axis=1, keepdims=True)
    step = np.where(total > 0, step / np.where(total > 0, total, 1.0), 1.0 / len(place))
    home: Float64Array = strength / strength.sum() if strength.sum() > 0 else np.ones(len(place))
    home = home / home.sum()
    stay = home
    for _ in range(_ROUNDS):
        stay = _RESTART * home + (1 - _RESTART) * (stay @ step)
    return EntityScores(entities=plain.entities, score=stay)


def ranked_correlation(case: Case) -> EntityScores:
    """Absolute correlation with the alarmed series, over history and incident together."""
    table = table_of(case)
    if not table.column:
        return table.scores(np.zeros(0))
    both = np.concatenate([table.normal, table.abnormal])
    centred = both - both.mean(axis=0)
    size = np.sqrt((centred**2).sum(axis=0))
    alarmed = _alarmed(case, table.column, table.scores(np.zeros(len(table.column))).entities)
    chosen = [at for at, place in enumerate(table.column) if place in alarmed]
    if not chosen:
        return nsigma.score(case)
    with np.errstate(invalid="ignore", divide="ignore"):
        score = np.abs(centred.T @ centred[:, chosen]) / (size[:, None] * size[chosen])
    score = np.nan_to_num(score)
    score[chosen] = 0.0
    return table.scores(score.max(axis=1))


def _alarmed(case: Case, column: tuple[int, ...], entities: tuple[EntityId, ...]) -> set[int]:
    """The series somebody was alarmed by; without an alarm those of who is called by nobody."""
    if case.target is not None:
        node, metric = case.target
        mine = [at for at in column if case.series[at].entity == node]
        named = [at for at in mine if metric and case.series[at].metric.startswith(metric)]
        return set(named or mine)
    graph = case.graph
    doors = {one for one in entities if graph and graph.callees(one) and not graph.callers(one)}
    return {
        at for at in column if case.series[at].entity in doors and case.series[at].role.is_golden
    }
