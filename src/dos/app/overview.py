"""The present state of every entity, computed from the pipeline when somebody looks."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from dos.app.pipeline import Pipeline
from dos.detect.engine import Readings
from dos.kit.clock import SECOND, Millis
from dos.model.entity import Entity
from dos.model.graph import GraphSnapshot
from dos.model.ids import EntityId, IncidentId, SeriesId
from dos.model.overview import Health, SeriesReading, ServiceStatus
from dos.model.telemetry import Role

_PATIENCE = 5
"""An entity is unknown when its newest sample is this many usual steps old, and at least
`_LEAST_PATIENCE` seconds."""
_LEAST_PATIENCE = 60.0


def services(pipeline: Pipeline, now: Millis, step: float) -> list[ServiceStatus]:
    """Every known entity, sorted by id.

    Args:
        pipeline: Must not be stepped meanwhile: hold the runner's lock.
        now: The clock's time, against which silence is judged.
        step: The usual distance of samples in seconds.
    """
    parts = pipeline.parts
    graph = parts.topology.snapshot(now)
    by_entity = _readings(pipeline)
    incidents: dict[EntityId, list[IncidentId]] = {}
    for incident in parts.correlator.open:
        for entity in incident.entities:
            incidents.setdefault(entity, []).append(incident.id)
    silent_before = now - round(max(_LEAST_PATIENCE, _PATIENCE * step) * SECOND)
    return [
        _status(entity, graph, by_entity.get(entity.id, []), incidents, silent_before)
        for entity in graph.entities
    ]


def _status(
    entity: Entity,
    graph: GraphSnapshot,
    readings: Sequence[SeriesReading],
    incidents: dict[EntityId, list[IncidentId]],
    silent_before: int,
) -> ServiceStatus:
    newest = max((reading.at for reading in readings), default=None)
    involved = tuple(incidents.get(entity.id, ()))
    return ServiceStatus(
        entity=entity,
        health=_health(readings, bool(involved), newest, silent_before),
        last_sample_at=newest,
        readings=tuple(readings),
        incidents=involved,
        callers=tuple(graph.callers(entity.id)),
        callees=tuple(graph.callees(entity.id)),
    )


def _health(
    readings: Sequence[SeriesReading], involved: bool, newest: Millis | None, silent_before: int
) -> Health:
    if newest is None or newest < silent_before:
        return Health.UNKNOWN
    abnormal = {reading.role for reading in readings if reading.abnormal}
    if abnormal:
        suffers = any(role.is_golden or role is Role.SATURATION for role in abnormal)
        return Health.CRITICAL if involved and suffers else Health.WARNING
    if involved:
        return Health.WARNING  # was abnormal a moment ago; the incident is not over yet
    traffic = [reading.value for reading in readings if reading.role is Role.TRAFFIC]
    if traffic and max(traffic) <= 0:
        return Health.IDLE
    return Health.OK


def _readings(pipeline: Pipeline) -> dict[EntityId, list[SeriesReading]]:
    parts = pipeline.parts
    by_entity: dict[EntityId, list[SeriesReading]] = {}
    for state in parts.host.states:
        readings = parts.kernel.readings(state)
        for row in np.flatnonzero(readings.timestamp > 0).tolist():
            reading = _reading(pipeline, readings, row)
            entity = parts.registry[reading.series_id].spec.entity
            by_entity.setdefault(entity, []).append(reading)
    return by_entity


def _reading(pipeline: Pipeline, readings: Readings, row: int) -> SeriesReading:
    series = pipeline.parts.registry[int(readings.series_id[row])]
    return SeriesReading(
        series_id=SeriesId(series.id),
        metric=series.spec.metric,
        labels=series.spec.labels,
        role=series.spec.role,
        unit=series.spec.unit,
        at=Millis(int(readings.timestamp[row])),
        value=float(readings.value[row]),
        expected=_known(readings.expected[row]),
        lower=_known(readings.lower[row]),
        upper=_known(readings.upper[row]),
        score=_known(readings.score[row]),
        abnormal=bool(readings.abnormal[row]),
        detectors=pipeline.parts.kernel.watching(readings, row),
    )


def _known(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
