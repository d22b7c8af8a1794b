"""Checks that a ranker keeps its contract (`dos.rca.base`), and a way to try one out.

    def test_my_ranker_keeps_the_contract():
        check_ranker(load("dos.rca.rankers", "mine"))

`story` makes a small shop in which something is wrong, `ranked` what a ranker says of it. Each
check raises `AssertionError` that says what is wrong.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from dos.kit.clock import SECOND, Millis
from dos.kit.plugins import Plugin, load
from dos.model.change import Change, ChangeKind
from dos.model.entity import Entity
from dos.model.graph import Edge, GraphSnapshot
from dos.model.ids import ChangeId, EntityId
from dos.model.logs import LogSignal
from dos.model.rootcause import RootCause
from dos.model.telemetry import Float64Array, Role, SeriesSpec
from dos.rca.base import ROOM, EntityScores, Ranker
from dos.rca.case import Case

CALLS = (
    ("frontend", "orders"),
    ("frontend", "catalogue"),
    ("orders", "payment"),
    ("orders", "users-db"),
    ("catalogue", "catalogue-db"),
)
"""Who calls whom in the shop."""
STEP = 15 * SECOND
BEFORE, DURING = 120, 20
"""Samples of health, and of the trouble."""
START = Millis(1_767_571_200_000 + BEFORE * STEP)
"""When the trouble begins; 120 samples earlier it is 2026-01-05T00:00:00Z."""
_OWN = (("scope", "self"),)
_METRICS: Mapping[str, tuple[Role, str, tuple[tuple[str, str], ...], float, float]] = {
    "latency_p95": (Role.LATENCY, "seconds", (), 0.12, 0.01),
    "error_ratio": (Role.ERRORS, "ratio", (), 0.002, 0.001),
    "requests": (Role.TRAFFIC, "1/s", (), 50.0, 2.0),
    "cpu": (Role.SATURATION, "ratio", (), 0.3, 0.02),
    "self_seconds": (Role.LATENCY, "seconds", _OWN, 0.03, 0.002),
    LogSignal.NEW: (Role.OTHER, "", (), 0.02, 0.01),
}
"""Role, unit, labels, usual level and spread of what is measured of each entity."""
_CLOSE = 1e-6


def story(
    *wrong: tuple[str, str, float, int],
    seed: int = 1,
    calls: Sequence[tuple[str, str]] | None = CALLS,
    changes: Sequence[Change] = (),
    metrics: Sequence[str] = tuple(_METRICS),
    step: int = STEP,
) -> Case:
    """A shop in which some metrics are off.

    Args:
        wrong: Entity, metric, what its values are multiplied by, and after how many samples of
            the trouble that begins.
        seed: Of the noise.
        calls: Who calls whom; None: nobody knows.
        changes: What was done to the shop.
        metrics: What is measured of each entity: `latency_p95`, `error_ratio`, `requests`, `cpu`,
            `self_seconds` (in its own code), `log_new_templates`.
        step: Milliseconds between samples.
    """
    rng = np.random.default_rng(seed)
    names = sorted({end for call in CALLS for end in call})
    keys = [(name, metric) for name in names for metric in _METRICS]
    columns: dict[tuple[str, str], Float64Array] = {}
    for name, metric in keys:
        *_, level, spread = _METRICS[metric]
        noise = spread * rng.standard_normal(BEFORE + DURING)
        columns[name, metric] = np.maximum(level + noise, 0.0)
    for name, metric, factor, after in wrong:
        columns[name, metric][BEFORE + after :] *= factor
    kept = [key for key in keys if key[1] in metrics]
    times = START + step * np.arange(-BEFORE, DURING, dtype=np.int64)
    return Case(
        times=times,
        values=np.column_stack([columns[key] for key in kept]),
        series=tuple(
            SeriesSpec(
                entity=EntityId(name),
                metric=metric,
                labels=_METRICS[metric][2],
                role=_METRICS[metric][0],
                unit=_METRICS[metric][1],
            )
            for name, metric in kept
        ),
        graph=None if calls is None else graph_of(calls),
        start=START,
        end=Millis(int(times[-1])),
        changes=tuple(changes),
    )


def graph_of(calls: Sequence[tuple[str, str]]) -> GraphSnapshot:
    """The graph in which these callers call these callees."""
    return GraphSnapshot(
        version=1,
        entities=tuple(Entity(id=EntityId(one)) for one in sorted({e for c in calls for e in c})),
        edges=tuple(Edge(caller=EntityId(a), callee=EntityId(b)) for a, b in sorted(calls)),
    )


def ranked(name: str, case: Case, **parameters: object) -> list[str]:
    """Entities that the built-in ranker `name` lists as hypotheses, most probable first.

    Args:
        name: A file of `dos/rca/rankers`.
        case: What to rank.
        parameters: Keys of its configuration.
    """
    return [str(one.entity) for one in concluded(name, case, **parameters).ranked]


def concluded(name: str, case: Case, **parameters: object) -> RootCause:
    """The whole conclusion of the built-in ranker `name`."""
    plugin = load(ROOM, name)
    ranker: Ranker = plugin.build(plugin.config.model_validate(parameters))
    return ranker.rank(case)


def check_ranker(plugin: Plugin[Any, Any], keys: Mapping[str, object] | None = None) -> None:
    """Run all checks on the ranker that `keys` configure, the default if None."""
    config = plugin.config.model_validate(keys or {})
    forbids = plugin.config.model_config.get("extra") == "forbid"
    _need(forbids, 'Config must refuse unknown keys: model_config = ConfigDict(extra="forbid")')

    def build() -> Ranker:
        ranker: Ranker = plugin.build(config)
        return ranker

    for name, case in strange_cases().items():
        check_sound(build(), case, name)
    for case in (_trouble(), replace(_trouble(), graph=None)):
        check_repeatable(build, case)
        check_order(build(), case)
        check_names(build(), case)


def check_sound(ranker: Ranker, case: Case, name: str = "this case") -> None:
    """Whatever the case: no warning, finite scores, probabilities that sum to one, sentences."""
    case.values.setflags(write=False)  # a pure function changes nothing
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores, cause = ranker.score(case), ranker.rank(case)
    known = {one.id for one in case.graph.entities} if case.graph is not None else set()
    may = known | set(case.entities())
    given = set(scores.entities)
    _need(
        set(case.entities()) <= given <= may and len(given) == len(scores.entities),
        f"{name}: score() must give every entity that has series a number, once; of others only "
        "those of the graph may have one",
    )
    _need(len(scores.score) == len(scores.entities), f"{name}: not one score an entity")
    _need(bool(np.isfinite(scores.score).all()), f"{name}: a score is not finite")
    chances = [one.probability for one in cause.ranked]
    total = sum(chances) + cause.unknown
    _need(abs(total - 1) < 1e-9, f"{name}: the probabilities sum to {total}")
    _need(all(0 < one <= 1 for one in chances), f"{name}: a probability is not within (0, 1]")
    _need(0 <= cause.unknown <= 1, f"{name}: unknown is {cause.unknown}")
    _need(chances == sorted(chances, reverse=True), f"{name}: the most probable is not first")
    blamed = [one.entity for one in cause.ranked]
    _need(len(set(blamed)) == len(blamed), f"{name}: an entity is blamed twice")
    _need(set(blamed) <= given, f"{name}: it blames what it did not score")
    said = [one for hypothesis in cause.ranked for one in hypothesis.evidence]
    _need(all(hypothesis.evidence for hypothesis in cause.ranked), f"{name}: blame without reason")
    _need(all(one.text.strip() for one in said), f"{name}: evidence without words")
    _need(bool(np.isfinite([one.weight for one in said]).all()), f"{name}: a weight is not finite")
    nothing = not case.series or not np.isfinite(case.values).any()
    _need(not nothing or cause.unknown == 1, f"{name}: there is nothing to go by: unknown is 1")


def check_repeatable(build: Callable[[], Ranker], case: Case) -> None:
    """Equal cases get equal conclusions, from the same ranker and from another one."""
    first = build()
    cause = first.rank(case)
    _need(first.rank(case) == cause, "the same case was ranked differently the second time")
    _need(build().rank(case) == cause, "another ranker built alike ranked differently")
    order = first.score(case).ordered()
    _need(build().score(case).ordered() == order, "another ranker built alike scored differently")


def check_order(ranker: Ranker, case: Case) -> None:
    """It does not matter in which order series, entities and edges are listed."""
    turned = np.random.default_rng(3).permutation(len(case.series))
    other = replace(
        case,
        values=case.values[:, turned],
        series=tuple(case.series[int(one)] for one in turned),
        graph=_turned(case.graph),
        changes=case.changes[::-1],
    )
    _same(ranker.score(case), ranker.score(other), {}, "the order of series or entities matters")
    straight, mixed = ranker.rank(case), ranker.rank(other)
    _need(
        [one.entity for one in straight.ranked] == [one.entity for one in mixed.ranked],
        "the order of series or entities changes the hypotheses",
    )
    close = np.allclose(
        [one.probability for one in straight.ranked],
        [one.probability for one in mixed.ranked],
        atol=_CLOSE,
    )
    _need(bool(close), "the order of series or entities changes probabilities")


def check_names(ranker: Ranker, case: Case) -> None:
    """What entities are called does not matter."""
    called = {entity: EntityId(f"x{hash_of(entity)}") for entity in _everyone(case)}
    other = replace(
        case,
        series=tuple(replace(spec, entity=called[spec.entity]) for spec in case.series),
        graph=_renamed(case.graph, called),
        changes=tuple(
            replace(one, entity=None if one.entity is None else called[one.entity])
            for one in case.changes
        ),
    )
    _same(ranker.score(case), ranker.score(other), called, "the names of entities matter")


def hash_of(name: str) -> int:
    """A number that depends on the name, and orders names anew."""
    return int.from_bytes(name.encode()[::-1], "big") % 999_983


def strange_cases() -> dict[str, Case]:
    """Cases that lack something, or have too much of it."""
    usual = _trouble()
    values, nothing = usual.values, np.full_like(usual.values, np.nan)
    huge = values.copy()
    huge[BEFORE:, ::3] *= 1e4
    holes = np.where(np.random.default_rng(5).random(values.shape) < 0.6, np.nan, values)
    silent = values.copy()
    silent[BEFORE:] = np.nan
    moved = np.zeros(values.shape, np.bool_)
    moved[BEFORE:, ::5] = True
    wild = values.copy()
    wild[::7, 1::4], wild[::5, 2::4], wild[3::9, ::4] = np.inf, 1e308, -1e308
    cycle = (*CALLS, ("payment", "frontend"), ("users-db", "orders"))
    loops = (*CALLS, *((end, end) for call in CALLS for end in call))
    strangers = (("nobody", "nothing"), ("frontend", "elsewhere"), ("elsewhere", "orders"))
    first = usual.series[0].entity
    one = np.array([spec.entity == first for spec in usual.series])
    few = np.flatnonzero(one)
    return {
        "empty": replace(usual, times=usual.times[:0], values=values[:0, :0], series=()),
        "no samples": replace(usual, times=usual.times[:0], values=values[:0]),
        "no series": replace(usual, values=values[:, :0], series=()),
        "one sample": replace(usual, times=usual.times[BEFORE:][:1], values=values[BEFORE:][:1]),
        "two samples": replace(usual, times=usual.times[::100], values=values[::100]),
        "constant": replace(usual, values=np.full_like(values, 7.0)),
        "zero": replace(usual, values=np.zeros_like(values)),
        "constants that move": replace(usual, values=np.where(moved, 14.0, 7.0)),
        "zeros that move": replace(usual, values=np.where(moved, 1e-9, 0.0)),
        "NaN everywhere": replace(usual, values=nothing),
        "silent since": replace(usual, values=silent),
        "holes": replace(usual, values=holes),
        "10,000 sigmas": replace(usual, values=huge),
        "infinities": replace(usual, values=wild),
        "one entity": replace(
            usual, values=values[:, few], series=tuple(usual.series[i] for i in few)
        ),
        "no graph": replace(usual, graph=None),
        "an empty graph": replace(usual, graph=GraphSnapshot()),
        "a cycle": replace(usual, graph=graph_of(cycle)),
        "self loops": replace(usual, graph=graph_of(loops)),
        "a graph of others": replace(usual, graph=graph_of(strangers)),
        "a target nobody knows": replace(usual, target=(EntityId("nobody"), "latency")),
        "nothing detected": replace(usual, abnormal=frozenset()),
        "no history": replace(usual, start=Millis(int(usual.times[0]))),
        "not begun": replace(usual, start=Millis(int(usual.times[-1]) + 60 * SECOND)),
        "an end before the start": replace(usual, end=Millis(usual.start - 60 * SECOND)),
        "all at one time": replace(usual, times=np.full(len(usual.times), usual.start)),
        "healthy": story(seed=2),
    }


def _trouble() -> Case:
    """Payment was deployed, burns CPU and is slow; those who call it wait."""
    return story(
        ("payment", "cpu", 2.5, 0),
        ("payment", "self_seconds", 9.0, 0),
        ("payment", "latency_p95", 4.0, 0),
        ("payment", LogSignal.NEW, 40.0, 1),
        ("orders", "latency_p95", 3.5, 1),
        ("frontend", "latency_p95", 3.0, 3),
        ("frontend", "error_ratio", 20.0, 4),
        changes=[
            _change("payment", 40, ChangeKind.DEPLOY),
            _change("orders", 200, ChangeKind.CONFIG),
            _change("users-db", 200, ChangeKind.SCALE),
            _change("users-db", 1500, ChangeKind.SCALE),
            _change(None, 100, ChangeKind.OTHER),
            _change("nobody", 50, ChangeKind.FLAG),
        ],
    )


def _change(entity: str | None, before: int, kind: ChangeKind) -> Change:
    """A change so many seconds before the trouble."""
    return Change(
        id=ChangeId(f"chg-{before}-{kind}"),
        at=Millis(START - before * SECOND),
        kind=kind,
        entity=None if entity is None else EntityId(entity),
    )


def _turned(graph: GraphSnapshot | None) -> GraphSnapshot | None:
    if graph is None:
        return None
    return replace(graph, entities=graph.entities[::-1], edges=graph.edges[::-1])


def _renamed(
    graph: GraphSnapshot | None, called: Mapping[EntityId, EntityId]
) -> GraphSnapshot | None:
    if graph is None:
        return None
    entities = sorted(
        (replace(one, id=called[one.id]) for one in graph.entities), key=lambda one: one.id
    )
    edges = sorted(
        (replace(one, caller=called[one.caller], callee=called[one.callee]) for one in graph.edges),
        key=lambda one: (one.caller, one.callee),
    )
    return replace(graph, entities=tuple(entities), edges=tuple(edges))


def _everyone(case: Case) -> list[EntityId]:
    known = {spec.entity for spec in case.series}
    if case.graph is not None:
        known |= {one.id for one in case.graph.entities}
    return sorted(known | {one.entity for one in case.changes if one.entity is not None})


def _same(
    one: EntityScores, other: EntityScores, called: Mapping[EntityId, EntityId], otherwise: str
) -> None:
    scores = dict(zip(other.entities, other.score.tolist(), strict=True))
    mapped = [scores[called.get(entity, entity)] for entity in one.entities]
    _need(bool(np.allclose(one.score, mapped, rtol=_CLOSE, atol=_CLOSE)), otherwise)


def _need(met: bool, otherwise: str) -> None:
    """Like `assert`, but also where Python runs with -O."""
    if not met:
        raise AssertionError(otherwise)
