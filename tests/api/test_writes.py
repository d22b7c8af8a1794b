"""Pushing samples: what is taken, what is refused and why, and who may."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from dos.api.app import create_app
from dos.api.limits import MAX_BODY
from dos.ingest.samples import MAX_SAMPLES
from dos.kit.secret import Secret
from dos.model.telemetry import Role
from tests.api.fake import NOON, FakeBackend, at, open_filled

GOOD = {"service": "shop/cart", "metric": "latency_p95", "value": 184, "unit": "ms"}
PATH = "/collect-metrics"


def test_samples_arrive_in_columns(client: TestClient, backend: FakeBackend) -> None:
    timed = {**GOOD, "value": 200, "timestamp": "2026-11-23T12:00:00Z"}
    other = {"entity": "db", "metric": "errors", "value": 2, "labels": {"b": "2", "a": "1"}}
    answer = client.post(PATH, json=[GOOD, timed, other])
    assert answer.json() == {"accepted": 3, "refused": 0, "refusals": []}
    (delivery,) = backend.offered
    assert delivery.frame is not None
    first, second = delivery.frame.series
    assert (first.entity, first.role, first.unit) == ("shop/cart", Role.LATENCY, "seconds")
    assert second.labels == (("a", "1"), ("b", "2"))
    assert delivery.frame.index.tolist() == [0, 0, 1]
    assert delivery.frame.timestamp.tolist() == [at(3), NOON, at(3)]
    assert delivery.frame.value.tolist() == pytest.approx([0.184, 0.2, 2.0])


def test_one_bad_sample_does_not_cost_the_others(client: TestClient, backend: FakeBackend) -> None:
    bad = [{**GOOD, "value": "many"}, GOOD, {"metric": "x", "value": 1}, 7]
    answer = client.post(PATH, json=bad).json()
    assert (answer["accepted"], answer["refused"]) == (1, 3)
    reasons = {one["index"]: one["reason"] for one in answer["refusals"]}
    assert reasons[0].startswith("value: Input should be a valid number")
    assert reasons[2] == "name what was measured in `entity` (or `service`), once"
    assert 3 in reasons
    assert len(backend.offered) == 1


def test_nothing_good_is_not_offered(client: TestClient, backend: FakeBackend) -> None:
    assert client.post(PATH, json=[]).json()["accepted"] == 0
    assert client.post(PATH, json=[{}]).json()["refused"] == 1
    assert backend.offered == []


def test_the_reasons_are_bounded(client: TestClient) -> None:
    answer = client.post(PATH, json=[{}] * 150).json()
    assert answer["refused"] == 150
    assert len(answer["refusals"]) == 100


def test_a_full_queue_takes_nothing(client: TestClient, backend: FakeBackend) -> None:
    backend.room = 0
    answer = client.post(PATH, json=[GOOD])
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"
    assert answer.json()["type"] == "urn:dos:problem:queue-full"


def test_too_many_samples(client: TestClient) -> None:
    answer = client.post(PATH, json=[1] * (MAX_SAMPLES + 1))
    assert answer.status_code == 422
    assert answer.json()["detail"] == "body: 50001 samples; send at most 50000 at once"


@pytest.mark.parametrize(
    ("body", "headers", "status", "detail"),
    [
        (b"{", {}, 400, "The body is not JSON: Expecting property name"),
        (b"[" * 100_000, {}, 400, "parsing the body"),
        (b"[]", {"Content-Type": "text/plain"}, 415, "Content-Type: application/json"),
        (b"[]", {"Content-Encoding": "gzip"}, 415, "Content-Encoding 'gzip' is not understood"),
        (b"{}", {}, 422, "body: Input should be a valid list"),
        (b"", {}, 422, "body: Field required"),
    ],
)
def test_bodies_that_are_no_list(
    client: TestClient, body: bytes, headers: dict[str, str], status: int, detail: str
) -> None:
    answer = client.post(
        PATH, content=body, headers={"Content-Type": "application/json", **headers}
    )
    assert answer.status_code == status
    assert detail in answer.json()["detail"]


HOSTILE = [
    '{"service":"a","metric":"m","value":NaN}',
    '{"service":"a","metric":"m","value":1e999}',
    '{"service":"a","metric":"m","value":1' + "0" * 400 + "}",
    '{"service":"a","metric":"m","value":1,"timestamp":1' + "0" * 30 + "}",
    '{"service":"a","metric":"m","value":1,"timestamp":"later"}',
    '{"service":"a","metric":"m","value":1,"timestamp":1700000000}',
    '{"service":"\\ud800","metric":"m","value":1}',
    '{"service":"a","metric":"m","value":1,"\\ud800":1}',
    '{"service":"a","metric":"m","value":1,"labels":{"\\ud800":"x"}}',
    '{"service":"a","metric":"m","value":1,"labels":{"a":1}}',
]


@pytest.mark.parametrize("sample", HOSTILE)
def test_hostile_samples_are_refused_one_by_one(client: TestClient, sample: str) -> None:
    body = f"[{sample},{json.dumps(GOOD)}]"
    answer = client.post(PATH, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 200, answer.text
    assert (answer.json()["accepted"], answer.json()["refused"]) == (1, 1)


def test_a_declared_length_is_refused_before_the_body_is_read(client: TestClient) -> None:
    headers = {"Content-Type": "application/json", "Content-Length": str(MAX_BODY + 1)}
    answer = client.post(PATH, content=b"[]", headers=headers)
    assert answer.status_code == 413
    assert answer.json()["type"] == "urn:dos:problem:body-too-large"
    assert answer.headers["connection"] == "close"


def test_a_stream_is_cut_where_the_limit_is(client: TestClient) -> None:
    given = 0

    def chunks() -> Iterator[bytes]:
        nonlocal given
        while given < 2 * MAX_BODY:
            given += 1 << 20
            yield b" " * (1 << 20)

    answer = client.post(PATH, content=chunks(), headers={"Content-Type": "application/json"})
    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_body_at_the_limit_is_read(client: TestClient) -> None:
    text = json.dumps([GOOD])
    body = text + " " * (MAX_BODY - len(text))
    answer = client.post(PATH, content=body, headers={"Content-Type": "application/json"})
    assert answer.json()["accepted"] == 1


def test_nul_in_an_address(client: TestClient) -> None:
    for path in ("/api/v1/incidents?entity=a%00b", "/api/v1/services/a%00b"):
        answer = client.get(path)
        assert answer.status_code == 400
        assert answer.json()["detail"] == "The address holds a NUL character."


@pytest.mark.parametrize(
    ("server", "caller", "allowed"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("[::1]", "::1", True),
        ("localhost", "127.0.0.1", True),
        ("10.0.0.5", "10.0.0.9", False),
        ("127.0.0.1", "203.0.113.7", False),  # forwarded by a proxy on this machine
        ("10.0.0.5", "127.0.0.1", False),
    ],
)
def test_without_a_token_only_this_machine_writes(server: str, caller: str, allowed: bool) -> None:
    app = create_app(open_filled)
    with TestClient(app, base_url=f"http://{server}:8000", client=(caller, 50_000)) as client:
        answer = client.post(PATH, json=[GOOD])
        assert answer.status_code == (200 if allowed else 403)
        assert client.get("/health").status_code == 200
        if not allowed:
            assert "Configure server.token" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ("Bearer s3cret", 200),
        ("bearer s3cret", 200),
        ("Bearer s3cre", 401),
        ("Bearer ", 401),
        ("Bearer schlüssel".encode(), 401),
        ("Basic s3cret", 401),
        (None, 401),
    ],
)
def test_with_a_token_everybody_needs_it(
    client: TestClient, backend: FakeBackend, header: str | bytes | None, status: int
) -> None:
    backend.write_token = Secret("s3cret")
    headers = {} if header is None else {"Authorization": header}
    answer = client.post(PATH, json=[GOOD], headers=headers)  # type: ignore[arg-type]
    assert answer.status_code == status
    if status == 401:
        assert answer.headers["www-authenticate"] == "Bearer"
        assert "s3cret" not in answer.text
