"""Silence is not health, and what users feel is worse than what they do not."""

from __future__ import annotations

import pytest

from dos.app import overview
from dos.app.pipeline import Pipeline
from dos.kit.clock import SECOND, Millis
from dos.model.ids import EntityId
from dos.model.overview import Health, ServiceStatus
from dos.model.telemetry import Role
from tests.unit.app import played


def at(seconds: float) -> Millis:
    return Millis(played.START + round(seconds * SECOND))


def until(seconds: float) -> Pipeline:
    one = played.pipeline()
    played.run(one, [e for e in played.intakes() if e.intake.now <= at(seconds)])
    return one


def shown(one: Pipeline, now: float) -> dict[EntityId, ServiceStatus]:
    return {s.entity.id: s for s in overview.services(one, at(now), played.STEP)}


def test_before_the_first_sample_nothing_is_known() -> None:
    assert overview.services(played.pipeline(), at(0), 5.0) == []


def test_a_healthy_shop() -> None:
    services = shown(until(20), 20)
    assert len(services) == 12 + 3  # on three machines
    assert list(services) == sorted(services)
    assert {one.health for one in services.values()} == {Health.OK}
    cart = services[EntityId("cart-service")]
    assert cart.last_sample_at == at(20)
    assert cart.incidents == ()
    assert "frontend" in cart.callers
    assert "redis-cache" in cart.callees
    roles = {reading.role for reading in cart.readings}
    assert {Role.LATENCY, Role.ERRORS, Role.TRAFFIC, Role.SATURATION} <= roles
    for reading in cart.readings:
        assert None not in {reading.expected, reading.lower, reading.upper, reading.score}
        assert (reading.lower or 0) <= (reading.expected or 0) <= (reading.upper or 0)
        assert not reading.abnormal


def test_while_payments_are_slow() -> None:
    one = until(60)
    services = shown(one, 60)
    (incident,) = one.parts.correlator.open
    payment = services[EntityId("payment-service")]
    assert payment.health is Health.CRITICAL
    assert payment.incidents == (incident.id,)
    slow = [r for r in payment.readings if r.abnormal and r.role is Role.LATENCY]
    assert slow
    assert all(reading.value > (reading.upper or 0) for reading in slow)
    assert all((reading.score or 0) > 0.5 for reading in slow)
    assert services[EntityId("catalog-db")].health is Health.OK


def test_after_recovery_it_is_a_warning_until_the_incident_is_over() -> None:
    one = until(125)
    assert one.parts.correlator.open
    assert not one.parts.correlator.active
    assert shown(one, 125)[EntityId("payment-service")].health is Health.WARNING
    assert shown(until(150), 150)[EntityId("payment-service")].health is Health.OK


@pytest.mark.parametrize(("silence", "health"), [(59, Health.OK), (61, Health.UNKNOWN)])
def test_silence_is_unknown(silence: float, health: Health) -> None:
    services = shown(until(20), 20 + silence)
    assert {one.health for one in services.values()} == {health}


def test_patience_grows_with_the_step() -> None:
    one = until(20)
    statuses = overview.services(one, at(20 + 200), 60.0)
    assert {status.health for status in statuses} == {Health.OK}


def test_an_entity_without_series_is_unknown() -> None:
    one = until(20)
    one.parts.topology.ensure([EntityId("rumour")], at(20))
    assert shown(one, 20)[EntityId("rumour")].health is Health.UNKNOWN
    assert shown(one, 20)[EntityId("rumour")].last_sample_at is None
