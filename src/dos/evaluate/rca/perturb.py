"""The same case with something amiss that no incident brought about: to see what a ranker needs.

Every change is drawn from a seed that is the case's own, so that all contenders get the same ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random

from dos.model.graph import Edge, GraphSnapshot
from dos.rca.case import Case

EDGES_GONE = 0.3
EDGES_MORE = 0.1
SERIES_GONE = 0.2
_FROM_TRACES = ("trace_self_seconds", "trace_network_seconds")


def fewer_edges(case: Case, seed: str) -> Case:
    """Without `EDGES_GONE` of the edges of the graph."""
    if case.graph is None:
        return case
    edges = case.graph.edges
    gone = set(_rng("edges gone", seed).sample(range(len(edges)), round(EDGES_GONE * len(edges))))
    return _with(case, [one for place, one in enumerate(edges) if place not in gone])


def more_edges(case: Case, seed: str) -> Case:
    """With `EDGES_MORE` of the number of edges added, each between any two entities."""
    graph = case.graph
    if graph is None or len(graph.entities) < 2:
        return case
    rng = _rng("edges more", seed)
    names = sorted(one.id for one in graph.entities)
    known = {(one.caller, one.callee) for one in graph.edges}
    wanted = min(len(known) + round(EDGES_MORE * len(graph.edges)), len(names) * (len(names) - 1))
    added: list[Edge] = []
    while len(known) < wanted:
        caller, callee = rng.sample(names, 2)
        if (caller, callee) not in known:
            known.add((caller, callee))
            added.append(Edge(caller=caller, callee=callee, sources=("random",)))
    return _with(case, [*graph.edges, *added])


def fewer_series(case: Case, seed: str) -> Case:
    """Without `SERIES_GONE` of the series, of whatever entity."""
    return without_series(case, SERIES_GONE, _rng("series gone", seed))


def without_series(case: Case, share: float, rng: Random) -> Case:
    """Without that share of the series, of whatever entity."""
    count = len(case.series)
    gone = rng.sample(range(count), round(share * count))
    return _of_series(case, sorted(set(range(count)) - set(gone)))


def no_traces(case: Case) -> Case:
    """Without the series that the reader makes of traces (`dos.ingest.spans`)."""
    kept = [at for at, one in enumerate(case.series) if not one.metric.startswith(_FROM_TRACES)]
    return _of_series(case, kept)


def no_graph(case: Case, seed: str) -> Case:
    """Without the graph."""
    del seed  # nothing is drawn
    return replace(case, graph=None)


def no_changes(case: Case, seed: str) -> Case:
    """Without deployments and the like."""
    del seed  # nothing is drawn
    return replace(case, changes=())


VARIANTS: dict[str, Callable[[Case, str], Case]] = {
    "30 % of edges removed": fewer_edges,
    "10 % of edges added": more_edges,
    "20 % of series missing": fewer_series,
    "no graph": no_graph,
    "no change events": no_changes,
}
"""By the names they have in tables."""


def _of_series(case: Case, kept: Sequence[int]) -> Case:
    return replace(
        case, values=case.values[:, kept], series=tuple(case.series[place] for place in kept)
    )


def _with(case: Case, edges: list[Edge]) -> Case:
    graph = case.graph
    if graph is None:
        return case
    ordered = tuple(sorted(edges, key=lambda one: (one.caller, one.callee)))
    changed = GraphSnapshot(
        version=graph.version + 1, at=graph.at, entities=graph.entities, edges=ordered
    )
    return replace(case, graph=changed)


def _rng(what: str, seed: str) -> Random:
    return Random(f"{what}/{seed}")  # noqa: S311  a perturbation, not a secret
