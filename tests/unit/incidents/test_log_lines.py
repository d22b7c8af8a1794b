"""What is found in log lines corroborates an incident, opens none, and keeps none open."""

from __future__ import annotations

from dataclasses import replace

from dos.incidents.correlate import IncidentsConfig
from dos.model.anomaly import LOGS, Anomaly
from dos.model.incident import IncidentReason
from dos.model.logs import LogSignal
from dos.model.telemetry import Role
from tests.unit.incidents.timeline import Timeline, anomaly, at, graph_of

CHAIN = graph_of("gateway > cart > db")


def lines(entity: str, seconds: float, signal: LogSignal = LogSignal.NEW) -> Anomaly:
    found = anomaly(entity, seconds, Role.OTHER, metric=signal.value, strength=9.0)
    return replace(found, detector=LOGS, detail="6 times in 10 s, never before: disk full")


def test_lines_alone_are_no_incident_however_many_write_them() -> None:
    timeline = Timeline(CHAIN)
    timeline.begin(*(lines(name, 0, one) for name in ("cart", "db") for one in LogSignal))
    assert timeline.ticks(range(1, 600, 5)) == []


def test_lines_corroborate_what_users_feel() -> None:
    felt = anomaly("cart", 0, Role.ERRORS)
    assert Timeline(CHAIN).begin(felt).tick(1) == []
    (opened,) = Timeline(CHAIN).begin(felt, lines("cart", 0)).tick(1)
    assert opened.entities == ("cart",)
    assert len(opened.anomalies) == 2


def test_lines_that_go_on_keep_no_incident_open() -> None:
    timeline = Timeline(CHAIN)
    timeline.begin(anomaly("cart", 0, Role.ERRORS), lines("cart", 0)).tick(1)
    timeline.end(20, ("cart", Role.ERRORS))
    wait = IncidentsConfig().resolve_after
    (over,) = timeline.ticks(range(20, 20 + round(wait) + 5, 5))
    assert over.reason is IncidentReason.RECOVERED
    assert over.resolved_at == at(20 + wait)
    assert timeline.ticks(range(60, 300, 5)) == [], "and open no new one"
