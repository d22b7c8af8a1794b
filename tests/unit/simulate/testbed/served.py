"""Services of the testbed in the test's own event loop, behind real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import uvicorn
from prometheus_client.parser import text_string_to_metric_families

from dos.kit.clock import SystemClock
from dos.simulate.testbed.service import ServiceSettings, ShopService

TOKEN = "a-token"
WHO = {"user": 1, "item": 2}


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def served(app: object) -> AsyncIterator[str]:
    """`host:port` of an ASGI application."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = _Server(uvicorn.Config(app, log_level="warning"))  # type: ignore[arg-type]
        task = asyncio.create_task(server.serve(sockets=[listener]))
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        await task


@asynccontextmanager
async def service(
    name: str, folder: Path, addresses: Mapping[str, str] | None = None, ratio: float = 0.0
) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of the service `name`, which calls others at `addresses`."""
    settings = ServiceSettings(
        name=name,
        port=0,
        addresses=dict(addresses or {}),
        token=TOKEN,
        folder=folder,
        seed=1,
        trace_ratio=ratio,
    )
    async with (
        served(ShopService(settings, SystemClock()).app) as address,
        httpx2.AsyncClient(base_url=f"http://{address}", trust_env=False) as client,
    ):
        yield client


async def value(client: httpx2.AsyncClient, name: str, **labels: str) -> float:
    """Sum of the samples `name` with `labels` that a service shows."""
    text = (await client.get("/metrics")).text
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


async def inject(client: httpx2.AsyncClient, token: str = TOKEN, **fault: object) -> int:
    """Break a service; the status of the answer."""
    headers = {"Authorization": f"Bearer {token}"}
    return (await client.post("/faults", json=fault, headers=headers)).status_code
