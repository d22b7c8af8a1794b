"""Cursors: every row once, in order, whatever the page; and nothing but our own is taken."""

from __future__ import annotations

import base64

import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from dos.api.wire import decode_cursor, encode_cursor
from dos.kit.clock import Millis
from dos.model import events
from tests.api.fake import FakeBackend, alert, incident


@given(st.integers(0, 253_402_300_799_000), st.text(min_size=1))
def test_a_cursor_reads_back(at: int, identity: str) -> None:
    identity = identity.encode(errors="replace").decode()
    assert decode_cursor(encode_cursor(Millis(at), identity)) == (at, identity)


@pytest.mark.parametrize("path", ["incidents", "alerts", "series"])
@pytest.mark.parametrize("limit", [1, 2, 3, 1000])
def test_pages_hold_every_row_once(
    client: TestClient, backend: FakeBackend, path: str, limit: int
) -> None:
    assert client.portal is not None
    for number in range(3, 7):  # two begin at the same time: the id tells them apart
        minutes = number // 2
        client.portal.call(
            backend.commit, 3, events.IncidentChanged(incident=incident(number, minutes))
        )
        client.portal.call(backend.commit, 3, events.AlertChanged(alert=alert(number, minutes)))
    whole = [row["id"] for row in client.get(f"/api/v1/{path}?limit=1000").json()["items"]]
    assert len(whole) >= 6
    found: list[str] = []
    cursor: str | None = None
    while True:
        query = {"limit": str(limit), **({"cursor": cursor} if cursor else {})}
        page = client.get(f"/api/v1/{path}", params=query).json()
        found += [row["id"] for row in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert found == whole


def encoded(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "cursor",
    [
        "x",
        "äö",
        "%%%",
        encoded("nonsense"),
        encoded("[]"),
        encoded('["1","a"]'),
        encoded('[-1,"a"]'),
        encoded('[1e400,"a"]'),
        encoded(f'[{10**30},"a"]'),
        encoded('[1,""]'),
        encoded("[" * 300),
    ],
)
@pytest.mark.parametrize("path", ["incidents", "alerts", "series"])
def test_other_cursors_are_refused(client: TestClient, path: str, cursor: str) -> None:
    answer = client.get(f"/api/v1/{path}", params={"cursor": cursor})
    assert answer.status_code == 422
    assert answer.json()["errors"] == [
        {
            "location": "query.cursor",
            "message": "not a cursor; pass on what `next` of the page before gave",
        }
    ]
