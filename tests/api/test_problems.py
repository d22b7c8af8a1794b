"""Every error is a problem document with the request's id, and tells no secrets."""

from __future__ import annotations

import pytest
import structlog
from fastapi.testclient import TestClient
from structlog.testing import capture_logs

from dos.api.backend import Analysis, Case
from dos.kit.errors import PermanentError, TransientError
from tests.api.fake import FakeBackend

CASE = {"series": [{"entity": "a", "metric": "m", "points": [["2026-11-23T12:00:00Z", 1]]}]}


def test_a_problem_in_full(client: TestClient) -> None:
    answer = client.get("/api/v1/incidents?limit=0&state=gone", headers={"X-Request-ID": "abc-1"})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-request-id"] == "abc-1"
    assert answer.json() == {
        "type": "urn:dos:problem:invalid-request",
        "title": "Invalid request",
        "status": 422,
        "detail": "query.state: Input should be 'open' or 'resolved'. (1 more in `errors`.)",
        "instance": "/api/v1/incidents",
        "request_id": "abc-1",
        "errors": [
            {"location": "query.state", "message": "Input should be 'open' or 'resolved'"},
            {
                "location": "query.limit",
                "message": "Input should be greater than or equal to 1",
            },
        ],
    }


def test_no_such_path(client: TestClient) -> None:
    problem = client.get("/nowhere").json()
    assert (problem["status"], problem["type"]) == (404, "about:blank")
    assert problem["detail"] == "There is nothing at this path; / names what there is."


def test_a_wrong_method_names_the_right_one(client: TestClient) -> None:
    answer = client.delete("/health")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET"
    several = client.put("/api/v1/simulation/faults")
    assert (several.status_code, several.headers["allow"]) == (405, "DELETE, POST")
    assert client.put("/docs").headers["allow"] == "GET, HEAD"
    assert answer.json()["title"] == "Method Not Allowed"


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("at=yesterday", "not a time; write it like 2026-11-23T14:30:00.000Z"),
        ("at=2026-11-23T14:30:00+01:00", "a + must be written %2B"),
        ("at=", "not a time"),
    ],
)
def test_a_wrong_time_says_how_to_write_it(client: TestClient, query: str, message: str) -> None:
    problem = client.get(f"/api/v1/graph?{query}").json()
    assert message in problem["errors"][0]["message"]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"step": "soon"}, "is not a duration; write for example 15s, 5m or 1h30m"),
        ({"step": "0s"}, "must be at least 1ms"),
        (
            {"start": "2026-11-23T12:00:00Z", "end": "2026-11-23T11:00:00Z"},
            "lies after the end",
        ),
    ],
)
def test_wrong_ranges(client: TestClient, query: dict[str, str], message: str) -> None:
    answer = client.get("/api/v1/series/1/samples", params=query)
    assert answer.status_code == 422
    assert message in answer.json()["errors"][0]["message"]


@pytest.mark.parametrize("given", ["", "a b", "x" * 65, "naïve".encode(), 'a"b'])
def test_an_odd_request_id_is_replaced(client: TestClient, given: str | bytes) -> None:
    answer = client.get("/healthz", headers={b"X-Request-ID": given})  # type: ignore[dict-item]
    made = answer.headers["x-request-id"]
    assert len(made) == 32
    assert int(made, 16) >= 0


def test_request_ids_differ(client: TestClient) -> None:
    assert len({client.get("/healthz").headers["x-request-id"] for _ in range(5)}) == 5


def test_common_headers(client: TestClient) -> None:
    for path in ("/health", "/nowhere"):
        answer = client.get(path)
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"


def test_the_unforeseen_is_logged_and_not_told(client: TestClient, backend: FakeBackend) -> None:
    def fail() -> bytes:
        structlog.get_logger().info("inside")
        raise RuntimeError("password=hunter2")

    backend.metrics_text = fail  # type: ignore[method-assign]
    processors = [structlog.contextvars.merge_contextvars]
    with capture_logs(processors=processors) as lines:
        answer = client.get("/metrics", headers={"X-Request-ID": "r-7"})
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["request_id"] == "r-7"
    assert "hunter2" not in answer.text
    assert "Traceback" not in answer.text
    assert [(line["event"], line["request_id"]) for line in lines] == [
        ("inside", "r-7"),
        ("request_failed", "r-7"),
    ]
    assert lines[1]["exc_info"]
    assert client.get("/healthz").status_code == 200


def test_a_log_line_after_a_request_has_no_id(client: TestClient) -> None:
    client.get("/healthz")
    assert "request_id" not in structlog.contextvars.get_contextvars()


@pytest.mark.parametrize(
    ("error", "status", "retry"),
    [
        (PermanentError("Too few samples.", remedy="Post an hour."), 422, None),
        (TransientError("The disk is busy."), 503, "5"),
        (TransientError("Slow down.", retry_after=30), 503, "30"),
    ],
)
def test_an_error_raised_on_purpose_is_told(
    client: TestClient, backend: FakeBackend, error: Exception, status: int, retry: str | None
) -> None:
    def fail(_: Case) -> Analysis:
        raise error

    backend.analyze = fail  # type: ignore[method-assign]
    answer = client.post("/analyze", json=CASE)
    assert answer.status_code == status
    assert answer.json()["detail"] == str(error)
    assert answer.headers.get("retry-after") == retry
