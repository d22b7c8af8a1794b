"""Alertmanager's API version 2: what its clients post and read, and how they are refused."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

from dos.kit.clock import DAY, Millis, to_rfc3339
from dos.model.alert import Phase
from tests.api.fake import FakeBackend, at

V2 = "/api/v2"


def silence(**also: object) -> dict[str, object]:
    return {
        "matchers": [{"name": "service", "value": "db", "isRegex": False, "isEqual": True}],
        "startsAt": to_rfc3339(at(3)),
        "endsAt": to_rfc3339(at(60)),
        "createdBy": "ann",
        "comment": "new disks",
        **also,
    }


def alert(name: str = "DiskFull", **labels: str) -> dict[str, Any]:
    return {"labels": {"alertname": name, **labels}}


def test_an_alert_begins_is_shown_and_ends(client: TestClient, backend: FakeBackend) -> None:
    posted = alert(service="db", empty="")
    posted |= {"annotations": {"summary": "94 %"}, "generatorURL": "http://prom/graph"}
    assert client.post(f"{V2}/alerts", json=[posted]).status_code == 200
    (shown,) = client.get(f"{V2}/alerts").json()
    assert shown["labels"] == {"alertname": "DiskFull", "service": "db"}
    assert shown["annotations"] == {"summary": "94 %"}
    assert shown["generatorURL"] == "http://prom/graph"
    assert shown["startsAt"] == to_rfc3339(backend.clock.now())
    assert shown["status"] == {"state": "active", "silencedBy": [], "inhibitedBy": []}
    assert [one["name"] for one in shown["receivers"]] == ["pager", "chat"]
    ended = posted | {"endsAt": to_rfc3339(backend.clock.now())}
    stranger = alert(service="never-seen") | {"endsAt": to_rfc3339(backend.clock.now())}
    assert client.post(f"{V2}/alerts", json=[ended, stranger]).status_code == 200
    assert client.get(f"{V2}/alerts").json() == []
    assert client.get(f"{V2}/alerts/groups").json() == []


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", {"DiskFull", "Slow"}),
        ("?filter=service=db", {"DiskFull"}),
        ("?filter=service=~d.&filter=alertname!=DiskFull", set()),
        ("?filter=severity=", {"DiskFull", "Slow"}),
        ("?receiver=pag.*", {"DiskFull", "Slow"}),
        ("?receiver=page", set()),
        ("?silenced=false", {"Slow"}),
        ("?active=false", {"DiskFull"}),
    ],
)
def test_alerts_are_chosen(client: TestClient, query: str, names: set[str]) -> None:
    client.post(f"{V2}/alerts", json=[alert(service="db"), alert("Slow", service="web")])
    client.post(f"{V2}/silences", json=silence())
    found = client.get(f"{V2}/alerts{query}").json()
    assert {one["labels"]["alertname"] for one in found} == names
    by_group = client.get(f"{V2}/alerts/groups{query}").json()
    assert {one["labels"]["alertname"] for one in by_group} == names


def test_a_wrong_alert_is_refused_and_the_others_are_taken(client: TestClient) -> None:
    wrong = [
        {"labels": {}},
        {"labels": {"1": "x"}},
        alert() | {"startsAt": "yesterday"},
        alert() | {"startsAt": to_rfc3339(at(5)), "endsAt": to_rfc3339(at(4))},
    ]
    answer = client.post(f"{V2}/alerts", json=[*wrong, alert("Right")])
    assert answer.status_code == 400
    said = answer.json()
    assert "alert 0: an alert needs at least one label" in said
    assert "alert 1: labels: '1' is not the name of a label" in said
    assert "alert 2: " in said
    assert "alert 3: endsAt lies before startsAt" in said
    (shown,) = client.get(f"{V2}/alerts").json()
    assert shown["labels"] == {"alertname": "Right"}


def test_a_silence_is_made_changed_and_ended(client: TestClient) -> None:
    made = client.post(f"{V2}/silences", json=silence()).json()["silenceID"]
    shown = client.get(f"{V2}/silence/{made}").json()
    assert shown["status"] == {"state": "active"}
    assert shown["matchers"] == silence()["matchers"]
    changed = silence(id=made, endsAt=to_rfc3339(at(90)))
    assert client.post(f"{V2}/silences", json=changed).json()["silenceID"] == made
    wider = [{"name": "service", "value": "d.*", "isRegex": True}]
    other = client.post(f"{V2}/silences", json=silence(id=made, matchers=wider)).json()
    assert other["silenceID"] != made
    states = {one["id"]: one["status"]["state"] for one in client.get(f"{V2}/silences").json()}
    assert states == {made: "expired", other["silenceID"]: "active"}
    assert client.get(f"{V2}/silences?filter=service=db").json()[0]["id"] == made
    assert client.delete(f"{V2}/silence/{other['silenceID']}").status_code == 200
    again = client.delete(f"{V2}/silence/{other['silenceID']}")
    assert (again.status_code, "over already" in again.json()) == (400, True)


@pytest.mark.parametrize(
    ("also", "code", "said"),
    [
        ({"endsAt": to_rfc3339(at(1))}, 400, "end"),
        ({"matchers": [{"name": "a", "value": "(", "isRegex": True}]}, 400, "regular expression"),
        ({"matchers": [{"name": "a", "value": ".*", "isRegex": True}]}, 400, "not empty"),
        ({"matchers": []}, 400, "matchers"),
        ({"startsAt": "soon"}, 400, "soon"),
        ({"id": "unknown"}, 404, "no silence unknown"),
    ],
)
def test_a_wrong_silence_is_refused_in_words(
    client: TestClient, also: dict[str, object], code: int, said: str
) -> None:
    answer = client.post(f"{V2}/silences", json=silence(**also))
    assert answer.status_code == code
    assert said in answer.json()
    assert client.get(f"{V2}/silences").json() == []


def test_there_may_be_no_room(client: TestClient, backend: FakeBackend) -> None:
    made = client.post(f"{V2}/silences", json=silence()).json()["silenceID"]
    backend.room = 0
    for answer in (
        client.post(f"{V2}/alerts", json=[alert()]),
        client.post(f"{V2}/silences", json=silence()),
        client.delete(f"{V2}/silence/{made}"),
    ):
        assert answer.status_code == 503
        assert answer.headers["Retry-After"] == "5"


def test_unknown_silences_and_malformed_filters(client: TestClient) -> None:
    assert client.get(f"{V2}/silence/no").status_code == 404
    assert client.delete(f"{V2}/silence/no").status_code == 404
    for path in ("alerts", "alerts/groups", "silences"):
        answer = client.get(f"{V2}/{path}?filter=service")
        assert answer.status_code == 400
        assert "has to follow" in answer.json()
    assert client.get(f"{V2}/alerts?receiver=(").status_code == 400


def test_somebody_is_on_an_alert(client: TestClient, backend: FakeBackend) -> None:
    client.post(f"{V2}/alerts", json=[alert()])
    (firing,) = backend.posted.firing
    path = f"/api/v1/alerts/{firing.id}/acknowledge"
    answer = client.post(path, json={"author": "ann", "note": "on it"})
    assert answer.status_code == 202
    assert answer.json() == {
        "by": "ann",
        "at": to_rfc3339(backend.clock.now()),
        "note": "on it",
        "phase": "acknowledged",
    }
    (said,) = backend.offered[-1].acknowledgements
    assert (said.alert, said.by) == (firing.id, "ann")
    assert client.post(path, json={"author": ""}).status_code == 422
    assert client.post(path, json={"author": "ann", "phase": "asleep"}).status_code == 422
    later = client.post(path, json={"author": "ann", "phase": "mitigating"})
    assert later.json()["phase"] == "mitigating"
    assert backend.offered[-1].acknowledgements[0].phase is Phase.MITIGATING
    backend.room = 0
    assert client.post(path, json={"author": "bob"}).status_code == 503
    assert client.post("/api/v1/alerts/no/acknowledge", json={"author": "a"}).status_code == 404
    over = client.post("/api/v1/alerts/alr-1/acknowledge", json={"author": "a"})
    assert (over.status_code, over.json()["type"]) == (409, "urn:dos:problem:already-over")


def test_the_status_shows_the_routes(client: TestClient) -> None:
    status = client.get(f"{V2}/status").json()
    assert status["cluster"]["status"] == "disabled"
    assert "receiver: pager" in status["config"]["original"]
    assert [one["name"] for one in client.get(f"{V2}/receivers").json()] == ["chat", "pager"]


@pytest.mark.parametrize("body", [b"{", b"[1]", b"{}", b"\xff"])
def test_what_is_no_list_of_alerts_is_refused_in_words(client: TestClient, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    answer = client.post(f"{V2}/alerts", content=body, headers=headers)
    assert answer.status_code == 400
    assert "body" in answer.json()


def test_a_webhook_of_alertmanager_begins_and_ends_alerts(
    client: TestClient, backend: FakeBackend
) -> None:
    now = backend.clock.now()
    firing = {
        **alert(service="db"),
        "status": "firing",
        "startsAt": to_rfc3339(now),
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prom/graph",
        "fingerprint": "c0ffee",
    }
    message = {"version": "4", "status": "firing", "groupKey": "{}:{}", "alerts": [firing]}
    path = "/api/v1/webhooks/alertmanager"
    assert client.post(path, json=message).json() == {"alerts": 1}
    (shown,) = client.get(f"{V2}/alerts").json()
    # Told again after hours only, it is not over after `resolve_timeout`.
    assert shown["endsAt"] == to_rfc3339(Millis(now + DAY))
    assert shown["generatorURL"] == "http://prom/graph"
    over = firing | {"status": "resolved", "endsAt": to_rfc3339(now)}
    assert client.post(path, json=message | {"alerts": [over]}).status_code == 200
    assert client.get(f"{V2}/alerts").json() == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"version": "3", "alerts": []},
        {"version": "4"},
        {"version": "4", "alerts": [alert()]},
        {"version": "4", "alerts": [{"status": "firing", "labels": {}}]},
        {"version": "4", "alerts": [alert() | {"status": "perhaps"}]},
    ],
)
def test_a_webhook_that_is_wrong_is_refused_as_a_whole(
    client: TestClient, wrong: dict[str, Any]
) -> None:
    assert client.post("/api/v1/webhooks/alertmanager", json=wrong).status_code == 422
    assert client.get(f"{V2}/alerts").json() == []


def test_a_webhook_that_finds_no_room_is_to_come_again(
    client: TestClient, backend: FakeBackend
) -> None:
    backend.room = 0
    message = {"version": "4", "alerts": [alert() | {"status": "firing"}]}
    refused = client.post("/api/v1/webhooks/alertmanager", json=message)
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")


@pytest.mark.parametrize(
    ("receiver", "headers", "body", "status", "words"),
    [
        ("fax", {}, "{}", 404, "fax"),
        ("pager", {}, "{}", 403, "signature"),
        ("pager", {"X-Signature": "right"}, "no", 400, "not an event"),
        ("pager", {"X-Signature": "right"}, "{}", 200, "acknowledged"),
    ],
)
def test_a_channel_that_calls_back_signs(
    client: TestClient,
    receiver: str,
    headers: dict[str, str],
    body: str,
    status: int,
    words: str,
) -> None:
    answer = client.post(f"/api/v1/webhooks/receivers/{receiver}", content=body, headers=headers)
    assert answer.status_code == status
    assert words in answer.text


def test_a_channel_that_calls_back_and_finds_no_room(
    client: TestClient, backend: FakeBackend
) -> None:
    backend.room = 0
    headers = {"X-Signature": "right"}
    answer = client.post("/api/v1/webhooks/receivers/pager", content="{}", headers=headers)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")


def test_a_webhook_may_be_a_form(client: TestClient) -> None:
    """As Slack sends it."""
    answer = client.post(
        "/api/v1/webhooks/receivers/pager",
        content=b"{}",
        headers={"X-Signature": "right", "Content-Type": "application/x-www-form-urlencoded"},
    )
    assert answer.status_code == 200
