"""`dos serve`, and the factory that `dos.api.app` resolves by name for uvicorn."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn

from dos.api.app import create_app
from dos.api.backend import Backend
from dos.app.backend import SentinelBackend
from dos.app.sentinel import Sentinel
from dos.app.settings import Settings
from dos.app.settings_load import load
from dos.kit import log
from dos.kit.clock import SystemClock


@asynccontextmanager
async def open_backend(settings: Settings | None = None) -> AsyncIterator[Backend]:
    """Run the application while the context lasts.

    Args:
        settings: The configuration; None loads it as `dos serve` does without `--config`.
    """
    if settings is None:
        settings = load(None).settings
        log.configure(settings.log.level, settings.log.format)
    async with Sentinel(settings, SystemClock()) as sentinel:
        yield SentinelBackend(sentinel)


def serve(settings: Settings) -> None:
    """Serve the API with the application behind it until SIGINT or SIGTERM."""
    app = create_app(lambda: open_backend(settings))
    uvicorn.run(
        app,
        host=settings.server.host,
        port=settings.server.port,
        log_level=settings.log.level,
        access_log=False,
        timeout_graceful_shutdown=5,
    )
