"""Feedback over HTTP: what is said is completed from the store and handed to the pipeline."""

from __future__ import annotations

import asyncio

import pytest
from fastapi.testclient import TestClient

from dos.model.events import FeedbackChanged
from dos.model.feedback import FeedbackKind
from tests.api.fake import CART, DB, FRONTEND, FakeBackend, at

PATH = "/api/v1/feedback"


def test_a_false_page_takes_time_entities_and_signals_from_its_incident(
    client: TestClient, backend: FakeBackend
) -> None:
    told = {"kind": "false", "author": "ann", "note": "a load test", "incident_id": "inc-2"}
    answer = client.post(PATH, json=told)
    assert answer.status_code == 202, answer.text
    (delivery,) = backend.offered
    (said,) = delivery.feedback
    assert (said.kind, said.author, said.given_at) == (FeedbackKind.FALSE, "ann", at(3))
    assert said.start == at(1.5)
    assert said.end == at(3)  # it is open: up to now
    incident = asyncio.run(backend.store.incident(said.incident_id)) if said.incident_id else None
    assert incident is not None
    assert said.entities == tuple(incident.entities)
    assert {(one.entity, one.metric) for one in said.signals} == {
        (CART, "latency_p95"),
        (DB, "latency_p95"),
    }
    assert all(
        one.strength == pytest.approx(5.06, abs=0.01) for one in said.signals
    )  # a score of .97
    assert answer.json()["id"] == said.id
    assert answer.json()["undone_at"] is None


def test_an_anomaly_alone_can_be_labelled(client: TestClient, backend: FakeBackend) -> None:
    told = {"kind": "confirmed", "author": "ann", "anomaly_id": "ano-0"}
    assert client.post(PATH, json=told).status_code == 202
    said = backend.offered[0].feedback[0]
    assert said.entities == (FRONTEND,)
    assert (said.start, said.end) == (at(-50.5), at(-41))
    assert len(said.signals) == 1


def test_a_dry_run_hands_nothing_over(client: TestClient, backend: FakeBackend) -> None:
    told = {"kind": "false", "author": "ann", "incident_id": "inc-2"}
    answer = client.post(f"{PATH}?dry_run=true", json=told)
    assert len(answer.json()["signals"]) == 2
    assert backend.offered == []


def test_planned_work_names_entities_and_time(client: TestClient, backend: FakeBackend) -> None:
    work = {
        "kind": "maintenance",
        "author": "ann",
        "entities": ["shop/*"],
        "start": "2026-11-23T22:00:00Z",
        "end": "2026-11-23T23:00:00Z",
    }
    assert client.post(PATH, json=work).status_code == 202
    said = backend.offered[0].feedback[0]
    assert said.entities == ("shop/*",)
    assert said.end - said.start == 3_600_000


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"incident_id": "inc-99"}, 404),
        ({"anomaly_id": "ano-99"}, 404),
        ({}, 422),
        ({"incident_id": "inc-2", "anomaly_id": "ano-0"}, 422),
        ({"kind": "missed", "incident_id": "inc-2"}, 422),
        ({"entities": ["db"], "start": "2026-11-23T12:00:00Z"}, 422),
        (
            {
                "entities": ["db"],
                "start": "2026-11-23T12:00:00Z",
                "end": "2026-11-23T11:00:00Z",
            },
            422,
        ),
        ({"kind": "perhaps", "incident_id": "inc-2"}, 422),
    ],
)
def test_what_makes_no_sense_is_refused(
    client: TestClient, backend: FakeBackend, change: dict[str, object], status: int
) -> None:
    answer = client.post(PATH, json={"kind": "false", "author": "ann", **change})
    assert answer.status_code == status, answer.text
    assert backend.offered == []


def test_what_was_said_is_listed_and_undone_once(client: TestClient, backend: FakeBackend) -> None:
    told = {"kind": "false", "author": "ann", "incident_id": "inc-2"}
    name = client.post(PATH, json=told).json()["id"]
    assert client.get(f"{PATH}/{name}").status_code == 404  # not decided on yet
    said = backend.offered[0].feedback[0]
    asyncio.run(backend.commit(4, FeedbackChanged(feedback=said)))
    assert [one["id"] for one in client.get(f"{PATH}?holds=true").json()["items"]] == [name]
    assert client.delete(f"{PATH}/{name}").status_code == 422  # by whom?
    answer = client.delete(f"{PATH}/{name}?author=bob&note=it%20was%20real")
    assert answer.status_code == 202, answer.text
    assert (answer.json()["undone_by"], answer.json()["undone_note"]) == ("bob", "it was real")
    undone = backend.offered[1].feedback[0]
    assert undone.undone_at == at(3)
    asyncio.run(backend.commit(5, FeedbackChanged(feedback=undone)))
    assert client.get(f"{PATH}?holds=true").json()["items"] == []
    assert client.get(f"{PATH}/{name}").json()["author"] == "ann"
    assert client.delete(f"{PATH}/{name}?author=bob").status_code == 409
    assert client.delete(f"{PATH}/fb-none?author=bob").status_code == 404


def test_a_full_queue_takes_nothing(client: TestClient, backend: FakeBackend) -> None:
    backend.room = 0
    told = {"kind": "false", "author": "ann", "incident_id": "inc-2"}
    answer = client.post(PATH, json=told)
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"


def test_feedback_is_part_of_the_timeline_of_its_incident(
    client: TestClient, backend: FakeBackend
) -> None:
    client.post(PATH, json={"kind": "confirmed", "author": "ann", "incident_id": "inc-2"})
    said = backend.offered[0].feedback[0]
    asyncio.run(backend.commit(4, FeedbackChanged(feedback=said)))
    items = client.get("/api/v1/incidents/inc-2/events").json()["items"]
    assert items[-1]["type"] == "feedback_changed"
    assert items[-1]["feedback"]["author"] == "ann"


def test_models_and_drift_are_shown(client: TestClient) -> None:
    models = client.get("/api/v1/models").json()
    assert models["live"] is None
    assert models["shadow"]["pages"][0]["by_shadow"] is True
    assert [one["action"] for one in models["log"]] == ["shadowed"]
    (group,) = client.get("/api/v1/drift").json()["items"]
    assert (group["group"], group["fit"], group["bias"]) == ("shop/latency", "gone", None)
    assert group["hint"]
