"""`dos serve`, and the factory that `dos.api.app` resolves by name for uvicorn."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from dos.api.backend import Backend
from dos.app.backend import SentinelBackend
from dos.app.http import address_of, listen, server_for
from dos.app.sentinel import Sentinel
from dos.app.settings import Settings
from dos.app.settings_load import load
from dos.kit import log
from dos.kit.clock import SystemClock


@asynccontextmanager
async def open_backend() -> AsyncIterator[Backend]:
    """Run the application while the context lasts, configured as `dos serve` without options."""
    settings = load(None).settings
    log.configure(settings.log.level, settings.log.format)
    async with Sentinel(settings, SystemClock()) as sentinel:
        yield SentinelBackend(sentinel)


def serve(settings: Settings) -> None:
    """Serve the API with the application behind it until SIGINT or SIGTERM.

    Raises:
        DosError: The application cannot start; the message says why.
    """
    asyncio.run(_serve(settings))


async def _serve(settings: Settings) -> None:
    listening = listen(settings.server.host, settings.server.port)
    async with Sentinel(settings, SystemClock()) as sentinel:
        log.get("app").info("serving", address=address_of(listening))
        server = server_for(sentinel, log_level=settings.log.level)
        await server.serve(sockets=[listening])
