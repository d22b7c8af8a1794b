"""From measured series to suspicion of entities: who is abnormal by themselves?

Data flow: strengths of series → signals of each entity → how much of its symptoms its callees
explain → one score. Trouble travels from callee to caller, so what users of a callee feel
(latency, errors, availability) is discounted by what the callee shows itself; what an entity
shows of its own resources is not, since no callee can use up somebody else's CPU.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from dos.kit.clock import MINUTE
from dos.model.ids import EntityId
from dos.model.telemetry import Float64Array, Int64Array, Role, SeriesSpec
from dos.rca.above import total_above
from dos.rca.case import Case
from dos.rca.explained import explained, flooded
from dos.rca.measure import DRIFT, Measured

SHORT = 2.0
"""Samples at which a stretch counts with √½ of its deviation: one high sample is weak evidence."""
IMPROVEMENT = 0.3
"""What a change for the better counts (latency that falls), against 1 for one for the worse."""
_WORSE = {Role.LATENCY: 1.0, Role.ERRORS: 1.0, Role.AVAILABILITY: -1.0}
_GROUPS = {
    Role.LATENCY: "latency",
    Role.ERRORS: "failure",
    Role.AVAILABILITY: "failure",
    Role.SATURATION: "resource",
    Role.TRAFFIC: "traffic",
}
BREADTH = 5
"""Series of an entity whose mean strength is taken beside the maximum."""
CHANGE_WINDOW = 30 * MINUTE
"""How long before the onset a change is suspicious."""


class Weights(BaseModel):
    """How much each kind of observation counts; the same for every system."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    other: float = Field(
        default=0.8, ge=0, description="Metrics of no known role, against a resource's 1."
    )
    traffic: float = Field(
        default=0.5, ge=0, description="Traffic, which mostly follows somebody else."
    )
    explained: float = Field(
        default=0.9, ge=0, le=1, description="Share of symptoms a callee can explain."
    )
    breadth: float = Field(
        default=1.0, ge=0, description="Weight of the mean of the strongest series."
    )
    dependents: float = Field(
        default=0.6,
        ge=0,
        description="Bonus for the share of all symptoms that lies in its dependents.",
    )
    undetected: float = Field(
        default=0.7, ge=0, le=1, description="Factor for entities in which detection saw nothing."
    )
    unreachable: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Factor for entities that the alarmed one does not depend on.",
    )
    unrelated: float = Field(
        default=0.7,
        ge=0,
        le=1,
        description="Slowness after an alarm about failures, and vice versa.",
    )
    change: float = Field(
        default=1.0, ge=0, description="Bonus for a change just before the onset."
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Suspicion:
    """Why each entity is suspect; all arrays are `[entity]` unless said otherwise."""

    entities: tuple[EntityId, ...]
    strength: Float64Array
    """`[series]` log1p of the robust deviation, discounted when short."""
    symptom: Float64Array
    """Strongest latency, errors or availability signal."""
    resource: Float64Array
    """Strongest saturation signal."""
    explained: Float64Array
    """0 to 1: share of the symptom that others account for (`dos.rca.explained`)."""
    explainer: tuple[EntityId | None, ...]
    """Who accounts for most."""
    dependents: Float64Array
    """0 to 1: share of everybody else's symptoms that shows in those who depend on it."""
    best: Int64Array
    """The series that shows the entity's trouble best; -1 for an entity without any."""
    changed: tuple[int | None, ...]
    """Index into `case.changes` of the last change shortly before the onset."""
    score: Float64Array
    onset: int
    """When the trouble began, ms: earliest onset of a strongly abnormal series."""


def suspect(case: Case, measured: Measured, weights: Weights) -> Suspicion:
    """Score every entity of `case`; O(series log series + edges)."""
    strength = series_strength(measured, case.series)
    entities = case.entities()
    place = {entity: i for i, entity in enumerate(entities)}
    owner = np.array([place[spec.entity] for spec in case.series], np.intp)
    groups = [_group(spec) for spec in case.series]
    # Who is asked far more often than usual is not ill for that, nor to blame for being asked.
    calm = 1.0 - flooded(case, measured, strength, owner, entities)
    kind = np.array(groups, np.str_)
    felt = np.isin(kind, ("latency", "failure", "traffic"))
    signal = np.where(felt, calm[owner], 1.0) * strength
    peak = {
        group: _peak(signal, owner, kind == group, len(entities))
        for group in ("latency", "failure", "resource", "traffic", "other")
    }
    slow, failing, resource = peak["latency"], peak["failure"], peak["resource"]
    slow_why = explained(case, place, slow, np.maximum(slow, resource), failing)
    fail_why = explained(case, place, failing, failing, np.maximum(slow, resource))
    matters = _what_matters(case, weights.unrelated)
    own = np.maximum.reduce(
        [
            resource,
            matters["latency"] * slow * (1 - weights.explained * slow_why.share),
            matters["failure"] * failing * (1 - weights.explained * fail_why.share),
            weights.other * peak["other"],
            weights.traffic * peak["traffic"],
        ]
    )
    symptom = np.maximum(slow, failing)
    dependents = _dependents(case, place, symptom)
    twice = np.maximum(
        np.where(kind == "latency", slow_why.twice[owner], 0.0),
        np.where(kind == "failure", fail_why.twice[owner], 0.0),
    )
    broad = _breadth(signal * (1 - weights.explained * twice), owner, len(entities))
    score = own + weights.breadth * broad
    score = score + weights.dependents * dependents * own
    onset = trouble_onset(measured, strength, case.start)
    changed = tuple(_changed(case, entity, onset) for entity in entities)
    # A change is suspicious of what went wrong after it, not by itself.
    blamed = np.array([change is not None for change in changed], np.bool_) & (own > 0)
    score = score + weights.change * blamed
    score = score * _reach(case, entities, weights)
    why = [fail_why if f >= s else slow_why for f, s in zip(failing, slow, strict=True)]
    return Suspicion(
        entities=entities,
        strength=strength,
        symptom=symptom,
        resource=resource,
        explained=np.array([one.share[i] for i, one in enumerate(why)], np.float64),
        explainer=tuple(one.by[i] for i, one in enumerate(why)),
        dependents=dependents,
        best=_best(strength, owner, len(entities)),
        changed=changed,
        score=score,
        onset=onset,
    )


def series_strength(measured: Measured, series: tuple[SeriesSpec, ...]) -> Float64Array:
    """`[series]` log1p of the deviation beyond the allowance; 0 where normal.

    Short stretches and changes for the better count less.

    The logarithm, because a cause ten times as far off is not ten times as probable: how far a
    metric can go depends on what it measures.
    """
    n = measured.samples
    worse = np.array([_WORSE.get(spec.role, 0.0) for spec in series])
    kept = np.where(worse * measured.deviation < 0, IMPROVEMENT, 1.0)
    excess = np.maximum(np.abs(measured.deviation) - DRIFT, 0.0)
    strength: Float64Array = np.log1p(excess * np.sqrt(n / (n + SHORT)) * kept)
    return strength


def trouble_onset(measured: Measured, strength: Float64Array, start: int) -> int:
    """When the trouble began: the median onset of the strongest tenth of the abnormal series."""
    abnormal = np.flatnonzero(strength > 0)
    if not abnormal.size:
        return start
    strong = abnormal[strength[abnormal] >= np.quantile(strength[abnormal], 0.9)]
    return int(np.quantile(measured.onset[strong], 0.5, method="lower"))


def _group(spec: SeriesSpec) -> str:
    role = spec.role
    if ("scope", "self") in spec.labels:
        return "resource"  # time in its own code: nobody it calls can be blamed for it
    return _GROUPS.get(role, "other")


def _peak(
    strength: Float64Array, owner: Int64Array, chosen: np.ndarray, count: int
) -> Float64Array:
    out = np.zeros(count)
    np.maximum.at(out, owner[chosen], strength[chosen])
    return out


def _breadth(strength: Float64Array, owner: Int64Array, count: int) -> Float64Array:
    """Mean of the `BREADTH` strongest series of each entity (of all, when it has fewer)."""
    order = np.lexsort((-strength, owner))
    sorted_owner = owner[order]
    first = np.searchsorted(sorted_owner, np.arange(count))
    rank = np.arange(len(order)) - first[sorted_owner]
    taken = rank < BREADTH
    total = np.bincount(sorted_owner[taken], weights=strength[order][taken], minlength=count)
    return total / np.maximum(np.bincount(sorted_owner[taken], minlength=count), 1)


def _best(strength: Float64Array, owner: Int64Array, count: int) -> Int64Array:
    best = np.full(count, -1, np.int64)
    for series in np.argsort(strength, kind="stable"):
        best[owner[series]] = series
    return best


def _what_matters(case: Case, unrelated: float) -> dict[str, float]:
    """Weights of slowness and of failures, given what kind of alarm a person saw."""
    weights = {"latency": 1.0, "failure": 1.0}
    if case.target is None or case.target[1] is None:
        return weights
    metric = case.target[1]
    seen = {
        _group(spec)
        for spec in case.series
        if spec.entity == case.target[0] and spec.metric.startswith(metric)
    }
    for kind in weights:
        if seen & weights.keys() and kind not in seen:
            weights[kind] = unrelated
    return weights


def _dependents(case: Case, place: dict[EntityId, int], symptom: Float64Array) -> Float64Array:
    """`[entity]` share of everybody else's symptoms that shows in those who depend on it."""
    if case.graph is None:
        return np.zeros(len(place))
    others = symptom.sum() - symptom
    above = total_above(case.graph, place, symptom)
    return np.where(others > 0, above / np.where(others > 0, others, 1.0), 0.0)


def _changed(case: Case, entity: EntityId, onset: int) -> int | None:
    found = [
        i
        for i, change in enumerate(case.changes)
        if change.entity == entity and onset - CHANGE_WINDOW <= change.at <= onset + MINUTE
    ]
    return max(found, key=lambda i: case.changes[i].at) if found else None


def _reach(case: Case, entities: tuple[EntityId, ...], weights: Weights) -> Float64Array:
    """`[entity]` factors for what the alarm and detection say about where to look."""
    factor = np.ones(len(entities))
    if case.abnormal is not None:
        factor[[entity not in case.abnormal for entity in entities]] *= weights.undetected
    if case.graph is not None and case.target is not None:
        reached = case.graph.dependencies(case.target[0])
        if len(reached) > 1:  # an alarm on something the graph does not know says nothing
            factor[[entity not in reached for entity in entities]] *= weights.unreachable
    return factor
