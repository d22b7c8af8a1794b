"""What each route answers about the shop in trouble."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from fastapi.testclient import TestClient

from dos.api.backend import Component, Readiness
from dos.ingest.base import SourceHealth
from dos.model import events
from dos.model.incident import IncidentState
from dos.model.overview import Health
from tests.api.fake import BROKEN, CART, DB, FRONTEND, PROMETHEUS, FakeBackend, at, incident

V1 = "/api/v1"


def ids(client: TestClient, path: str) -> list[str]:
    """The ids of what a list holds."""
    answer = client.get(V1 + path)
    assert answer.status_code == 200, answer.text
    return [item["id"] for item in answer.json()["items"]]


def test_alive(client: TestClient) -> None:
    assert client.get("/healthz").json() == {"status": "alive"}


def test_ready(client: TestClient) -> None:
    answer = client.get("/readyz")
    assert answer.status_code == 200
    assert answer.json()["status"] == "ready"
    assert answer.json()["sources"][0]["sample_age_seconds"] == 15.0


def test_a_failing_source_degrades_and_says_why(client: TestClient, backend: FakeBackend) -> None:
    backend.source_list = [PROMETHEUS, BROKEN]
    answer = client.get("/readyz")
    assert answer.status_code == 200
    assert answer.json()["status"] == "degraded"
    broken = answer.json()["sources"][1]
    assert broken["error"] == "http://prom:9090 refused the connection."
    assert broken["retry_at"] == "2026-11-23T12:03:30.000Z"
    assert broken["circuit"] == "open"
    assert broken["sample_age_seconds"] is None


def test_a_source_that_fails_in_part_degrades(client: TestClient, backend: FakeBackend) -> None:
    backend.source_list = [replace(PROMETHEUS, problems=("Query p95 has a syntax error.",))]
    answer = client.get("/readyz").json()
    assert answer["status"] == "degraded"
    assert answer["sources"][0]["problems"] == ["Query p95 has a syntax error."]


def test_a_dead_pipeline_is_not_ready(client: TestClient, backend: FakeBackend) -> None:
    part = Component(name="pipeline", ok=False, detail="The disk is full: free some.")
    backend.readiness = Readiness(ok=False, components=(part,))
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "5"
    assert answer.json()["components"][0]["detail"] == "The disk is full: free some."


def test_metrics(client: TestClient) -> None:
    answer = client.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.text.endswith("dos_steps_total 42\n")


def test_health_sums_up(client: TestClient) -> None:
    answer = client.get("/health").json()
    assert answer["verdict"] == "critical"
    assert answer["services"] == {"ok": 1, "warning": 0, "critical": 2, "unknown": 0, "idle": 0}
    assert answer["open_incidents"] == 1
    assert answer["incidents"][0]["probable_cause"]["entity"] == "cart-db"
    assert answer["last_sample_at"] == "2026-11-23T12:03:00.000Z"
    assert answer["last_event_seq"] == 15
    assert answer["uptime_seconds"] == 123 * 60


@pytest.mark.parametrize(
    ("healths", "verdict"),
    [
        ([], "unknown"),
        ([Health.UNKNOWN, Health.UNKNOWN], "unknown"),
        ([Health.IDLE, Health.UNKNOWN], "idle"),
        ([Health.OK, Health.IDLE], "ok"),
        ([Health.OK, Health.WARNING], "warning"),
        ([Health.OK, Health.CRITICAL], "critical"),
    ],
)
def test_verdict_is_the_worst_known(
    client: TestClient, backend: FakeBackend, healths: list[Health], verdict: str
) -> None:
    done = incident(2, 2, state=IncidentState.RESOLVED, resolved_at=at(3))
    assert client.portal is not None
    client.portal.call(backend.commit, 3, events.IncidentChanged(incident=done))
    backend.statuses = [replace(backend.statuses[0], health=health) for health in healths]
    assert client.get("/health").json()["verdict"] == verdict


def test_services_and_filters(client: TestClient) -> None:
    assert ids(client, "/services") == [DB, CART, FRONTEND]
    assert ids(client, "/services?health=ok&health=warning") == [FRONTEND]
    assert ids(client, "/services?search=CART") == [DB, CART]
    cart = client.get(V1 + "/services").json()["items"][1]
    assert (cart["series"], cart["abnormal"]) == (3, 1)
    assert cart["signals"]["latency"]["abnormal"] is True
    assert cart["signals"]["errors"]["labels"] == {"code": "500"}
    assert cart["signals"]["traffic"]["upper"] is None  # NaN has no place in JSON


@pytest.mark.parametrize("path", ["shop/cart", "shop%2Fcart"])
def test_an_id_with_a_slash(client: TestClient, path: str) -> None:
    answer = client.get(f"{V1}/services/{path}").json()
    assert answer["entity"]["id"] == CART
    assert answer["entity"]["attributes"] == {"service.version": "1.4.2"}
    assert answer["callers"] == [FRONTEND]
    assert answer["callees"] == [DB]
    metrics = [row["metric"] for row in client.get(f"{V1}/services/{path}/series").json()["items"]]
    assert metrics == ["requests", "latency_p95", "error_ratio"]


def test_the_graph_now_and_then(client: TestClient) -> None:
    now = client.get(V1 + "/graph").json()
    assert now["entry_points"] == [FRONTEND]
    assert {(e["caller"], e["callee"]) for e in now["edges"]} == {(FRONTEND, CART), (CART, DB)}
    then = client.get(V1 + "/graph", params={"at": "2026-11-23T11:30:00+00:00"}).json()
    assert len(then["entities"]) == 3
    before = client.get(V1 + "/graph", params={"at": "2026-11-23T10:00:00Z"}).json()
    assert before["entities"] == []


def test_series_filters(client: TestClient) -> None:
    def found(query: str) -> list[int]:
        return [row["id"] for row in client.get(f"{V1}/series?{query}").json()["items"]]

    assert found("entity=cart-db") == [6, 7, 8]
    assert found("metric=latency_p95") == [1, 4, 7]
    assert found("role=latency&role=errors&entity=shop/cart") == [4, 5]
    assert found("entity=nobody") == []


def test_samples_by_default_are_the_last_hour(client: TestClient) -> None:
    answer = client.get(V1 + "/series/1/samples").json()
    assert answer["start"] == "2026-11-23T11:03:00.000Z"
    assert answer["end"] == "2026-11-23T12:03:00.000Z"
    assert answer["step_seconds"] == 15
    assert len(answer["times"]) == len(answer["values"]) == 241
    gap = answer["times"].index("2026-11-23T12:00:00.000Z")
    assert answer["values"][gap : gap + 5][:4] == [None] * 4
    assert answer["values"][gap + 4] is not None


def test_samples_in_steps_keep_the_extremes(client: TestClient) -> None:
    fine = client.get(V1 + "/series/1/samples").json()
    coarse = client.get(V1 + "/series/1/samples", params={"step": "10m"}).json()
    assert coarse["step_seconds"] == 600
    assert max(filter(None, coarse["high"])) == max(filter(None, fine["high"]))
    assert min(filter(None, coarse["low"])) == min(filter(None, fine["low"]))


def test_samples_of_the_future_are_none(client: TestClient) -> None:
    answer = client.get(V1 + "/series/1/samples", params={"start": "2030-01-01T00:00:00Z"})
    assert answer.json()["times"] == []


def test_anomalies_and_filters(client: TestClient) -> None:
    assert ids(client, "/anomalies") == ["ano-1", "ano-2", "ano-0"]
    assert ids(client, "/anomalies?active=true") == ["ano-1", "ano-2"]
    assert ids(client, "/anomalies?active=false") == ["ano-0"]
    assert ids(client, "/anomalies?entity=cart-db") == ["ano-2"]
    assert ids(client, "/anomalies?until=2026-11-23T11:30:00Z") == ["ano-0"]
    first = client.get(V1 + "/anomalies?limit=1").json()
    assert first["truncated"] is True
    endless = client.get(V1 + "/anomalies?entity=cart-db").json()["items"][0]
    assert endless["deviation"] is None  # infinite


def test_incidents_and_filters(client: TestClient) -> None:
    assert ids(client, "/incidents") == ["inc-2", "inc-1"]
    assert ids(client, "/incidents?state=open") == ["inc-2"]
    assert ids(client, "/incidents?entity=shop/frontend") == ["inc-1"]
    assert ids(client, "/incidents?since=2026-11-23T11:30:00Z") == ["inc-2"]
    assert ids(client, "/incidents?until=2026-11-23T11:30:00Z") == ["inc-1"]


def test_an_incident_in_full(client: TestClient) -> None:
    answer = client.get(V1 + "/incidents/inc-2").json()
    top = answer["root_cause"]["ranked"][0]
    assert (top["entity"], top["probability"]) == ("cart-db", 0.7)
    assert top["evidence"][0]["text"] == "cart-db became slow 30 s before cart."
    assert top["evidence"][0]["start"] == "2026-11-23T12:00:00.000Z"
    assert answer["root_cause"]["unknown"] == 0.2
    assert answer["impact"]["severity"] == "sev2"
    assert answer["impact"]["entry_points"] == [FRONTEND]


def test_an_incident_without_cause_yet(client: TestClient, backend: FakeBackend) -> None:
    bare = incident(3, 3, root_cause=None, impact=None)
    assert client.portal is not None
    client.portal.call(backend.commit, 3, events.IncidentChanged(incident=bare))
    summary = client.get(V1 + "/incidents").json()["items"][0]
    assert summary["probable_cause"] is None
    assert summary["severity"] is None
    assert client.get(V1 + "/incidents/inc-3").json()["impact"] is None


def test_the_timeline_of_an_incident(client: TestClient) -> None:
    def timeline(query: str = "") -> tuple[list[int], bool]:
        answer = client.get(f"{V1}/incidents/inc-1/events{query}").json()
        return [event["seq"] for event in answer["items"]], answer["truncated"]

    assert timeline() == ([2, 3, 4, 5, 6, 7, 8, 9], False)
    assert timeline("?limit=3") == ([2, 3, 4], True)
    assert timeline("?after=4") == ([5, 6, 7, 8, 9], False)
    events_of_two = client.get(V1 + "/incidents/inc-2/events").json()["items"]
    assert [event["type"] for event in events_of_two] == [
        "anomaly_started",
        "anomaly_started",
        "incident_changed",
        "alert_changed",
        "notification_queued",
    ]


def test_alerts_and_filters(client: TestClient) -> None:
    assert ids(client, "/alerts") == ["alr-2", "alr-1"]
    assert ids(client, "/alerts?state=firing") == ["alr-2"]
    assert ids(client, "/alerts?incident=inc-1") == ["alr-1"]


def test_an_alert_with_its_ledger(client: TestClient, backend: FakeBackend) -> None:
    assert client.portal is not None
    client.portal.call(backend.store.sent, "ntf-1", at(-49))
    client.portal.call(backend.store.give_up, "ntf-2", at(-39), "404 from the webhook.")
    answer = client.get(V1 + "/alerts/alr-1").json()
    assert answer["labels"] == {"alertname": "DosIncident", "service": "cart-db"}
    fired, resolved = answer["notifications"]
    assert (fired["state"], fired["sent_at"]) == ("sent", "2026-11-23T11:11:00.000Z")
    assert (resolved["state"], resolved["last_error"]) == ("given_up", "404 from the webhook.")
    assert client.get(V1 + "/alerts/alr-2").json()["notifications"][0]["state"] == "pending"


def test_changes_and_filters(client: TestClient) -> None:
    assert ids(client, "/changes") == ["chg-1"]
    assert ids(client, "/changes?entity=shop/cart") == []
    assert ids(client, "/changes?since=2026-11-23T12:01:00Z") == []


def test_sources(client: TestClient, backend: FakeBackend) -> None:
    backend.source_list = [PROMETHEUS, replace(BROKEN, health=SourceHealth.FAILED)]
    healths = [one["health"] for one in client.get(V1 + "/sources").json()["items"]]
    assert healths == ["ok", "failed"]


@pytest.mark.parametrize(
    "path",
    [
        "/services/nobody",
        "/services/nobody/series",
        "/series/99/samples",
        "/series/-1/samples",
        "/incidents/inc-9",
        "/incidents/inc-9/events",
        "/alerts/alr-9",
    ],
)
def test_what_is_not_there(client: TestClient, path: str) -> None:
    answer = client.get(V1 + path)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert re.match(r"There is no (service|series|incident|alert) ", answer.json()["detail"])
