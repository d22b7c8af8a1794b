"""What other systems measure and leave out: cases of the simulator, made unlike it.

Who learns from one simulator learns its habits: that each service has the same dozen metrics, that
none of them wanders by itself, that the graph is whole. `vary` takes these away at random. Series,
metrics, entities, edges and changes go missing; there are only golden signals, or only resources;
more metrics of the same things come in, and others that stray for no reason; time in own code is
known or not; history is short. The cause stays what it was.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random

import numpy as np

from dos.evaluate.rca.surroundings import addressed, closed_loop
from dos.kit.clock import SECOND, Millis
from dos.model.entity import Entity
from dos.model.graph import Edge, EdgeKind, GraphSnapshot
from dos.model.ids import EntityId
from dos.model.telemetry import BoolArray, Float64Array, Role, SeriesSpec
from dos.rca.case import Case
from dos.rca.measure import column_quantiles, measure
from dos.rca.suspicion import Weights, suspect

_GOLDEN = frozenset({Role.LATENCY, Role.ERRORS, Role.AVAILABILITY, Role.TRAFFIC})
_OTHERS = (
    ("memory_cache", Role.SATURATION),
    ("memory_faults", Role.SATURATION),
    ("disk_write", Role.SATURATION),
    ("disk_io_time", Role.SATURATION),
    ("net_in", Role.TRAFFIC),
    ("net_out", Role.TRAFFIC),
    ("packets", Role.TRAFFIC),
    ("cpu_system", Role.SATURATION),
    ("threads", Role.SATURATION),
    ("sockets", Role.SATURATION),
    ("context_switches", Role.SATURATION),
    ("tcp_retrans", Role.ERRORS),
    ("gc_pause", Role.OTHER),
    ("entries", Role.OTHER),
    ("last_seen", Role.OTHER),
)
"""Metrics that may come in, none of which the simulator has."""
_CLOSED, _ADDRESSED = 0.4, 0.25
"""How often users wait for answers, and services are seen at addresses as well."""
_SEEN = 0.5
"""Strength from which somebody is alarmed."""
_FEWEST = 12
"""Samples that are left at least."""


def vary(case: Case, rng: Random) -> Case:
    """The same incident as another system would have measured it.

    Args:
        case: Of the simulator.
        rng: Which habits, and how strong.
    """
    noise = np.random.default_rng(rng.randrange(2**32))
    for chance, surrounding in ((_CLOSED, closed_loop), (_ADDRESSED, addressed)):
        if rng.random() < chance:
            case = surrounding(case, rng)
    (house,) = rng.choices(_HOUSES, weights=[one.share for one in _HOUSES])
    for chance, habit in (*house.habits, *_HABITS):
        if rng.random() < chance:
            case = habit(case, rng, noise)
    return case


def with_alarm(case: Case, rng: Random) -> Case:
    """The same with the alarm that a person saw: on one of the entities that show the most.

    Mostly on one metric of it, the one that shows it best or another one that shows it.
    """
    measured = measure(case)
    found = suspect(case, measured, Weights())
    order = np.argsort(-found.symptom, kind="stable")[:4]
    seen = [found.entities[at] for at in order if found.symptom[at] > _SEEN]
    if not seen:
        return case
    entity = rng.choice(seen)
    metrics = [
        spec.metric
        for at, spec in enumerate(case.series)
        if spec.entity == entity and spec.role in _GOLDEN and found.strength[at] > _SEEN
    ]
    metric = rng.choice(metrics) if metrics and rng.random() < 0.7 else None
    return replace(case, target=(entity, metric))


def _without_edges(case: Case, share: float, rng: Random) -> Case:
    """The same where a share of the edges is not known."""
    if case.graph is None:
        return case
    kept = tuple(one for one in case.graph.edges if rng.random() >= share)
    return replace(case, graph=_graph(case.graph, case.graph.entities, kept))


def _with_wrong_edges(case: Case, share: float, rng: Random) -> Case:
    """The same with as many made-up edges as a share of those there are."""
    if case.graph is None or len(case.graph.entities) < 2:
        return case
    edges = {(one.caller, one.callee): one for one in case.graph.edges}
    known = [one.id for one in case.graph.entities]
    for _ in range(round(share * len(edges))):
        caller, callee = rng.sample(known, 2)
        edges.setdefault((caller, callee), Edge(caller=caller, callee=callee, sources=("wrong",)))
    return replace(
        case,
        graph=_graph(case.graph, case.graph.entities, tuple(edges[key] for key in sorted(edges))),
    )


def _without_graph(case: Case) -> Case:
    """The same where nobody knows who calls whom."""
    return replace(case, graph=None)


def _kept(case: Case, kept: BoolArray) -> Case:
    if not kept.any():
        return case
    series = tuple(one for one, keep in zip(case.series, kept.tolist(), strict=True) if keep)
    return replace(case, values=case.values[:, kept], series=series)


def _graph(
    old: GraphSnapshot, entities: tuple[Entity, ...], edges: tuple[Edge, ...]
) -> GraphSnapshot:
    return GraphSnapshot(version=1, at=old.at, entities=entities, edges=edges)


def _drop_series(case: Case, rng: Random, noise: np.random.Generator) -> Case:
    return _kept(case, noise.random(len(case.series)) >= rng.uniform(0.0, 0.4))


def _drop_metrics(case: Case, rng: Random, _: np.random.Generator) -> Case:
    names = sorted({one.metric for one in case.series})
    gone = set(rng.sample(names, rng.randint(1, max(1, len(names) // 2))))
    return _kept(case, np.array([one.metric not in gone for one in case.series], np.bool_))


def _resources(case: Case, _: Random, __: np.random.Generator) -> Case:
    """Machines and containers are watched, and nobody measures requests."""
    return _kept(case, np.array([one.role not in _GOLDEN for one in case.series], np.bool_))


def _golden(case: Case, rng: Random, _: np.random.Generator) -> Case:
    """Requests are measured and nothing else; how many there are is not always known."""
    roles = _GOLDEN if rng.random() < 0.7 else _GOLDEN - {Role.TRAFFIC}
    return _kept(case, np.array([one.role in roles for one in case.series], np.bool_))


def _few_metrics(case: Case, rng: Random, _: np.random.Generator) -> Case:
    """A handful of metrics of the services."""
    names = sorted({one.metric for one in case.series})
    kept = set(rng.sample(names, min(rng.randint(1, 5), len(names))))
    return _kept(case, np.array([one.metric in kept for one in case.series], np.bool_))


def _hosts_only(case: Case, rng: Random, _: np.random.Generator) -> Case:
    """Nobody knows who calls whom; at best, what runs where."""
    if case.graph is None or rng.random() < 0.7:
        return _without_graph(case)
    hosts = tuple(one for one in case.graph.edges if one.kind is EdgeKind.HOST)
    return replace(case, graph=_graph(case.graph, case.graph.entities, hosts))


def _unobserved(case: Case, rng: Random, _: np.random.Generator) -> Case:
    """Some entities have no metrics, or hardly any."""
    known = list(case.entities())
    gone = set(rng.sample(known, rng.randint(1, max(1, len(known) // 4))))
    few = rng.random() < 0.5
    return _kept(
        case,
        np.array(
            [
                one.entity not in gone or (few and one.role is Role.SATURATION)
                for one in case.series
            ],
            np.bool_,
        ),
    )


def _own_time(case: Case, rng: Random, noise: np.random.Generator) -> Case:
    """Time in own code, as traces tell it: what is left when the slowest callee is done."""
    metric = rng.choice(("latency_p50", "latency_p95"))
    column = {one.entity: at for at, one in enumerate(case.series) if one.metric == metric}
    if case.graph is None or not column:
        return case
    added, specs = [], []
    for entity, at in column.items():
        inside = [column[one] for one in case.graph.callees(entity) if one in column]
        whole = case.values[:, at]
        spent = np.fmax.reduce([case.values[:, one] for one in inside]) if inside else 0.0
        spread = np.exp(noise.normal(0.0, 0.1, len(whole)))
        added.append(np.fmax(whole - spent, 0.1 * whole) * spread)
        labels = (*case.series[at].labels, ("scope", "self"))
        specs.append(replace(case.series[at], metric="trace_self", labels=labels))
    return _with(case, np.array(added).T, specs)


def _more_of_the_same(case: Case, rng: Random, noise: np.random.Generator) -> Case:
    """Metrics that go along with others: bytes and packets, working set and resident set."""
    names = sorted({one.metric for one in case.series})
    added, specs = [], []
    for name in rng.sample(names, rng.randint(1, max(1, len(names) // 2))):
        at = np.array([one.metric == name for one in case.series], np.bool_)
        spread, share, word = rng.uniform(0.0, 0.3), rng.uniform(0.2, 1.0), rng.randrange(1000)
        value = case.values[:, at]
        if name.startswith(("error", "ready", "hit")):
            continue
        (usual,) = column_quantiles(value, 0.5)
        moved = usual + share * (value - usual)
        added.append(moved * np.exp(_wander(noise, value.shape, 0.5, spread)))
        specs += [
            replace(one, metric=f"{name}_{word}")
            for one, keep in zip(case.series, at.tolist(), strict=True)
            if keep
        ]
    return _with(case, np.concatenate(added, axis=1), specs) if added else case


def _astray(case: Case, rng: Random, noise: np.random.Generator) -> Case:
    """Metrics that have nothing to do with it and stray by themselves now and then."""
    entities = list(case.entities())
    added, specs = [], []
    for metric, role in rng.sample(_OTHERS, rng.randint(1, 8)):
        mine = [one for one in entities if rng.random() < rng.choice((0.2, 0.6, 1.0))]
        if not mine:
            continue
        shape = (len(case.times), len(mine))
        value = np.exp(_wander(noise, shape, rng.uniform(0.0, 0.98), rng.uniform(0.01, 0.4)))
        value *= np.where(noise.random(shape) < 0.005, noise.uniform(1.0, 4.0, shape), 1.0)
        value *= _steps(case, rng, noise, len(mine))
        added.append(value * 10.0 ** rng.uniform(-3.0, 8.0))
        specs += [SeriesSpec(entity=one, metric=metric, role=role) for one in mine]
    return _with(case, np.concatenate(added, axis=1), specs) if added else case


def _unsettled(case: Case, rng: Random, noise: np.random.Generator) -> Case:
    """What is measured steps up or down by itself: caches fill, batches run, collectors collect."""
    restless = np.array([one.role not in _GOLDEN for one in case.series], np.bool_)
    chance = np.where(restless, rng.uniform(0.0, 0.25), rng.uniform(0.0, 0.03))
    values = case.values.copy()
    start = int(np.searchsorted(case.times, case.start))
    for at in np.flatnonzero(noise.random(len(case.series)) < chance):
        first = max(start + rng.randint(-8, 8), 0)
        size = rng.gauss(0.0, 0.5)
        length = max(rng.randint(0, 12), 1)
        shape = np.clip((np.arange(len(values)) - first + 1) / length, 0.0, 1.0)
        moved = values[:, at] * np.exp(size * shape)
        ratio = case.series[at].unit == "ratio"
        values[:, at] = np.minimum(moved, 1.0) if ratio else moved
    return replace(case, values=values)


def _steps(case: Case, rng: Random, noise: np.random.Generator, count: int) -> Float64Array:
    """`[time, count]` factors: few series step up or down about the time of the incident."""
    factor = np.ones((len(case.times), count))
    start = int(np.searchsorted(case.times, case.start))
    for at in np.flatnonzero(noise.random(count) < rng.uniform(0.0, 0.12)):
        first = max(start + rng.randint(-5, 5), 0)
        last = first + rng.randint(1, max(2, len(case.times) - first))
        factor[first:last, at] = np.exp(rng.gauss(0.0, 1.0))
    return factor


def _wander(
    noise: np.random.Generator, shape: tuple[int, int], memory: float, spread: float
) -> Float64Array:
    """`[time, series]` first-order autoregressive noise of standard deviation `spread`."""
    out = noise.normal(0.0, 1.0, shape)
    fresh = np.sqrt(1.0 - memory**2)
    for row in range(1, shape[0]):
        out[row] = memory * out[row - 1] + fresh * out[row]
    return spread * out


def _seldom_asked(case: Case, rng: Random, noise: np.random.Generator) -> Case:
    """Few requests between two samples, or none: what is measured of them is rough, or missing."""
    everybody, values = rng.random() < 0.5, case.values.copy()
    mine = {one for one in case.entities() if everybody or rng.random() < 0.4}
    usual = rng.uniform(np.log(0.7), np.log(50.0))
    asked: dict[EntityId, Float64Array] = {}
    for entity in sorted(mine):
        rate = _traffic_of(case, entity)
        expected = np.exp(usual + noise.normal()) * rate
        if rng.random() < 0.5:  # in bursts, with silence between
            expected = expected * (
                _wander(noise, (len(rate), 1), 0.9, 1.0)[:, 0] > rng.gauss(0, 0.5)
            )
        asked[entity] = noise.poisson(np.clip(np.nan_to_num(expected), 0.0, 1e4)).astype(np.float64)
    for at, one in enumerate(case.series):
        count = asked.get(one.entity)
        if count is None:
            continue
        before, none = values[:, at], count == 0
        if one.role is Role.TRAFFIC and one.metric == "request_rate":
            values[:, at] = count
        elif one.role is Role.LATENCY:
            rough = np.exp(0.5 * noise.normal(size=len(count)) / np.sqrt(np.maximum(count, 1.0)))
            values[:, at] = np.where(none, np.nan, before * rough)
        elif one.role in {Role.ERRORS, Role.AVAILABILITY} and one.unit == "ratio":
            chance = np.clip(np.nan_to_num(before), 0.0, 1.0)
            ratio = noise.binomial(count.astype(np.int64), chance) / np.maximum(count, 1.0)
            values[:, at] = np.where(none, np.nan, ratio)
    return replace(case, values=values)


def _traffic_of(case: Case, entity: EntityId) -> Float64Array:
    """`[time]` its requests over their median; 1 where nobody counts them."""
    for at, one in enumerate(case.series):
        if one.entity == entity and one.role is Role.TRAFFIC:
            value = case.values[:, at]
            if np.isfinite(value).any() and (usual := float(np.nanmedian(value))) > 0:
                return value / usual
    return np.ones(len(case.times))


def _noisier(case: Case, rng: Random, noise: np.random.Generator) -> Case:
    """Measured with less care."""
    golden = np.array([one.role in {Role.LATENCY, Role.TRAFFIC} for one in case.series], np.bool_)
    spread = rng.uniform(0.02, 0.3) * noise.random(len(case.series)) * np.where(golden, 1.0, 0.5)
    return replace(case, values=case.values * np.exp(spread * noise.normal(size=case.values.shape)))


def _holes(case: Case, rng: Random, noise: np.random.Generator) -> Case:
    gone = noise.random(case.values.shape) < rng.uniform(0.0, 0.3)
    return replace(case, values=np.where(gone, np.nan, case.values))


def _availability(case: Case, _: Random, __: np.random.Generator) -> Case:
    """Success is measured and not failure."""
    ratio = [one.role is Role.ERRORS and one.unit == "ratio" for one in case.series]
    series = tuple(
        replace(one, metric="availability", role=Role.AVAILABILITY) if is_ratio else one
        for one, is_ratio in zip(case.series, ratio, strict=True)
    )
    return replace(case, values=np.where(ratio, 1.0 - case.values, case.values), series=series)


def _short(case: Case, rng: Random, _: np.random.Generator) -> Case:
    """Less history, or fewer samples of all of it."""
    if rng.random() < 0.5:
        start = int(np.searchsorted(case.times, case.start))
        first = max(start - rng.randint(_FEWEST, 40), 0)
        return replace(case, times=case.times[first:], values=case.values[first:])
    every = rng.choice((2, 3, 5))
    if len(case.times) < _FEWEST * every:
        return case
    last = len(case.times) - 1
    chosen = np.arange(last % every, last + 1, every)
    return replace(case, times=case.times[chosen], values=case.values[chosen])


def _late(case: Case, rng: Random, _: np.random.Generator) -> Case:
    """The start is reported late."""
    late = round(rng.uniform(0.0, 90.0) * SECOND)
    return replace(case, start=Millis(min(case.start + late, case.end)))


def _wrong_graph(case: Case, rng: Random, _: np.random.Generator) -> Case:
    if rng.random() < 0.25:
        return _without_graph(case)
    case = _without_edges(case, rng.uniform(0.0, 0.4), rng)
    return _with_wrong_edges(case, rng.uniform(0.0, 0.15), rng) if rng.random() < 0.5 else case


def _plain_graph(case: Case, _: Random, __: np.random.Generator) -> Case:
    """Nobody knows what kind of thing an entity is."""
    if case.graph is None:
        return case
    plain = tuple(Entity(id=one.id) for one in case.graph.entities)
    return replace(case, graph=_graph(case.graph, plain, case.graph.edges))


def _untold(case: Case, _: Random, __: np.random.Generator) -> Case:
    return replace(case, changes=())


def _alarm(case: Case, rng: Random, _: np.random.Generator) -> Case:
    return with_alarm(case, rng)


def _with(case: Case, values: Float64Array, specs: list[SeriesSpec]) -> Case:
    return replace(
        case,
        values=np.concatenate([case.values, values], axis=1),
        series=(*case.series, *specs),
    )


_Habit = Callable[[Case, Random, np.random.Generator], Case]


@dataclass(frozen=True, slots=True, kw_only=True)
class _House:
    """What goes together."""

    share: float
    """Of the cases."""
    habits: tuple[tuple[float, _Habit], ...]
    """How often each is taken, in this order."""


_HOUSES = (
    _House(share=0.40, habits=()),
    _House(
        share=0.20,
        habits=(
            (1.0, _resources),
            (0.7, _more_of_the_same),
            (0.7, _more_of_the_same),
            (0.5, _astray),
            (0.7, _hosts_only),
            (0.8, _untold),
        ),
    ),
    _House(
        share=0.22,
        habits=(
            (1.0, _golden),
            (0.4, _seldom_asked),
            (0.4, _more_of_the_same),
            (0.4, _availability),
            (0.6, _alarm),
            (0.7, _untold),
            (0.6, _plain_graph),
        ),
    ),
    _House(share=0.18, habits=((1.0, _few_metrics), (0.7, _untold), (0.6, _plain_graph))),
)
_HABITS: tuple[tuple[float, _Habit], ...] = (
    (0.50, _unsettled),
    (0.12, _seldom_asked),
    (0.20, _own_time),
    (0.20, _more_of_the_same),
    (0.35, _astray),
    (0.25, _drop_series),
    (0.20, _drop_metrics),
    (0.15, _unobserved),
    (0.25, _noisier),
    (0.15, _holes),
    (0.15, _availability),
    (0.25, _short),
    (0.15, _late),
    (0.35, _wrong_graph),
    (0.30, _plain_graph),
    (0.30, _untold),
    (0.20, _alarm),
)
"""Of every house: how often each is taken, in this order."""
