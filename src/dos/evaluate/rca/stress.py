"""Stress that is put on one entity, as tools for chaos experiments do it, into recorded health.

Physics decides what a fault of the simulator does; a `stress-ng` in a container does something
plainer: one resource of one entity is used up, and little else needs to happen. `stressed` takes
what a case recorded before its incident and puts such a stress into it, with the marks that it may
leave on the same entity, on its machine and on its callers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

import numpy as np

from dos.kit.clock import MINUTE, Millis
from dos.model.graph import EdgeKind
from dos.model.ids import EntityId
from dos.model.rootcause import FaultKind
from dos.model.telemetry import Float64Array
from dos.rca.case import Case
from dos.rca.inputs import GROUPS, group_of

_KINDS = (
    ("cpu", FaultKind.CPU),
    ("memory", FaultKind.MEMORY),
    ("disk", FaultKind.DISK),
    ("network", FaultKind.NETWORK),
)
_LATE = 2 * MINUTE
_HISTORY = 15
"""Healthy samples that are needed before the stress."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stressed:
    """A case and what was done."""

    case: Case
    entity: EntityId
    kind: FaultKind


def stressed(case: Case, rng: Random) -> Stressed | None:
    """Put a stress into the healthy part of `case`; None where that is too short.

    Args:
        case: Of the simulator: samples before its start are healthy.
        rng: Which entity, which resource, how much.
    """
    stretch, found = _healthy(case, rng), _pick(case, rng)
    if stretch is None or found is None:
        return None
    first, last = stretch
    entity, group, kind = found
    noise = np.random.default_rng(rng.randrange(2**32))
    values = np.array(case.values[:last], np.float64)
    shape = _shape(last, first, rng, noise)
    size = float(np.exp(rng.uniform(np.log(1.3), np.log(12.0)))) - 1.0
    side = _side_effects(case, entity, rng)
    for at, spec in enumerate(case.series):
        mine = GROUPS[group_of(spec)] == group
        if spec.entity == entity and mine:
            part = rng.uniform(0.5, 1.0)
        else:
            part = side.get((spec.entity, GROUPS[group_of(spec)]), 0.0)
        if part > 0:
            values[:, at] = _raised(values[:, at], part * size * shape, spec.unit)
    return Stressed(case=_cut(case, values, first, last, rng), entity=entity, kind=kind)


def quiet(case: Case, rng: Random) -> Case | None:
    """An alarm for nothing: a healthy part of `case`, said to be an incident."""
    stretch = _healthy(case, rng)
    if stretch is None:
        return None
    first, last = stretch
    return _cut(case, np.array(case.values[:last], np.float64), first, last, rng)


def _healthy(case: Case, rng: Random) -> tuple[int, int] | None:
    """Rows before the incident at which something might begin and be looked at; None if few."""
    # What is said to be the start may be late.
    step = float(np.median(np.diff(case.times))) if len(case.times) > 1 else 0.0
    healthy = int(np.searchsorted(case.times, case.start - max(_LATE, 2 * step))) - 1
    first = round(healthy * rng.uniform(0.6, 0.95))
    last = min(healthy, first + rng.randint(2, 40))
    return (first, last) if first >= _HISTORY and last - first >= 2 else None


def _cut(case: Case, values: Float64Array, first: int, last: int, rng: Random) -> Case:
    """The first `last` rows, with a trouble that is said to have begun about `first`."""
    times = case.times[:last]
    end = Millis(int(times[-1]))
    return replace(
        case,
        times=times,
        values=values,
        start=Millis(int(times[min(first + rng.randint(-1, 2), last - 1)])),
        end=end,
        changes=tuple(one for one in case.changes if one.at <= end),
        graph=None if case.graph is None else replace(case.graph, at=end),
    )


def _pick(case: Case, rng: Random) -> tuple[EntityId, str, FaultKind] | None:
    """An entity, and a resource that is measured of it."""
    measured = {(spec.entity, GROUPS[group_of(spec)]) for spec in case.series}
    group, kind = rng.choice(_KINDS)
    able = sorted(entity for entity, one in measured if one == group)
    return (rng.choice(able), group, kind) if able else None


def _shape(length: int, first: int, rng: Random, noise: np.random.Generator) -> Float64Array:
    """`[time]` 0 before, about 1 after: at once, slowly, or on and off."""
    at = np.arange(length) - first
    after = at >= 0
    dice = rng.random()
    if dice < 0.6:
        level = np.ones(length)
    elif dice < 0.85:
        level = np.clip((at + 1) / rng.uniform(2.0, 20.0), 0.0, 1.0)
    else:
        level = (at % rng.randint(2, 8) < 2).astype(np.float64)
    rough = np.exp(rng.uniform(0.0, 0.3) * noise.normal(size=length))
    shape: Float64Array = np.where(after, level * rough, 0.0)
    return shape


def _side_effects(case: Case, entity: EntityId, rng: Random) -> dict[tuple[EntityId, str], float]:
    """What else moves, by entity and group of metrics: as a share of what the resource does."""
    out: dict[tuple[EntityId, str], float] = {}
    for group, chance in (("latency", 0.5), ("own_time", 0.5), ("cpu", 0.4), ("queue", 0.3)):
        if rng.random() < chance:
            out[entity, group] = rng.uniform(0.05, 0.8)
    if case.graph is None:
        return out
    for edge in case.graph.edges:
        if edge.kind is EdgeKind.HOST and edge.caller == entity:
            for group in ("cpu", "memory", "disk", "network"):
                if rng.random() < 0.5:
                    out[edge.callee, group] = rng.uniform(0.02, 0.4)
        elif edge.callee == entity and (entity, "latency") in out and rng.random() < 0.7:
            out[edge.caller, "latency"] = out[entity, "latency"] * rng.uniform(0.1, 1.0)
    return out


def _raised(value: Float64Array, factor: Float64Array, unit: str) -> Float64Array:
    """The same with that much more of its usual size; what is a ratio stays one."""
    usual = float(np.nanmedian(value)) if np.isfinite(value).any() else 0.0
    more = value + factor * (usual if usual > 0 else 1.0)
    return np.clip(more, 0.0, 1.0) if unit == "ratio" and usual <= 1.0 else more
