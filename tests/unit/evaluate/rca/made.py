"""Small cases for tests of baselines and of the bench."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from dos.kit.clock import SECOND, Millis
from dos.model.entity import Entity
from dos.model.graph import Edge, GraphSnapshot
from dos.model.ids import EntityId
from dos.model.rootcause import FaultKind, Hypothesis, RootCause
from dos.model.telemetry import Float64Array, Role, SeriesSpec
from dos.rca.case import Case

BEGAN = 1_700_000_000_000

Column = tuple[str, str, Role]
"""Entity, metric, role."""


def case(
    columns: Sequence[Column],
    normal: Float64Array,
    abnormal: Float64Array,
    *,
    calls: Sequence[tuple[str, str]] | None = None,
    target: tuple[str, str | None] | None = None,
) -> Case:
    """A case from its two halves, `[time, column]`, a sample every 10 s."""
    values = np.concatenate([normal, abnormal]).astype(np.float64)
    times = BEGAN + 10 * SECOND * np.arange(len(values))
    return Case(
        times=times,
        values=values,
        series=tuple(
            SeriesSpec(entity=EntityId(entity), metric=metric, role=role)
            for entity, metric, role in columns
        ),
        graph=graph(calls) if calls is not None else None,
        start=Millis(BEGAN + 10 * SECOND * len(normal)),
        end=Millis(int(times[-1]) if len(times) else BEGAN),
        target=(EntityId(target[0]), target[1]) if target else None,
    )


def graph(calls: Sequence[tuple[str, str]]) -> GraphSnapshot:
    """The graph of these calls."""
    names = sorted({name for call in calls for name in call})
    return GraphSnapshot(
        version=1,
        entities=tuple(Entity(id=EntityId(name)) for name in names),
        edges=tuple(
            Edge(caller=EntityId(one), callee=EntityId(other)) for one, other in sorted(calls)
        ),
    )


def latencies(
    changes: Mapping[str, float],
    *,
    calls: Sequence[tuple[str, str]] | None = None,
    target: tuple[str, str | None] | None = None,
    seed: int = 0,
) -> Case:
    """Services whose latency of 1 s, with noise of 0.1, rises by so much."""
    rng = np.random.default_rng(seed)
    columns = [(name, "latency", Role.LATENCY) for name in changes]
    normal = 1 + 0.1 * rng.standard_normal((40, len(columns)))
    abnormal = 1 + 0.1 * rng.standard_normal((11, len(columns))) + np.array(list(changes.values()))
    return case(columns, normal, abnormal, calls=calls, target=target)


def cause(
    *claims: tuple[str, float],
    kind: FaultKind | None = None,
    coverage: float | None = None,
    likely: Sequence[str] = (),
) -> RootCause:
    """A conclusion with these probabilities; the rest is unknown."""
    return RootCause(
        ranked=tuple(
            Hypothesis(
                entity=EntityId(name), metric=None, probability=share, score=share, kind=kind
            )
            for name, share in claims
        ),
        unknown=1.0 - sum(share for _, share in claims),
        method="made",
        at=Millis(BEGAN),
        onset=Millis(BEGAN),
        coverage=coverage,
        likely=tuple(EntityId(name) for name in likely),
    )
