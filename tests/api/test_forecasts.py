"""What runs out, over HTTP."""

from __future__ import annotations

from dataclasses import replace

from fastapi.testclient import TestClient

from dos.model import events
from dos.model.incident import IncidentState
from tests.api.fake import CART, DB, FORECASTS, FakeBackend, at, incident

PATH = "/api/v1/forecasts"


def ids(client: TestClient, query: str = "") -> list[str]:
    """The ids of what is listed."""
    answer = client.get(PATH + query)
    assert answer.status_code == 200, answer.text
    return [item["id"] for item in answer.json()["items"]]


def test_all_that_grows_is_listed_soonest_first(client: TestClient) -> None:
    answer = client.get(PATH).json()
    assert [item["id"] for item in answer["items"]] == ["fct-0", "fct-1"]
    assert not answer["truncated"]
    first, second = answer["items"]
    assert first["entity"] == DB
    assert (first["kind"], first["state"], first["reason"]) == ("disk", "critical", "runs_out")
    assert first["exhausted_at"] == "2026-11-23T14:53:00.000Z"
    assert first["earliest"] < first["exhausted_at"] < first["latest"]
    assert first["labels"] == {"volume": "data"}
    assert second["latest"] is None
    assert second["alarmed_at"] is None


def test_filters(client: TestClient) -> None:
    assert ids(client, f"?entity={CART}") == ["fct-1"]
    assert ids(client, "?alarms=true") == ["fct-0"]
    assert ids(client, "?kind=memory") == []
    limited = client.get(PATH + "?limit=1").json()
    assert (len(limited["items"]), limited["truncated"]) == (1, True)
    assert client.get(PATH + "?kind=luck").status_code == 422


async def test_an_open_incident_shows_what_runs_out_in_it(
    client: TestClient, backend: FakeBackend
) -> None:
    await backend.commit(3, events.IncidentChanged(incident=incident(9, 2)))
    shown = client.get("/api/v1/incidents/inc-9").json()
    known = set(shown["entities"])
    assert [one["id"] for one in shown["forecasts"]] == [
        one.id for one in FORECASTS if one.entity in known
    ]
    assert shown["forecasts"]
    over = replace(incident(9, 2), state=IncidentState.RESOLVED, resolved_at=at(3))
    await backend.commit(3.5, events.IncidentChanged(incident=over))
    assert client.get("/api/v1/incidents/inc-9").json()["forecasts"] == []


async def test_an_alarm_is_an_event_and_part_of_the_incident_s_story(
    client: TestClient, backend: FakeBackend
) -> None:
    await backend.commit(2, events.IncidentChanged(incident=incident(9, 2)))
    await backend.commit(2.5, events.ForecastChanged(forecast=FORECASTS[0]))
    story = client.get("/api/v1/incidents/inc-9/events").json()["items"]
    (told,) = [one for one in story if one["type"] == "forecast_changed"]
    assert told["forecast"]["id"] == "fct-0"
    assert told["forecast"]["state"] == "critical"
