"""A series that flaps is one incident and few notifications: the whole pipeline, virtual time."""

from __future__ import annotations

import numpy as np
import pytest

from dos.alerting.base import Receiver
from dos.app import wiring
from dos.app.settings import Settings
from dos.kit.clock import SECOND, Millis
from dos.model.alert import AlertState, Notification
from dos.model.events import IncidentChanged, NotificationQueued
from dos.model.ids import EntityId, SeriesId
from dos.model.intake import Intake
from dos.model.telemetry import MetricBatch, Role, Series, SeriesSpec
from tests.unit.app.played import START

METRICS = (
    ("latency_p95", Role.LATENCY, "seconds", 0.1),
    ("request_rate", Role.TRAFFIC, "1/s", 50.0),
    ("cpu_usage", Role.SATURATION, "ratio", 0.4),
)
SPECS = tuple(
    SeriesSpec(entity=EntityId(entity), metric=metric, role=role, unit=unit)
    for entity in ("shop", "db")
    for metric, role, unit, _ in METRICS
)
USUAL = np.array([one[3] for one in METRICS] * 2)
BEGINS, ENDS, LAST = 600, 4200, 6000
"""An hour of flapping after ten calm minutes; s."""


def flown(step: int, size: float, phase: int, seed: int) -> tuple[set[str], list[Notification]]:
    """Incidents and notifications, while `shop`'s latency is `size` times as high every 10 s."""
    settings = Settings.model_validate(
        {"storage": {"url": "memory://"}, "sources": [], "history": {"resolution": step}}
    )
    receivers = (Receiver(name="pager"),)
    made = wiring.build_pipeline(settings, wiring.open_history(settings, None), receivers)
    rng = np.random.default_rng(seed)
    incidents: set[str] = set()
    told: list[Notification] = []
    for number, second in enumerate(range(-3600, LAST, step)):
        value = USUAL * (1 + 0.05 * rng.standard_normal(len(USUAL)))
        if BEGINS <= second < ENDS and (second + phase) // 10 % 2 == 0:
            value[0] *= size
        now = Millis(START + second * SECOND)
        batch = MetricBatch(
            series_id=np.arange(len(SPECS), dtype=np.int32),
            timestamp=np.full(len(SPECS), now, np.int64),
            value=value,
        )
        series = tuple(Series(id=SeriesId(place), spec=one) for place, one in enumerate(SPECS))
        intake = Intake(
            now=now, history=second < 0, series=series if number == 0 else (), metrics=batch
        )
        for one in made.step(intake, number).events:
            if isinstance(one.event, IncidentChanged):
                incidents.add(one.event.incident.id)
            elif isinstance(one.event, NotificationQueued):
                told.append(one.event.notification)
    return incidents, told


@pytest.mark.parametrize(
    ("step", "size", "phase", "seed"),
    [(5, 3.0, 0, 0), (5, 10.0, 5, 1), (5, 30.0, 0, 2), (10, 10.0, 0, 3), (2, 10.0, 4, 4)],
)
def test_an_hour_of_flapping_is_one_incident_and_at_most_four_notifications(
    step: int, size: float, phase: int, seed: int
) -> None:
    incidents, told = flown(step, size, phase, seed)
    assert len(incidents) == 1
    assert 2 <= len(told) <= 4
    assert told[0].state is AlertState.FIRING
    assert [one.state for one in told].index(AlertState.RESOLVED) == len(told) - 1
