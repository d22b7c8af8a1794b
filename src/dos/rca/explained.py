"""How much of an entity's symptoms others account for: callees, fellow callees, and demand.

- What users of an entity feel is mostly what its *callees* do: latency adds up along calls, and
  failures travel.
- An entity that is known only from those who call it, a third party or an address, may be a *load
  balancer* in front of a fellow callee that measures itself: where that one shows the same, it
  explains it.
- Who is suddenly *asked* many times as often as before is slow for that reason: blame lies with who
  asks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dos.model.entity import EntityKind
from dos.model.graph import GraphSnapshot
from dos.model.ids import EntityId
from dos.model.telemetry import Float64Array, Int64Array, Role
from dos.rca.case import Case
from dos.rca.measure import Measured

OTHER_KIND = 0.5
"""How well slowness of a callee explains failures of its caller, and the other way round."""
THROUGH_IT = 2.0
"""How many times its own symptom a fellow callee explains of an address: what comes through the
address is part of the requests that it answers, so that it shows the same trouble more weakly."""
_ASKED, _FLOODED = 4.0, 20.0
"""Times as many requests as usual from which, and at which, nothing else needs to be wrong."""
_CLEARLY = 0.7
"""Strength from which more requests are more than noise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Of one kind of symptoms."""

    share: Float64Array
    """`[entity]` 0 to 1."""
    by: tuple[EntityId | None, ...]
    """Who explains most."""
    twice: Float64Array
    """`[entity]` the share of addresses alone: what they show is seen twice."""


def explained(
    case: Case,
    place: dict[EntityId, int],
    symptom: Float64Array,
    same: Float64Array,
    other: Float64Array,
) -> Explanation:
    """How much of `symptom` others account for; all arrays are `[entity]`.

    Args:
        case: The case.
        place: Where each entity is in the arrays.
        symptom: What is to be explained.
        same: Signals that explain it in full.
        other: Signals of the other kind, which explain it less well.
    """
    share, twice = np.zeros(len(place)), np.zeros(len(place))
    by: list[EntityId | None] = [None] * len(place)
    graph = case.graph
    if graph is None:
        return Explanation(share=share, by=tuple(by), twice=twice)
    cause = np.maximum(same, OTHER_KIND * other)
    outside = {one.id for one in graph.entities if one.kind is EntityKind.EXTERNAL}
    for entity, i in place.items():
        if symptom[i] <= 0:
            continue
        callees = graph.callees(entity)
        reasons = [(one, cause) for one in callees]
        address = entity in outside and not callees
        if address:
            reasons = [
                (one, THROUGH_IT * same) for one in _fellows(graph, entity) if one not in outside
            ]
        for reason, strength in reasons:
            j = place.get(reason)
            if j is None or j == i:
                continue
            part = min(1.0, float(strength[j] / symptom[i]))
            if part > share[i]:
                share[i], by[i] = part, reason
        twice[i] = share[i] if address else 0.0
    return Explanation(share=share, by=tuple(by), twice=twice)


def _fellows(graph: GraphSnapshot, entity: EntityId) -> list[EntityId]:
    """What else those call who call `entity`."""
    return sorted({one for caller in graph.callers(entity) for one in graph.callees(caller)})


def flooded(
    case: Case,
    measured: Measured,
    strength: Float64Array,
    owner: Int64Array,
    entities: Sequence[EntityId],
) -> Float64Array:
    """`[entity]` 0 to 1: how far a flood of requests explains whatever is wrong with it.

    Where nobody is known to call it, the flood comes from outside and is the trouble itself.

    Args:
        case: The case.
        measured: Its series, measured.
        strength: `[series]` how abnormal each is.
        owner: `[series]` place of its entity.
        entities: In their order.
    """
    out = np.zeros(len(entities))
    graph = case.graph
    if graph is None:
        return out
    asked = np.array([one.role is Role.TRAFFIC for one in case.series], np.bool_)
    rose = np.flatnonzero(asked & (measured.deviation > 0) & (strength > _CLEARLY))
    if rose.size:
        before, now = measured.center[rose], measured.observed[rose]
        times = np.log(np.maximum(now, 1e-12)) - np.log(np.maximum(before, 1e-12))
        part = (times - np.log(_ASKED)) / np.log(_FLOODED / _ASKED)
        np.maximum.at(out, owner[rose], np.clip(np.nan_to_num(part), 0.0, 1.0))
    called = np.array([bool(graph.callers(one)) for one in entities], np.bool_)
    return np.where(called, out, 0.0)
