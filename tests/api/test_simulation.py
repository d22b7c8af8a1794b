"""The simulations among the sources: the truth, breaking, mending, and who may."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from fastapi.testclient import TestClient

from dos.api.app import create_app
from dos.app.simulators import MOST_SHOWN, PlayedSimulators
from dos.kit.secret import Secret
from dos.simulate.control import MOST_RUNNING
from dos.simulate.source import SimulatorSource
from tests.api.fake import FakeBackend, open_filled, simulated

PATH = "/api/v1/simulation"
SPIKE = {"type": "cpu_spike", "target": "order-service"}


@pytest.fixture
def source(backend: FakeBackend) -> SimulatorSource:
    """The one simulation, which the backend shows from now on."""
    sources = simulated("simulator")
    backend.simulators = PlayedSimulators(sources)
    return sources["simulator"]


def test_what_there_is_and_what_can_be_broken(client: TestClient, source: SimulatorSource) -> None:
    (one,) = client.get(PATH).json()["simulators"]
    assert (one["source"], one["world"], one["services"]) == ("simulator", "sketch", 4)
    assert (one["now"], one["live"]) == ("2026-11-23T12:00:00.000Z", True)
    kinds = {kind["type"]: kind for kind in one["kinds"]}
    assert len(kinds) == 24
    assert kinds["deploy_regression"]["cures"] == ["rollback"]
    assert kinds["batch_job"]["harmless"] is True
    assert kinds["zone_outage"]["targets"] == ["zone-a", "zone-b", "zone-c"]
    assert kinds["disk_full"]["target_count"] == 0
    assert one["faults"] == one["actions"] == []


def test_a_fault_is_injected_mended_and_judged(client: TestClient, source: SimulatorSource) -> None:
    asked = {"type": "deploy_regression", "target": "order-service", "severity": 0.95,
             "duration": "10m"}  # fmt: skip
    made = client.post(f"{PATH}/faults", json=asked)
    assert made.status_code == 201, made.text
    assert made.json()["label"] == "Deploy regression"
    (run,) = source.simulation.running
    assert (run.fault.duration, run.fault.ramp) == (600.0, 30.0)
    source.simulation.ticks(60)
    taken = client.post(f"{PATH}/actions", json={"kind": "rollback", "target": "order-service"})
    assert taken.status_code == 201
    assert taken.json()["cured"] == [made.json()["id"]]
    assert taken.json()["helped"] is None
    source.simulation.ticks(200)
    (one,) = client.get(PATH).json()["simulators"]
    (fault,), (action,) = one["faults"], one["actions"]
    assert fault["affected"][0] == "order-service"
    assert fault["mitigated_at"] == "2026-11-23T12:01:00.000Z"
    assert fault["end"] is not None
    assert action["helped"] is True
    assert action["suffered"] < action["suffered_without"]


def test_only_the_source_changes(client: TestClient, source: SimulatorSource) -> None:
    client.post(f"{PATH}/faults", json=SPIKE)
    changed = source.simulation.ticks(30)
    calm = simulated("simulator")["simulator"].simulation.ticks(30)
    assert changed.value.tobytes() != calm.value.tobytes()
    assert client.get("/api/v1/incidents").json()["items"][0]["id"] == "inc-2"  # as before


def test_clearing_names_what_ran(client: TestClient, source: SimulatorSource) -> None:
    for kind in ("cpu_spike", "error_rate"):
        client.post(f"{PATH}/faults", json={**SPIKE, "type": kind})
    source.simulation.ticks(5)
    cleared = client.request("DELETE", f"{PATH}/faults").json()["items"]
    assert [one["type"] for one in cleared] == ["cpu_spike", "error_rate"]
    source.simulation.ticks(30)
    assert source.simulation.running == ()
    assert client.request("DELETE", f"{PATH}/faults").json()["items"] == []


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("faults", {**SPIKE, "type": "flood"}, "no type of fault 'flood'. Give one of: cpu"),
        ("faults", {**SPIKE, "target": "moon"}, "World 'sketch' has no 'moon'. It can hit: api-"),
        ("faults", {**SPIKE, "type": "disk_full"}, "'order-service' cannot have the fault"),
        ("faults", {**SPIKE, "source": "other"}, "no simulation 'other'. Give one of: simulator"),
        ("faults", {**SPIKE, "severity": 0}, "body.severity: Input should be greater than 0"),
        ("faults", {**SPIKE, "duration": "long"}, "body.duration: 'long' is not a duration"),
        ("faults", {**SPIKE, "why": "x"}, "body.why: Extra inputs are not permitted"),
        ("actions", {"kind": "pray", "target": "x"}, "no kind of action 'pray'. Give one of: "),
        ("actions", {"kind": "scale", "target": "order-service"}, "`replicas` is for `scale`"),
        ("actions", {"kind": "drain", "target": "order-service"}, "no node 'order-service'"),
    ],
)  # fmt: skip
def test_the_reason_of_a_refusal(
    client: TestClient, source: SimulatorSource, path: str, body: dict[str, object], message: str
) -> None:
    answer = client.post(f"{PATH}/{path}", json=body)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert message in answer.json()["detail"]
    assert source.simulation.truths == ()
    assert source.simulation.actions == ()


def test_what_runs_at_once_is_bounded(client: TestClient, source: SimulatorSource) -> None:
    for _ in range(MOST_RUNNING):
        assert client.post(f"{PATH}/faults", json=SPIKE).status_code == 201
    refused = client.post(f"{PATH}/faults", json=SPIKE)
    assert refused.status_code == 422
    assert "clear them" in refused.json()["detail"]
    assert len(source.simulation.running) == MOST_RUNNING


def test_what_is_told_is_bounded(
    client: TestClient, source: SimulatorSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dos.app.simulators.MOST_SHOWN", 3)
    assert MOST_SHOWN > 3
    for target in ("api-gateway", "user-service", "order-service", "payment-service"):
        client.post(f"{PATH}/faults", json={**SPIKE, "target": target})
    (one,) = client.get(PATH).json()["simulators"]
    assert [fault["target"] for fault in one["faults"]] == [
        "payment-service", "order-service", "user-service",
    ]  # fmt: skip


def test_several_simulations_are_told_apart(client: TestClient, backend: FakeBackend) -> None:
    sources = simulated("east", "west")
    backend.simulators = PlayedSimulators(sources)
    unsaid = client.post(f"{PATH}/faults", json=SPIKE)
    assert unsaid.status_code == 422
    assert "Give `source`, one of: east, west" in unsaid.json()["detail"]
    assert client.post(f"{PATH}/faults", json={**SPIKE, "source": "west"}).status_code == 201
    assert len(sources["west"].simulation.running) == 1
    assert sources["east"].simulation.running == ()
    cleared = client.request("DELETE", f"{PATH}/faults", params={"source": "east"}).json()
    assert cleared["items"] == []
    assert len(client.request("DELETE", f"{PATH}/faults").json()["items"]) == 1


def test_the_healthy_past_stays_healthy(client: TestClient, source: SimulatorSource) -> None:
    source.simulation._now -= 60_000  # as while the back-fill is played
    answer = client.post(f"{PATH}/faults", json=SPIKE)
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"
    assert "healthy past" in answer.json()["detail"]
    assert client.get(PATH).json()["simulators"][0]["live"] is False


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "", None),
        ("POST", "/faults", SPIKE),
        ("POST", "/actions", {"kind": "restart", "target": "order-service"}),
        ("DELETE", "/faults", None),
    ],
)
def test_without_a_simulation_there_is_nothing_to_break(
    client: TestClient, backend: FakeBackend, method: str, path: str, body: object
) -> None:
    backend.simulators = None
    answer = client.request(method, f"{PATH}{path}", json=body)
    assert answer.status_code == 404
    assert answer.json()["type"] == "urn:dos:problem:no-simulator"
    assert "type: simulator" in answer.json()["detail"]


@contextmanager
def _from(caller: str) -> Iterator[TestClient]:
    with TestClient(
        create_app(open_filled), base_url="http://10.0.0.5:8000", client=(caller, 50_000)
    ) as made:
        yield made


def test_strangers_look_and_do_not_touch() -> None:
    with _from("10.0.0.9") as client:
        assert client.get(PATH).status_code == 200
        for method, path in (("POST", "/faults"), ("POST", "/actions"), ("DELETE", "/faults")):
            answer = client.request(method, f"{PATH}{path}", json=SPIKE)
            assert answer.status_code == 403, path
            assert answer.json()["type"] == "urn:dos:problem:anonymous-write"


def test_with_a_token_only_its_bearers_break_things(
    client: TestClient, backend: FakeBackend, source: SimulatorSource
) -> None:
    backend.write_token = Secret("s3cret")
    assert client.post(f"{PATH}/faults", json=SPIKE).status_code == 401
    assert source.simulation.truths == ()
    right = {"Authorization": "Bearer s3cret"}
    assert client.post(f"{PATH}/faults", json=SPIKE, headers=right).status_code == 201
