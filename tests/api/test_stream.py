"""The event stream: order, resume, filters, and a client that reads slowly.

The answer has no end, so these tests speak ASGI themselves and stop reading when they saw enough.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import fastapi.routing
import pytest
from fastapi import FastAPI
from starlette.types import Message

from dos.api.app import create_app
from dos.api.routes import stream
from dos.model import events
from tests.api.fake import CART, FakeBackend, alert, anomaly, incident

PATH = "/api/v1/stream"


class Listener:
    """One client of the stream."""

    def __init__(self) -> None:
        self.status = 0
        self.content_type = b""
        self.body = b""
        self.grown = asyncio.Event()
        self.ended = asyncio.Event()
        self.may_read = asyncio.Event()
        self.may_read.set()

    async def send(self, message: Message) -> None:
        """What the server calls; waits while the client does not read."""
        await self.may_read.wait()
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.content_type = dict(message["headers"])[b"content-type"]
        else:
            self.body += message["body"]
        self.grown.set()

    @property
    def events(self) -> list[dict[str, str]]:
        """Complete events so far, as field: value."""
        blocks = self.body.decode().split("\n\n")[:-1]
        parsed = [dict(line.split(": ", 1) for line in block.split("\n")) for block in blocks]
        return [one for one in parsed if "data" in one]

    @property
    def ids(self) -> list[int]:
        """Their ids."""
        return [int(one["id"]) for one in self.events]

    async def until(self, count: int) -> list[dict[str, str]]:
        """Wait for that many events."""
        async with asyncio.timeout(10):
            while self.body.count(b"\nid: ") < count or not self.body.endswith(b"\n\n"):
                self.grown.clear()
                await self.grown.wait()
        return self.events


class Server:
    """The application, started."""

    def __init__(self, app: FastAPI, backend: FakeBackend, state: dict[str, Any]) -> None:
        self.app = app
        self.backend = backend
        self.state = state

    @asynccontextmanager
    async def listen(
        self, query: str = "", last_event_id: str | None = None
    ) -> AsyncIterator[Listener]:
        """Open the stream; leaving hangs up."""
        listener, hung_up = Listener(), asyncio.Event()
        headers = [(b"last-event-id", last_event_id.encode())] if last_event_id else []
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": PATH,
            "raw_path": PATH.encode(),
            "root_path": "",
            "query_string": query.encode(),
            "headers": headers,
            "client": ("127.0.0.1", 50_000),
            "server": ("127.0.0.1", 8000),
            "state": dict(self.state),
        }
        asked = False

        async def receive() -> Message:
            nonlocal asked
            if not asked:
                asked = True
                return {"type": "http.request", "body": b"", "more_body": False}
            await hung_up.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            if hung_up.is_set():
                raise OSError("the client hung up")
            await listener.send(message)

        task = asyncio.create_task(self.app(scope, receive, send))
        task.add_done_callback(lambda _: listener.ended.set())
        try:
            async with asyncio.timeout(10):
                while not listener.body:
                    listener.grown.clear()
                    await listener.grown.wait()
            yield listener
        finally:
            hung_up.set()
            listener.may_read.set()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """The shop, with its lifespan entered."""
    backend = FakeBackend()
    await backend.fill()

    @asynccontextmanager
    async def opened() -> AsyncIterator[FakeBackend]:
        yield backend

    app = create_app(opened)
    async with app.router.lifespan_context(app) as state:
        yield Server(app, backend, dict(state or {}))


async def test_from_the_beginning(server: Server) -> None:
    async with server.listen("after=0") as listener:
        assert listener.content_type.startswith(b"text/event-stream")
        found = await listener.until(15)
    assert [int(one["id"]) for one in found] == list(range(1, 16))
    opened = json.loads(found[2]["data"])
    assert found[2]["event"] == opened["type"] == "incident_changed"
    assert (opened["seq"], opened["at"]) == (3, "2026-11-23T11:10:00.000Z")
    assert opened["incident"]["opened_at"] == "2026-11-23T11:10:00.000Z"
    assert json.loads(found[10]["data"])["anomaly"]["deviation"] is None  # infinite


async def test_from_now_on(server: Server) -> None:
    async with server.listen() as listener:
        for number in (3, 4):
            await server.backend.commit(3, events.IncidentChanged(incident=incident(number, 3)))
            await listener.until(number - 2)
        assert listener.ids == [16, 17]


async def test_resume_loses_and_repeats_nothing(server: Server) -> None:
    async with server.listen("after=0") as listener:
        await listener.until(7)
    last = listener.ids[-1]
    await server.backend.commit(3, events.IncidentChanged(incident=incident(3, 3)))
    async with server.listen("after=0", last_event_id=str(last)) as resumed:
        await resumed.until(16 - last)
    assert listener.ids + resumed.ids == list(range(1, 17))


async def test_a_filter_passes_the_rest_over(server: Server) -> None:
    async with server.listen("after=0&type=alert_changed&type=change_seen") as listener:
        await listener.until(4)
        await server.backend.commit(3, events.AnomalyEnded(anomaly=anomaly(1, CART, 3)))
        await server.backend.commit(3, events.AlertChanged(alert=alert(3, 3)))
        await listener.until(5)
        assert listener.ids == [4, 8, 10, 14, 17]


async def test_a_filter_without_matches_does_not_spin(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = 0
    read = server.backend.store.events

    async def counted(**query: Any) -> Any:
        nonlocal reads
        reads += 1
        return await read(**query)

    monkeypatch.setattr(server.backend.store, "events", counted)
    async with server.listen("after=0&type=change_seen") as listener:
        await listener.until(1)
        for _ in range(50):
            await asyncio.sleep(0)
        assert reads == 1


async def test_a_slow_client_is_only_further_behind(server: Server) -> None:
    async with server.listen() as slow, server.listen() as quick:
        slow.may_read.clear()
        for _ in range(1000):
            await server.backend.commit(3, events.IncidentChanged(incident=incident(3, 3)))
        await quick.until(1000)
        assert len(slow.events) <= 3
        slow.may_read.set()
        await slow.until(1000)
        assert slow.ids == list(range(16, 1016))


async def test_silence_is_filled_with_comments(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fastapi.routing, "_PING_INTERVAL", 0.02)
    async with server.listen() as listener, asyncio.timeout(10):
        while listener.body.count(b": ping\n\n") < 2:
            listener.grown.clear()
            await listener.grown.wait()
        assert listener.events == []


async def test_stopping_ends_the_stream(server: Server) -> None:
    async with server.listen() as listener:
        server.state["stopping"].set()
        await server.backend.commit(3, events.IncidentChanged(incident=incident(3, 3)))
        await asyncio.wait_for(listener.ended.wait(), 10)
        assert listener.events == []


async def test_places_are_limited_and_given_back(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "MAX_STREAMS", 1)
    async with server.listen():
        async with server.listen() as second:
            assert second.status == 503
            assert json.loads(second.body)["type"] == "urn:dos:problem:too-many-streams"
        assert len(server.state["open_streams"]) == 1
    assert not server.state["open_streams"]


@pytest.mark.parametrize(
    ("query", "last", "status", "detail"),
    [
        ("after=16", None, 409, "Event 16 does not exist: the last one is 15."),
        ("", "16", 409, "Event 16 does not exist"),
        ("after=-1", None, 422, "query.after"),
        ("", "soon", 422, "header.last-event-id"),
        ("type=gossip", None, 422, "query.type.0"),
    ],
)
async def test_positions_and_types_that_are_not(
    server: Server, query: str, last: str | None, status: int, detail: str
) -> None:
    async with server.listen(query, last) as listener:
        assert listener.status == status
        assert detail in json.loads(listener.body)["detail"]
    assert not server.state["open_streams"]
