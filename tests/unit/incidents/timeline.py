"""A correlator, a graph and a clock: anomalies begin and end at seconds, incidents come of it."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import numpy as np

from dos.detect.ensemble import score_of
from dos.incidents.correlate import Correlator, IncidentsConfig
from dos.kit.clock import SECOND, Millis
from dos.model.anomaly import Anomaly, Direction
from dos.model.entity import Entity
from dos.model.graph import Edge, GraphSnapshot
from dos.model.ids import AnomalyId, EntityId, SeriesId, derive_id
from dos.model.incident import Incident
from dos.model.telemetry import Role

START = 1_780_000_000_000


def at(seconds: float) -> Millis:
    return Millis(START + round(seconds * SECOND))


def graph_of(*edges: str) -> GraphSnapshot:
    """`graph_of("gateway > cart > db", "alone")`: chains of callers and callees."""
    pairs: list[tuple[str, str]] = []
    names: set[str] = set()
    for text in edges:
        chain = [name.strip() for name in text.split(">")]
        names.update(chain)
        pairs += pairwise(chain)
    return GraphSnapshot(
        entities=tuple(Entity(id=EntityId(name)) for name in sorted(names)),
        edges=tuple(
            Edge(caller=EntityId(caller), callee=EntityId(callee))
            for caller, callee in sorted(set(pairs))
        ),
    )


def series_of(entity: str, metric: str) -> SeriesId:
    return SeriesId(int(derive_id("", entity, metric)[1:8], 16))


def anomaly(
    entity: str,
    seconds: float,
    role: Role = Role.LATENCY,
    *,
    metric: str = "",
    strength: float = 2.0,
    lag: float = 0.0,
) -> Anomaly:
    """Begun `seconds` after the start, decided `lag` later; `strength` is |z| over its limit."""
    metric = metric or role.value
    return Anomaly(
        id=AnomalyId(derive_id("ano", entity, metric, seconds)),
        series_id=series_of(entity, metric),
        entity=EntityId(entity),
        metric=metric,
        role=role,
        started_at=at(seconds),
        decided_at=at(seconds + lag),
        direction=Direction.ABOVE,
        deviation=6.0 * strength,
        score=float(score_of(np.array([strength]))[0]),
        observed=2.0,
        expected=1.0,
        lower=0.8,
        upper=1.2,
        detector="test",
    )


class Timeline:
    """Plays anomalies to a correlator, and keeps what it says."""

    def __init__(self, graph: GraphSnapshot, **config: float) -> None:
        self.graph = graph
        self.config = IncidentsConfig.model_validate(config)
        self.correlator = Correlator(self.config)
        self.changed: list[Incident] = []

    def begin(self, *anomalies: Anomaly) -> Timeline:
        for one in anomalies:
            self.correlator.started(one)
        return self

    def end(self, seconds: float, *which: tuple[str, Role]) -> Timeline:
        for entity, role in which:
            assert self.correlator.ended(series_of(entity, role.value), at(seconds))
        return self

    def end_all(self, seconds: float) -> Timeline:
        for series in list(self.correlator.active):
            self.correlator.ended(series, at(seconds))
        return self

    def tick(self, seconds: float) -> list[Incident]:
        """Correlate at that time; returns what changed."""
        fresh = self.correlator.apply(self.graph, at(seconds))
        self.changed += fresh
        return fresh

    def ticks(self, seconds: Iterable[float]) -> list[Incident]:
        return [one for second in seconds for one in self.tick(second)]
