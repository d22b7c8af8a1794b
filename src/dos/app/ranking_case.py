"""Case building: from an incident and what is kept of it to what a ranker is given.

The pipeline does it while an incident goes on, `dos rca explain` does it again afterwards; both by
this one function, so that the same samples give the same ranking.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from dos.kit.clock import SECOND, Millis
from dos.model.change import Change
from dos.model.graph import GraphSnapshot
from dos.model.ids import EntityId, SeriesId
from dos.model.incident import Incident
from dos.model.telemetry import Series
from dos.rca.case import Case
from dos.storage.base import Window


class Scope(Protocol):
    """How much of the past and of the graph is looked at; see `DiagnosisConfig`."""

    @property
    def baseline(self) -> float:
        """Seconds of history before the incident."""
        ...

    @property
    def reach(self) -> int:
        """Calls around the abnormal entities."""
        ...

    @property
    def max_entities(self) -> int:
        """Candidates at most, nearest first."""
        ...


class SeriesTable(Protocol):
    """What series there are."""

    def of_entity(self, entity: EntityId) -> Sequence[SeriesId]:
        """Ids of the series of `entity`, oldest first."""
        ...

    def __getitem__(self, series_id: SeriesId) -> Series: ...


class Samples(Protocol):
    """Where samples come from."""

    def window(self, series: Sequence[SeriesId], start: Millis, end: Millis) -> Window:
        """Samples of `series` in `[start, end]` on one grid of times."""
        ...


class ListedSeries:
    """A `SeriesTable` of series whose ids may have gaps."""

    def __init__(self, series: Iterable[Series]) -> None:
        self._by_id = {one.id: one for one in series}
        self._by_entity: dict[EntityId, list[SeriesId]] = {}
        for identity in sorted(self._by_id):
            entity = self._by_id[identity].spec.entity
            self._by_entity.setdefault(entity, []).append(identity)

    def of_entity(self, entity: EntityId) -> Sequence[SeriesId]:
        """Ids of the series of `entity`, oldest first."""
        return self._by_entity.get(entity, ())

    def __getitem__(self, series_id: SeriesId) -> Series:
        return self._by_id[series_id]


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What was known around an incident at one time."""

    graph: GraphSnapshot
    abnormal: frozenset[EntityId]
    """Entities with active anomalies, of this incident and others."""
    changes: Sequence[Change]
    """Recent changes of the watched system, oldest first."""
    past: Sequence[tuple[Millis, Millis]]
    """When earlier incidents began and ended; what was then is not normal."""


def ranking_case(
    incident: Incident,
    around: Surroundings,
    now: Millis,
    *,
    scope: Scope,
    table: SeriesTable,
    samples: Samples,
) -> Case:
    """What a ranker is given of `incident` at `now`.

    Args:
        incident: The incident; its cause and impact do not matter.
        around: What was known at `now`.
        now: Samples after it are not looked at.
        scope: How far to look.
        table: Series of the entities within reach.
        samples: Their samples.
    """
    entities = candidates(incident, around.graph, scope)
    ids = [series for entity in entities for series in table.of_entity(entity)]
    start = incident.began_at
    first = Millis(start - round(scope.baseline * SECOND))
    window = samples.window(ids, first, now)
    # Slots are finer than the samples of a slow source: most are then empty.
    usable = ~np.isnan(window.values).all(axis=1)
    for began, ended in around.past:
        over = min(ended, start - 1)
        usable &= (window.times < began) | (window.times > over)
    return Case(
        times=window.times[usable],
        values=window.values[usable].astype(np.float64),
        series=tuple(table[series].spec for series in ids),
        graph=around.graph,
        start=start,
        end=now,
        changes=tuple(around.changes),
        abnormal=around.abnormal | frozenset(incident.entities),
    )


def candidates(incident: Incident, graph: GraphSnapshot, scope: Scope) -> list[EntityId]:
    """The incident's entities and those around them, nearest first."""
    distance: dict[EntityId, int] = {}
    for entity in incident.entities:
        for near, steps in graph.around(entity, scope.reach).items():
            distance[near] = min(steps, distance.get(near, steps))
    ordered = sorted(distance, key=lambda entity: (distance[entity], entity))
    return ordered[: scope.max_entities]
