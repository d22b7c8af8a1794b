"""What a network is told of a case: numbers without units, for any system.

Each entity of the graph, or with series, is a node. What it measures is put into `GROUPS` by role
and name, and of each group it is told how far the group's series stray up and down, by itself and
against the rest of the case, since when, and what is missing. Nothing depends on names of
entities, on their order, on units or on the size of the system.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dos.kit.clock import MINUTE, SECOND
from dos.model.change import ChangeKind
from dos.model.entity import EntityKind
from dos.model.graph import EdgeKind
from dos.model.ids import EntityId
from dos.model.telemetry import BoolArray, Float32Array, Float64Array, Int64Array, Role, SeriesSpec
from dos.rca.attribution import Unexplained, unexplained
from dos.rca.case import Case
from dos.rca.measure import DRIFT, Measured, measure
from dos.rca.suspicion import SHORT, Suspicion, Weights, series_strength, suspect

GROUPS = (
    "own_time",
    "latency",
    "failures",
    "traffic",
    "cpu",
    "memory",
    "disk",
    "network",
    "loss",
    "queue",
    "restarts",
    "cache",
    "other",
)
"""Kinds of metrics: time in own code, latency, failed requests and availability (as failures),
requests, processor, memory, disk, bytes and packets on the network, what is lost there, what waits
or is held open (queues, connections, threads), restarts, hits of a cache, the rest."""
_OF_GROUP = (
    "up",
    "down",
    "among",
    "ratio",
    "ratio_among",
    "change_among",
    "lag",
    "mean",
    "known",
    "silent",
)
_CHANGES = (ChangeKind.DEPLOY, ChangeKind.CONFIG, ChangeKind.FLAG)
_OF_NODE = (
    "callers",
    "callees",
    "hosted",
    "hosts",
    "stateful",
    "external",
    "service",
    "explained",
    "dependents",
    "score",
    "score_log",
    "resource",
    "symptom",
    "alarmed",
    "alarm_slow",
    "alarm_failing",
    "reached",
    "no_series",
    *(f"change_{one}" for one in _CHANGES),
    "change_other",
    "coarse",
    "samples",
    "no_graph",
    "own_latency",
    "own_latency_among",
    "own_latency_share",
    "own_failures",
    "own_failures_among",
    "own_failures_share",
)
NODE_INPUTS = tuple(f"{group}_{one}" for group in GROUPS for one in _OF_GROUP) + _OF_NODE
"""Names of the columns of `Inputs.node`."""
EDGE_INPUTS = ("callee_to_caller", "host", "share")
"""Names of the columns of `Inputs.edge`."""
_STATEFUL = {EntityKind.DATABASE, EntityKind.CACHE, EntityKind.QUEUE}
_LATE = 3.0
"""Steps that an onset is later than another before that counts."""
_SOON = 20 * SECOND
_SOME = 0.3
"""Logarithmic change (two and a half times) below which the greatest one is not much."""
_SURE = 3.0
"""Robust sigmas beyond the allowance at which one is half sure of what was measured."""
STRONG = 4.0
"""Strengths are divided by it, to be about 1."""
_CHANGE_FADES = 10 * MINUTE
_CHANGE_WINDOW = 60 * MINUTE


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Inputs:
    """One case as arrays."""

    entities: tuple[EntityId, ...]
    node: Float32Array
    """`[entity, NODE_INPUTS]`."""
    edges: Int64Array
    """`[2, edge]` from and to; each dependency is there in both directions."""
    edge: Float32Array
    """`[edge, EDGE_INPUTS]`."""


def group_of(spec: SeriesSpec) -> int:
    """Place in `GROUPS`: by role where that is clear, else by words in the name."""
    if ("scope", "self") in spec.labels:
        return 0
    name = spec.metric.lower()
    if spec.role is Role.LATENCY:
        return 1
    if spec.role in {Role.ERRORS, Role.AVAILABILITY}:
        return 8 if any(word in name for word in _LOST) else 2
    for place, words in _WORDS:
        if any(word in name for word in words):
            return place
    return _OF_ROLE.get(spec.role, len(GROUPS) - 1)


_OF_ROLE = {Role.TRAFFIC: 3, Role.SATURATION: 9}
_LOST = ("retrans", "packet_loss", "dropped", "drops", "orphan")
_WORDS = (
    (8, _LOST),
    (10, ("restart",)),
    (11, ("hit_", "hits", "miss", "evict")),
    (1, ("latency", "duration")),
    (7, ("network", "net_", "netstat", "packet", "octets", "segs", "rx_", "tx_", "sockstat")),
    (6, ("disk", "fs_", "filesystem", "volume", "syscallwrite", "syscallread", "io_")),
    (5, ("mem", "rss", "heap", "swap")),
    (4, ("cpu", "load1", "load5", "thrott")),
)
"""Looked for in this order."""


def step_of(case: Case) -> float:
    """Usual time between samples, ms; a minute where there are fewer than two."""
    return float(np.median(np.diff(case.times))) if len(case.times) > 1 else float(MINUTE)


def read(case: Case, weights: Weights | None = None) -> Inputs:
    """The arrays of a case, from nothing but the case; see `inputs_of`."""
    measured = measure(case)
    found = suspect(case, measured, weights or Weights())
    own = unexplained(case, measured, series_strength(measured, case.series))
    return inputs_of(case, measured, found, own)


def inputs_of(case: Case, measured: Measured, found: Suspicion, own: Unexplained) -> Inputs:
    """The arrays of a case.

    Args:
        case: The case.
        measured: Its series, measured.
        found: What the statistical reasoning over the graph says of its entities.
        own: What callees do not explain of its entities' troubles.
    """
    known = list(found.entities)
    if case.graph is not None:
        seen = set(known)
        known += [one.id for one in case.graph.entities if one.id not in seen]
    place = {entity: at for at, entity in enumerate(known)}
    edges, edge = _edges(case, place)
    owner = np.array([place[spec.entity] for spec in case.series], np.intp)
    node = np.concatenate(
        [_signals(case, measured, owner, len(known), found.onset), _about(case, found, own, place)],
        axis=1,
    )
    return Inputs(entities=tuple(known), node=node.astype(np.float32), edges=edges, edge=edge)


def _signals(
    case: Case, measured: Measured, owner: Int64Array, count: int, onset: int
) -> Float64Array:
    """`[entity, GROUPS * _OF_GROUP]`."""
    group = np.array([group_of(spec) for spec in case.series], np.intp)
    falls = np.array([spec.role is Role.AVAILABILITY for spec in case.series], np.bool_)
    n = measured.samples
    size = np.maximum(np.abs(measured.deviation) - DRIFT, 0.0) * np.sqrt(n / (n + SHORT))
    strength = np.log1p(size) / STRONG
    # What hardly stands out says little about how much, or since when.
    sure = size / (size + _SURE)
    upward = (measured.deviation > 0) ^ falls
    cell = owner * len(GROUPS) + group
    shape = count * len(GROUPS)
    up, down, total, number = (np.zeros(shape) for _ in range(4))
    np.maximum.at(up, cell[upward], strength[upward])
    np.maximum.at(down, cell[~upward], strength[~upward])
    known = ~np.isnan(measured.center)
    np.add.at(total, cell, strength)
    np.add.at(number, cell[known], 1.0)
    # Of the strongest series of each cell: how many times as much, and since when.
    order = np.argsort(strength, kind="stable")
    best = np.full(shape, -1, np.int64)
    best[cell[order]] = order
    has = best >= 0
    chosen = best[has]
    ratio, lag, change = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    ratio[has] = _ratio(measured, chosen) * sure[chosen]
    change[has] = _change_among(case, measured, sure)[chosen]
    shown = strength[chosen] > 0
    late = np.tanh((measured.onset[chosen] - onset) / max(_LATE * step_of(case), _SOON)) * shown
    lag[has] = late
    silent = np.zeros(shape)
    np.maximum.at(silent, cell, _silence(case))
    columns = [
        up,
        down,
        _among(up, count, 0.0),
        ratio,
        _among(np.abs(ratio), count, _SOME),
        change,
        lag,
        total / np.maximum(number, 1.0),
        np.minimum(number, 1.0),
        silent,
    ]
    return np.stack(columns, axis=1).reshape(count, len(GROUPS) * len(_OF_GROUP))


def _among(value: Float64Array, count: int, least: float) -> Float64Array:
    """`[entity * group]` as shares of the greatest of each group, or of `least` if none is more."""
    table = value.reshape(count, len(GROUPS))
    top = np.maximum(table.max(axis=0, initial=0.0), least)
    share: Float64Array = np.divide(table, top, out=np.zeros_like(table), where=top > 0)
    return share.ravel()


def _change_among(case: Case, measured: Measured, sure: Float64Array) -> Float64Array:
    """`[series]` change in the series' unit, over the greatest of the same metric anywhere."""
    moved: Float64Array = sure * np.nan_to_num(np.abs(measured.observed - measured.center))
    if not moved.size:
        return moved
    _, metric = np.unique([one.metric for one in case.series], return_inverse=True)
    top = np.zeros(int(metric.max()) + 1)
    np.maximum.at(top, metric, moved)
    most = top[metric]
    share: Float64Array = np.divide(moved, most, out=np.zeros_like(moved), where=most > 0)
    return share * sure


def _ratio(measured: Measured, chosen: Int64Array) -> Float64Array:
    """Natural logarithm of how many times the normal was observed, between -1 and 1 (20 times)."""
    before, after = measured.center[chosen], measured.observed[chosen]
    usable = (before > 0) & (after >= 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.where(usable, np.log(np.maximum(after, 1e-300) / before), 0.0)
    bounded: Float64Array = np.clip(np.nan_to_num(ratio), -3.0, 3.0) / 3.0
    return bounded


def _silence(case: Case) -> Float64Array:
    """`[series]` share of samples that fail to come since the start, against before.

    Beyond what the same metric of others misses as well, and where it was never silent for so long
    before: who is seldom asked is often silent.
    """
    present = np.isfinite(case.values)
    before = case.times < case.start
    if not before.any() or before.all() or not case.series:
        return np.zeros(len(case.series))
    usual, now = present[before].mean(axis=0), present[~before].mean(axis=0)
    lost = np.where(usual > 0, 1.0 - now / np.maximum(usual, 1e-9), 0.0)
    _, metric = np.unique([one.metric for one in case.series], return_inverse=True)
    for one in range(int(metric.max()) + 1):
        lost[metric == one] -= np.median(lost[metric == one])
    unheard = _longest_gap(present[~before]) > _longest_gap(present[before])
    silent: Float64Array = np.clip(lost, 0.0, 1.0) * unheard
    return silent


def _longest_gap(present: BoolArray) -> Int64Array:
    """`[series]` most samples in a row that are missing in `[time, series]`."""
    row = np.arange(1, len(present) + 1)[:, None]
    last = np.maximum.accumulate(np.where(present, row, 0), axis=0)
    longest: Int64Array = (row - last).max(axis=0, initial=0)
    return longest


def _about(
    case: Case, found: Suspicion, own: Unexplained, place: dict[EntityId, int]
) -> Float64Array:
    """`[entity, _OF_NODE]`."""
    out = np.zeros((len(place), len(_OF_NODE)))
    column = {name: at for at, name in enumerate(_OF_NODE)}
    mine = np.array([place[entity] for entity in found.entities], np.intp)
    out[:, column["no_series"]] = 1.0
    if len(mine):
        out[mine, column["no_series"]] = 0.0
        out[mine, column["explained"]] = found.explained
        out[mine, column["dependents"]] = found.dependents
        out[mine, column["score"]] = found.score / max(float(found.score.max()), 1.0)
        out[mine, column["score_log"]] = np.log1p(np.maximum(found.score, 0.0)) / STRONG
        out[mine, column["resource"]] = found.resource / STRONG
        out[mine, column["symptom"]] = found.symptom / STRONG
        for name, size, share in (
            ("latency", np.maximum(own.latency, 0.0), own.latency_share),
            ("failures", np.abs(own.failures), own.failures_share),
        ):
            out[mine, column[f"own_{name}"]] = np.log1p(size) / STRONG
            out[mine, column[f"own_{name}_among"]] = size / max(float(size.max()), 1.0)
            out[mine, column[f"own_{name}_share"]] = share
    _graph_columns(case, place, out, column)
    for change in case.changes:
        at = place.get(change.entity) if change.entity is not None else None
        age = found.onset - change.at
        if at is None or not -MINUTE <= age <= _CHANGE_WINDOW:
            continue
        name = f"change_{change.kind}" if change.kind in _CHANGES else "change_other"
        fresh = float(np.exp(-max(age, 0) / _CHANGE_FADES))
        out[at, column[name]] = max(out[at, column[name]], fresh)
    step = step_of(case) / SECOND
    since = int((case.times >= found.onset).sum())
    out[:, column["coarse"]] = np.log(max(step, 1.0)) / 6.0
    out[:, column["samples"]] = np.log1p(since) / 5.0
    return out


def _graph_columns(
    case: Case, place: dict[EntityId, int], out: Float64Array, column: dict[str, int]
) -> None:
    graph = case.graph
    if case.target is not None and case.target[0] in place:
        out[place[case.target[0]], column["alarmed"]] = 1.0
        # Of what kind the alarm is, everybody is told.
        kinds = alarmed_groups(case)
        out[:, column["alarm_slow"]] = float("latency" in kinds)
        out[:, column["alarm_failing"]] = float("failures" in kinds)
    if graph is None:
        out[:, column["no_graph"]] = 1.0
        return
    for entity in graph.entities:
        at, kind = place[entity.id], entity.kind
        out[at, column["callers"]] = np.log1p(len(graph.callers(entity.id))) / 2.0
        out[at, column["callees"]] = np.log1p(len(graph.callees(entity.id))) / 2.0
        out[at, column["hosts"]] = float(entity.id in graph.machines or kind is EntityKind.NODE)
        out[at, column["stateful"]] = float(kind in _STATEFUL)
        out[at, column["external"]] = float(kind is EntityKind.EXTERNAL)
        out[at, column["service"]] = float(kind in {EntityKind.SERVICE, EntityKind.GATEWAY})
    for one in graph.edges:
        if one.kind is EdgeKind.HOST and one.caller in place:
            out[place[one.caller], column["hosted"]] = 1.0
    if case.target is not None:
        for entity_id in graph.dependencies(case.target[0]):
            if entity_id in place:
                out[place[entity_id], column["reached"]] = 1.0


def alarmed_groups(case: Case) -> frozenset[str]:
    """Kinds of metrics (`GROUPS`) that the alarm is on; empty where nobody knows."""
    entity, metric = case.target or (None, None)
    if metric is None:
        return frozenset()
    return frozenset(
        GROUPS[group_of(spec)]
        for spec in case.series
        if spec.entity == entity and spec.metric.startswith(metric)
    )


def _edges(case: Case, place: dict[EntityId, int]) -> tuple[Int64Array, Float32Array]:
    """Each dependency there and back."""
    if case.graph is None:
        return np.zeros((2, 0), np.int64), np.zeros((0, len(EDGE_INPUTS)), np.float32)
    pairs: list[tuple[int, int]] = []
    about: list[tuple[float, float, float]] = []
    for one in case.graph.edges:
        a, b = place.get(one.caller), place.get(one.callee)
        if a is None or b is None or a == b:
            continue
        host = float(one.kind is EdgeKind.HOST)
        callees, callers = len(case.graph.callees(one.caller)), len(case.graph.callers(one.callee))
        pairs += [(b, a), (a, b)]
        about += [(1.0, host, 1.0 / max(callees, 1)), (0.0, host, 1.0 / max(callers, 1))]
    return (
        np.array(pairs, np.int64).reshape(-1, 2).T.copy(),
        np.array(about, np.float32).reshape(-1, len(EDGE_INPUTS)),
    )
