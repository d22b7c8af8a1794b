"""The HTTP door of the testbed, on loopback: what to scrape, what is broken, how it is.

`/targets` (HTTP service discovery) and `/faults` are those of the simulator's exporter.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
from collections.abc import Callable, Iterator
from http import HTTPStatus

import uvicorn
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from dos.kit.clock import Clock
from dos.kit.errors import ConfigError
from dos.simulate.testbed import scrape
from dos.simulate.testbed.faults import InjectedFault, first_problem
from dos.simulate.testbed.instruments import CONTENT_TYPE
from dos.simulate.testbed.nodeagent import process_text
from dos.simulate.testbed.spec import REDIS
from dos.simulate.testbed.status import status_of, summary, tell
from dos.simulate.testbed.supervisor import Testbed

_MOST_BODY = 64 * 1024
"""Bytes a request may have."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class _Server(uvicorn.Server):
    """Leaves signals to the program around it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


class Control:
    """The ASGI application over one testbed.

    Args:
        testbed: What it shows and breaks.
        door: Its own URL.
        clock: The testbed's.
    """

    def __init__(self, testbed: Testbed, door: str, clock: Clock) -> None:
        self._testbed = testbed
        self._door = door
        self._clock = clock
        self.app = Starlette(
            routes=[
                Route("/healthz", self._health),
                Route("/status", self._status),
                Route("/targets", self._targets),
                Route("/metrics", self._metrics),
                Route("/redis/metrics", self._redis),
                Route("/faults", self._list, methods=["GET"]),
                Route("/faults", self._inject, methods=["POST"]),
                Route("/faults", self._clear, methods=["DELETE"]),
            ]
        )

    async def _health(self, _: Request) -> Response:
        ready = self._testbed.ready.is_set()
        return PlainTextResponse("ok\n" if ready else "starting\n", 200 if ready else 503)

    async def _status(self, _: Request) -> Response:
        return JSONResponse(status_of(self._testbed, self._clock).shown())

    async def _targets(self, _: Request) -> Response:
        own = self._door.removeprefix("http://")
        targets = [*self._testbed.targets(), scrape.target("testbed", own)]
        if self._testbed.redis:
            targets.append(scrape.target(REDIS, own, f"/{REDIS}/metrics"))
        return JSONResponse(targets)

    async def _metrics(self, _: Request) -> Response:
        return Response(self._testbed.agent.text(), media_type=CONTENT_TYPE)

    async def _redis(self, _: Request) -> Response:
        child = self._testbed.children.get(REDIS)
        if child is None or child.pid is None or not child.ready:
            return PlainTextResponse("down\n", 503)
        return Response(process_text(child.pid), media_type=CONTENT_TYPE)

    async def _list(self, _: Request) -> Response:
        return JSONResponse({"faults": [one.shown() for one in self._testbed.records.all]})

    async def _inject(self, request: Request) -> Response:
        # A page in somebody's browser cannot send this type without asking first.
        if request.headers.get("content-type", "").split(";")[0].strip() != "application/json":
            return _problem(415, "Send the fault as application/json.")
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > _MOST_BODY:
                return _problem(413, f"A fault takes at most {_MOST_BODY} bytes.")
        try:
            record = await self._testbed.inject(InjectedFault.model_validate_json(bytes(body)))
        except ValidationError as error:
            return _problem(422, first_problem(error))
        except ConfigError as error:
            return _problem(422, str(error))
        return JSONResponse(record.shown(), 201)

    async def _clear(self, request: Request) -> Response:
        await self._testbed.clear()
        return await self._list(request)


def _problem(status: int, detail: str) -> Response:
    """An RFC 9457 problem document; ends the connection, whose request may not be read through."""
    title = HTTPStatus(status).phrase
    content = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    return Response(
        json.dumps(content),
        status,
        media_type="application/problem+json",
        headers={"Connection": "close"},
    )


async def serve(
    testbed: Testbed,
    listener: socket.socket,
    clock: Clock,
    write: Callable[[str], None],
) -> None:
    """Run the testbed behind its door until it is over, or SIGINT or SIGTERM comes.

    Args:
        testbed: Not running yet.
        listener: Bound; the door's.
        clock: The testbed's.
        write: Told how it goes, line by line.

    Raises:
        PermanentError: The testbed cannot start; the message says why.
    """
    door = "http://{}:{}".format(*listener.getsockname()[:2])
    app = Control(testbed, door, clock).app
    config = uvicorn.Config(app, log_level="warning", lifespan="off", timeout_graceful_shutdown=2)
    server = _Server(config)
    loop = asyncio.get_running_loop()
    running = asyncio.create_task(testbed.run(door))
    beside = [
        asyncio.create_task(server.serve(sockets=[listener])),
        asyncio.create_task(tell(testbed, door, clock, write)),
    ]
    for number in _SIGNALS:
        loop.add_signal_handler(number, running.cancel)
    try:
        await asyncio.wait([running, *beside], return_when=asyncio.FIRST_COMPLETED)
    finally:
        running.cancel()
        await asyncio.wait([running])
        beside[1].cancel()
        server.should_exit = True
        await asyncio.wait(beside)
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
    for task in (running, *beside):
        if not task.cancelled():
            task.result()
    for line in summary(testbed):
        write(line)
