"""Analysis on demand: of posted series, and of the present."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from anyio import CapacityLimiter
from fastapi.testclient import TestClient

from dos.api.backend import Analysis, Case
from dos.model.telemetry import MetricKind, Role
from tests.api.fake import NOON, FakeBackend, at

PATH = "/analyze"


def points(*values: float | str | None) -> list[tuple[int, float | str | None]]:
    """One a minute from noon."""
    return [(at(minute), value) for minute, value in enumerate(values)]


def test_the_present(client: TestClient) -> None:
    answer = client.post(PATH).json()
    assert answer["scope"] == "present"
    assert [one["id"] for one in answer["anomalies"]] == ["ano-1", "ano-2"]
    assert [one["id"] for one in answer["incidents"]] == ["inc-2"]
    assert answer["incidents"][0]["root_cause"]["ranked"][0]["evidence"]
    assert answer["root_cause"] is None


def test_posted_series_become_columns_in_order_of_time(
    client: TestClient, backend: FakeBackend
) -> None:
    body = {
        "series": [
            {"entity": "cart", "metric": "latency_ms", "points": points(100, "NaN", None, 900)},
            {"entity": "db", "metric": "ops", "kind": "counter", "points": points(3, "3", 3, 3)},
        ],
        "edges": [{"caller": "cart", "callee": "db", "kind": "read"}],
        "trouble_began_at": "2026-11-23T12:02:00Z",
    }
    answer = client.post(PATH, json=body)
    assert answer.status_code == 200, answer.text
    (case,) = backend.cases
    assert case.frame.timestamp.tolist() == [at(m) for m in (0, 0, 1, 1, 2, 2, 3, 3)]
    assert case.frame.index.tolist() == [0, 1] * 4
    expected = [0.1, 3, np.nan, 3, np.nan, 3, 0.9, 3]  # milliseconds became seconds
    np.testing.assert_allclose(case.frame.value, expected)
    cart, db = case.frame.series
    assert (cart.role, cart.unit) == (Role.LATENCY, "seconds")
    assert db.kind == MetricKind.COUNTER
    assert [(edge.caller, edge.callee) for edge in case.edges] == [("cart", "db")]
    assert case.edges[0].seen_at == at(3)
    assert case.trouble_began_at == at(2)
    found = answer.json()
    assert found["scope"] == "posted"
    assert found["anomalies"][0]["series_id"] == 0
    assert found["root_cause"]["ranked"][0]["entity"] == "cart"
    assert found["incidents"] == []


def test_nothing_abnormal_has_no_cause(client: TestClient) -> None:
    body = {"series": [{"entity": "a", "metric": "m", "points": points(1, 1, 1)}]}
    answer = client.post(PATH, json=body).json()
    assert (answer["anomalies"], answer["root_cause"]) == ([], None)


def test_points_may_come_in_any_order(client: TestClient, backend: FakeBackend) -> None:
    mixed = [["2026-11-23T13:01:00+01:00", 2], [NOON, 1]]
    client.post(PATH, json={"series": [{"entity": "a", "metric": "m", "points": mixed}]})
    assert backend.cases[0].frame.value.tolist() == [1, 2]


SERIES = {"entity": "a", "metric": "m", "points": points(1)}


@pytest.mark.parametrize(
    ("body", "location", "message"),
    [
        ({}, "body.series", "Field required"),
        ({"series": []}, "body.series", "at least 1 item"),
        ({"series": [SERIES], "seris": 1}, "body.seris", "Extra inputs are not permitted"),
        ({"series": [SERIES, SERIES]}, "body", "series.1 is 'a m', which was posted before"),
        ({"series": [{**SERIES, "points": []}]}, "body.series.0.points", "at least 1 item"),
        (
            {"series": [{**SERIES, "points": [[NOON, "fast"]]}]},
            "body.series.0.points.0.1",
            "valid number",
        ),
        (
            {"series": [{**SERIES, "points": [[1_700_000_000, 1]]}]},
            "body.series.0.points.0.0",
            "before the year 2000",
        ),
        (
            {"series": [{**SERIES, "points": [[10**30, 1]]}]},
            "body.series.0.points.0.0",
            "less than or equal",
        ),
        ({"series": [{**SERIES, "role": "hero"}]}, "body.series.0.role", "'traffic', 'errors'"),
    ],
)
def test_what_cannot_be_analysed_says_where(
    client: TestClient, body: dict[str, Any], location: str, message: str
) -> None:
    answer = client.post(PATH, json=body)
    assert answer.status_code == 422
    found = answer.json()["errors"][0]
    assert found["location"] == location
    assert message in found["message"]


def test_it_runs_beside_the_event_loop(client: TestClient, backend: FakeBackend) -> None:
    threads: list[str] = []

    def note(_: Case) -> Analysis:
        threads.append(threading.current_thread().name)
        return Analysis(anomalies=(), root_cause=None)

    backend.analyze = note  # type: ignore[method-assign]
    client.post(PATH, json={"series": [SERIES]})
    assert threads[0].startswith("AnyIO worker thread")


def test_too_many_at_once_are_sent_away(client: TestClient, backend: FakeBackend) -> None:
    go_on = threading.Event()

    def slow(_: Case) -> Analysis:
        go_on.wait(30)
        return Analysis(anomalies=(), root_cause=None)

    def post() -> int:
        return client.post(PATH, json={"series": [SERIES]}).status_code

    limiter: CapacityLimiter = client.app_state["analyses"]
    backend.analyze = slow  # type: ignore[method-assign]
    with ThreadPoolExecutor(10) as pool:
        running = [pool.submit(post) for _ in range(10)]
        try:
            assert client.portal is not None
            while client.portal.call(limiter.statistics).tasks_waiting < 8:
                time.sleep(0.01)
            refused = client.post(PATH, json={"series": [SERIES]})
            assert refused.status_code == 503
            assert refused.headers["retry-after"] == "10"
            assert client.post(PATH).status_code == 200  # the present costs next to nothing
        finally:
            go_on.set()
        assert [one.result() for one in running] == [200] * 10
