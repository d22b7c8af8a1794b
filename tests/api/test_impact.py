"""The impact of an incident on the wire: all that is known, and what older stores hold."""

from __future__ import annotations

from fastapi.testclient import TestClient

from dos.impact.analyzer import ImpactAnalyzer
from dos.impact.base import ImpactConfig
from dos.model import events
from dos.model.entity import Entity
from dos.model.graph import Edge, GraphSnapshot
from dos.model.ids import EntityId
from tests.api.fake import FakeBackend, incident
from tests.unit.impact.builders import ERRORS, P50, P95, RATE, after, telemetry

PATH = "/api/v1/incidents"


def test_everything_that_is_known_is_answered(client: TestClient, backend: FakeBackend) -> None:
    web, db = EntityId("web"), EntityId("db")
    graph = GraphSnapshot(
        entities=(Entity(id=db), Entity(id=web)), edges=(Edge(caller=web, callee=db),)
    )
    config = ImpactConfig.model_validate(
        {"slos": [{"entity": web, "objective": 0.999}], "default_revenue_per_request": 2}
    )
    known = telemetry({RATE: 100.0, ERRORS: after(0.0, 0.2), P50: 0.1, P95: 0.3})
    impact = ImpactAnalyzer(config).assess([db], db, graph, telemetry=known)
    client.get("/healthz")
    assert client.portal is not None
    changed = events.IncidentChanged(incident=incident(3, 3, impact=impact))
    client.portal.call(backend.commit, 3, changed)
    answer = client.get(f"{PATH}/inc-3").json()["impact"]
    assert impact.failed is not None
    assert answer["failed"] == {
        "value": impact.failed.value,
        "low": impact.failed.low,
        "high": impact.failed.high,
    }
    assert answer["revenue"]["value"] == 2 * impact.failed.value
    assert answer["users"] is None
    assert [(one["entity"], one["counted"]) for one in answer["entries"]] == [("web", True)]
    assert [one["standing"] for one in answer["affected"]] == ["abnormal", "at_risk"]
    assert answer["affected"][1]["through"] == "db"
    (slo,) = answer["slos"]
    assert slo["burns"][0]["is_burning"] is True
    assert slo["burned"] == impact.slos[0].burned
    assert answer["reasons"] == list(impact.reasons)


def test_an_impact_of_an_earlier_version_has_nothing_more(client: TestClient) -> None:
    answer = client.get(f"{PATH}/inc-2").json()["impact"]
    assert answer["severity"] == "sev2"
    assert (answer["failed"], answer["predicted"]) == (None, None)
    assert (answer["entries"], answer["slos"], answer["unknown"]) == ([], [], [])
    assert answer["affected"][0]["standing"] is None
