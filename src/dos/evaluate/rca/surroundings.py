"""What lies around a system that the simulator leaves out: users who wait, addresses in between.

Two habits of real systems that change every case, whatever is measured of it (`dos.evaluate.rca.
habits` takes them before its own).
"""

from __future__ import annotations

from dataclasses import replace
from random import Random

import numpy as np

from dos.model.entity import Entity, EntityKind
from dos.model.graph import Edge, GraphSnapshot
from dos.model.ids import EntityId
from dos.model.telemetry import Float64Array, Role, SeriesSpec
from dos.rca.case import Case
from dos.rca.inputs import GROUPS, group_of
from dos.rca.measure import column_quantiles

_GOLDEN = frozenset({Role.LATENCY, Role.ERRORS, Role.AVAILABILITY, Role.TRAFFIC})


def closed_loop(case: Case, rng: Random) -> Case:
    """Users wait for an answer before they ask again, as load generators and people do.

    Where answers take longer, everybody is asked less: with a time to think `z` and a response
    time `r` a user asks every `z + r` (the interactive response time law: Denning & Buzen, *The
    Operational Analysis of Queueing Network Models*, 1978). What goes along with requests falls
    with them, but for what a fault itself uses.

    Args:
        case: Of the simulator, whose users ask whatever happens.
        rng: How long they think.
    """
    doors = set(case.graph.entry_points()) if case.graph is not None else set()
    slow = [
        at for at, one in enumerate(case.series) if one.entity in doors and one.role is Role.LATENCY
    ]
    response = _mean(case.values[:, slow])
    (middle,) = column_quantiles(response[:, None], 0.5)
    usual = float(middle[0])
    if not usual > 0:  # nobody knows it
        return case
    now = np.where(np.isfinite(response), np.maximum(response, usual), usual)
    think = usual * float(np.exp(rng.uniform(np.log(0.3), np.log(10.0))))
    asked = (think + usual) / (think + now)
    follows = np.array([_of_load(one) for one in case.series], np.bool_)
    values = case.values.copy()
    (level,) = column_quantiles(values[:, follows], 0.5)
    fallen = values[:, follows] - level * (1.0 - asked)[:, None]
    values[:, follows] = np.maximum(fallen, np.minimum(values[:, follows], 0.02 * level))
    return replace(case, values=values)


def addressed(case: Case, rng: Random) -> Case:
    """Some services are also seen at the address in front of them, by those who call them.

    A load balancer or a name: known from its callers alone, with the trouble of the service behind
    it, of which nobody says that it is behind it.

    Args:
        case: Of the simulator.
        rng: Which services.
    """
    graph = case.graph
    if graph is None:
        return case
    called = [
        one.id
        for one in graph.entities
        if one.kind in {EntityKind.SERVICE, EntityKind.GATEWAY} and graph.callers(one.id)
    ]
    if not called:
        return case
    noise = np.random.default_rng(rng.randrange(2**32))
    entities, edges = list(graph.entities), list(graph.edges)
    added: list[Float64Array] = []
    specs: list[SeriesSpec] = []
    for number, entity in enumerate(rng.sample(called, rng.randint(1, min(len(called), 6)))):
        address = EntityId(f"address-{number}")
        callers = [one.caller for one in graph.edges if one.callee == entity]
        entities.append(Entity(id=address, kind=EntityKind.EXTERNAL))
        edges.append(Edge(caller=rng.choice(callers), callee=address, sources=("calls",)))
        stronger = rng.uniform(0.5, 2.0)
        for at, one in enumerate(case.series):
            if one.entity == entity and one.role in _GOLDEN and not one.labels:
                added.append(_seen_through(case.values[:, at], one, stronger, noise))
                specs.append(replace(one, entity=address))
    if not specs:
        return case
    return replace(
        case,
        values=np.concatenate([case.values, np.stack(added, axis=1)], axis=1),
        series=(*case.series, *specs),
        graph=GraphSnapshot(
            version=1,
            at=graph.at,
            entities=tuple(sorted(entities, key=lambda one: one.id)),
            edges=tuple(sorted(edges, key=lambda one: (one.caller, one.callee))),
        ),
    )


def _seen_through(
    value: Float64Array, spec: SeriesSpec, stronger: float, noise: np.random.Generator
) -> Float64Array:
    """What is seen of a series through an address that only a part of the requests comes by."""
    rough = np.exp(noise.normal(0.0, 0.1, len(value)))
    if spec.role is Role.TRAFFIC:
        seen: Float64Array = value * noise.uniform(0.05, 0.9) * rough
    elif spec.role is Role.LATENCY:
        (usual,) = column_quantiles(value[:, None], 0.5)
        seen = (value + (stronger - 1.0) * np.maximum(value - usual[0], 0.0)) * 1.1 * rough
    elif spec.role is Role.ERRORS:
        seen = np.minimum(value * stronger, 1.0) if spec.unit == "ratio" else value * stronger
    else:
        seen = np.clip(1.0 - (1.0 - value) * stronger, 0.0, 1.0)
    return seen


def _of_load(spec: SeriesSpec) -> bool:
    """Whether it goes along with requests: they themselves, processor time, bytes sent."""
    return spec.role is Role.TRAFFIC or GROUPS[group_of(spec)] in {"cpu", "network"}


def _mean(values: Float64Array) -> Float64Array:
    """Of each row, what is missing aside; NaN where nothing is known."""
    known = np.isfinite(values)
    count = known.sum(axis=1)
    total = np.where(known, values, 0.0).sum(axis=1)
    mean: Float64Array = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return mean
