"""Requests to break and to mend, and what bounds them; over HTTP at the exporter."""

from __future__ import annotations

import pytest
from pydantic import ValidationError
from starlette.testclient import TestClient

from dos.kit.clock import ManualClock
from dos.kit.errors import ConfigError
from dos.model.ids import EntityId
from dos.simulate.actions import Action, ActionKind
from dos.simulate.control import (
    MOST_RUNNING,
    MOST_WATCHED,
    ActionRequest,
    FaultRequest,
    act,
    inject,
)
from dos.simulate.engine import WATCHED_SECONDS, Simulation
from dos.simulate.exporter import Exporter
from dos.simulate.faults import Fault, FaultType
from dos.simulate.worlds import sketch
from tests.unit.simulate.runs import MONDAY_NOON

ORDER = EntityId("order-service")


@pytest.fixture
def simulation() -> Simulation:
    return Simulation(sketch(), step_seconds=1.0, start=MONDAY_NOON)


def test_a_request_takes_what_is_usual_for_its_type() -> None:
    asked = {"type": "disk_full", "target": "shop-db", "duration": "2m"}
    fault = FaultRequest.model_validate(asked).build()
    assert (fault.duration, fault.severity, fault.ramp, fault.recovery) == (120.0, 0.7, 10.0, 20.0)
    named = {"type": "dns_failure", "service": "shop-db", "ramp": 3}
    assert FaultRequest.model_validate(named).build().ramp == 3.0
    with pytest.raises(ValidationError, match="service"):
        FaultRequest.model_validate({**asked, "service": "shop-db"})


def test_faults_at_once_are_bounded(simulation: Simulation) -> None:
    fault = Fault(type=FaultType.CPU_SPIKE, target=ORDER)
    for _ in range(MOST_RUNNING):
        inject(simulation, fault)
    with pytest.raises(ConfigError, match=r"run already.*clear them"):
        inject(simulation, fault)
    assert len(simulation.truths) == MOST_RUNNING


def test_actions_at_once_are_bounded(simulation: Simulation) -> None:
    action = Action(kind=ActionKind.SCALE, target=ORDER, replicas=3)
    for _ in range(MOST_WATCHED):
        act(simulation, action)
    with pytest.raises(ConfigError, match="Wait to see"):
        act(simulation, action)
    simulation.ticks(round(WATCHED_SECONDS))
    assert act(simulation, action).kind is ActionKind.SCALE


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"kind": "scale", "target": "order-service"}, "`replicas` is for `scale`, and needed"),
        ({"kind": "restart", "target": "order-service", "replicas": 2}, "`replicas` is for"),
        ({"kind": "drain", "target": "order-service"}, "has no node 'order-service' to drain"),
        ({"kind": "restart", "target": "nobody"}, "no service 'nobody'"),
    ],
)
def test_senseless_actions_are_refused(
    simulation: Simulation, asked: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        act(simulation, ActionRequest.model_validate(asked).build())
    assert simulation.actions == ()


@pytest.fixture
def client(simulation: Simulation) -> TestClient:
    return TestClient(Exporter(simulation, ManualClock(MONDAY_NOON)).app)


def test_an_exporter_is_broken_and_mended(simulation: Simulation, client: TestClient) -> None:
    asked = {"type": "deploy_regression", "target": "order-service", "severity": 0.95}
    made = client.post("/faults", json=asked)
    assert made.status_code == 201
    assert (made.json()["target"], made.json()["harmless"]) == ("order-service", False)
    simulation.ticks(60)
    taken = client.post("/actions", json={"kind": "rollback", "target": "order-service"})
    assert taken.status_code == 201
    assert taken.json()["cured"] == [made.json()["id"]]
    simulation.ticks(200)
    (fault,) = client.get("/faults").json()["faults"]
    assert fault["mitigated_at"] == "2026-11-23T12:01:00.000Z"
    assert fault["affected"][0] == "order-service"
    (action,) = client.get("/actions").json()["actions"]
    assert action["helped"] is True
    assert action["suffered"] < action["suffered_without"]


@pytest.mark.parametrize(
    ("body", "status", "detail"),
    [
        (b'{"kind": "pray", "target": "order-service"}', 422, "kind: Input should be 'scale'"),
        (b'{"kind": "drain", "target": "order-service"}', 422, "no node 'order-service'"),
        (b"{", 422, "body: Invalid JSON"),
    ],
)
def test_wrong_actions_get_the_reason(
    client: TestClient, body: bytes, status: int, detail: str
) -> None:
    answer = client.post("/actions", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == status
    assert detail in answer.json()["detail"]


def test_actions_are_guarded_as_faults_are(simulation: Simulation) -> None:
    shut = Exporter(simulation, ManualClock(MONDAY_NOON), control="nobody")
    answer = TestClient(shut.app).post("/actions", json={"kind": "restart", "target": ORDER})
    assert answer.status_code == 403
    assert simulation.actions == ()
