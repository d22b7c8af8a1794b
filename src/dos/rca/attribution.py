"""What callees do not explain: how much of an entity's trouble arises in itself.

Time that a callee takes is part of its caller's time, and a request that fails in a callee mostly
fails in its caller. So the change of an entity's latency, in seconds, minus the changes of its
callees' latencies, as often as they are called per request, is the change of the time that it
takes by itself; and likewise for the ratio of failed requests. How much of a callee's change
arrives at a caller is estimated from history by a regression that is drawn towards 1 where history
says little (ridge with a prior mean; Li et al., *Causal Inference-Based Root Cause Analysis*, KDD
2022, section 4.2 without the prior).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dos.model.ids import EntityId
from dos.model.telemetry import Float64Array, Role
from dos.rca.case import Case
from dos.rca.measure import Measured

PRIOR = 1.0
"""Share of a callee's change that arrives at its caller, where nothing else is known."""
PRIOR_WEIGHT = 0.2
"""How much that counts against history: as many baselines as noisy as the caller."""
MOST_CALLEES = 12
_SLOW = frozenset({Role.LATENCY})
_FAILING = frozenset({Role.ERRORS, Role.AVAILABILITY})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Unexplained:
    """All `[entity]`, in the order of the case's entities; 0 where nothing is known."""

    latency: Float64Array
    """Robust sigmas of latency that no callee explains, signed."""
    latency_share: Float64Array
    """That over the whole change of its latency, 0 to 1."""
    failures: Float64Array
    """The same for failed requests."""
    failures_share: Float64Array


def unexplained(
    case: Case, measured: Measured, strength: Float64Array, prior_weight: float = PRIOR_WEIGHT
) -> Unexplained:
    """Compare each entity with its callees; O(time x edges).

    Args:
        case: The case.
        measured: Its series, measured.
        strength: `[series]` how abnormal each is.
        prior_weight: How much `PRIOR` counts against history; see `PRIOR_WEIGHT`.
    """
    entities = case.entities()
    found = {
        name: np.zeros(len(entities))
        for name in ("latency", "latency_share", "failures", "failures_share")
    }
    place_of = {entity: at for at, entity in enumerate(entities)}
    baseline, _ = case.windows()
    history = np.where(baseline, case.values, np.nan) - measured.center
    for name, roles in (("latency", _SLOW), ("failures", _FAILING)):
        for table in _by_metric(case, roles):
            for entity, at in table.items():
                if strength[at] <= 0:
                    continue
                own = _own_change(case, measured, history, table, at, prior_weight)
                sigmas = own / float(measured.scale[at])
                place = place_of[entity]
                if abs(sigmas) > abs(found[name][place]):
                    found[name][place] = sigmas
                    whole = abs(float(measured.observed[at] - measured.center[at]))
                    found[f"{name}_share"][place] = min(abs(own) / max(whole, 1e-12), 1.0)
    return Unexplained(**found)


def _by_metric(case: Case, roles: frozenset[Role]) -> list[dict[EntityId, int]]:
    """The series of each metric of these roles, by entity; time in own code aside."""
    tables: dict[str, dict[EntityId, int]] = {}
    for at, spec in enumerate(case.series):
        if spec.role in roles and ("scope", "self") not in spec.labels:
            tables.setdefault(spec.metric, {}).setdefault(spec.entity, at)
    return list(tables.values())


def _own_change(
    case: Case,
    measured: Measured,
    history: Float64Array,
    table: dict[EntityId, int],
    at: int,
    prior_weight: float,
) -> float:
    """Change of series `at` that the same metric of its callees does not explain, in its unit."""
    change = float(measured.observed[at] - measured.center[at])
    graph = case.graph
    callees = graph.callees(case.series[at].entity) if graph is not None else ()
    causes = [table[one] for one in callees if one in table and table[one] != at][:MOST_CALLEES]
    arrived = np.array([measured.observed[one] - measured.center[one] for one in causes])
    moved = np.nan_to_num(arrived)
    if not moved.any():
        return change
    x, y = history[:, causes], history[:, at]
    known = np.isfinite(y) & np.isfinite(x).all(axis=1)
    x, y = x[known], y[known]
    weight = prior_weight * max(len(y), 1) * np.maximum(measured.scale[causes] ** 2, 1e-18)
    weights = np.linalg.solve(x.T @ x + np.diag(weight), x.T @ y + weight * PRIOR)
    explained = float(np.clip(weights, 0.0, 2.0) @ moved)
    # More than all of it cannot be explained.
    return change - (min(explained, change) if change > 0 else max(explained, change))
