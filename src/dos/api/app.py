"""The ASGI application: `uvicorn dos.api.app:app`.

The API lies below `dos.app` and does not import it; the factory of the running application is
found by name when the server starts.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TypedDict

from anyio import CapacityLimiter
from fastapi import APIRouter, FastAPI

from dos.api import errors
from dos.api.backend import Backend, OpenBackend
from dos.api.context import RequestContext
from dos.api.ingest import IngestEndpoints
from dos.api.limits import BodyLimit
from dos.api.openapi import describe
from dos.api.routes import (
    alertmanager,
    alerts,
    analyze,
    anomalies,
    changes,
    collect,
    feedback,
    forecasts,
    graph,
    health,
    incidents,
    index,
    models,
    oncall,
    probes,
    series,
    services,
    simulation,
    sources,
    stream,
    webhooks,
)
from dos.api.shutdown import Stopping, watch_shutdown
from dos.kit.plugins import resolve
from dos.kit.version import __version__

_DESCRIPTION = """
Watches services and what they depend on: anomalies, incidents, root causes with evidence, alerts
that can be trusted.

* Times are RFC 3339 in UTC. Numbers are finite or null.
* Errors are problem documents (RFC 9457) with the request's id, which is also in the
  `X-Request-ID` header of every answer and in DOS' log.
* Lists of incidents, alerts and series come in pages: pass on `next` as `cursor`.
"""

_TAGS = [
    {"name": "status", "description": "The watched system at a glance."},
    {"name": "services", "description": "Services and what they depend on."},
    {"name": "series", "description": "Series and their samples."},
    {
        "name": "incidents",
        "description": "Anomalies, incidents, and changes that may explain them.",
    },
    {"name": "forecasts", "description": "What runs out, and when."},
    {"name": "alerts", "description": "Alerts and what was sent about them."},
    {"name": "alertmanager", "description": "Alertmanager's API version 2, for its clients."},
    {"name": "feedback", "description": "What people say about decisions, and planned work."},
    {"name": "models", "description": "What decides, what runs beside it, and whether it fits."},
    {"name": "analysis", "description": "Anomalies and ranked causes on demand."},
    {"name": "ingest", "description": "Telemetry pushed to DOS."},
    {"name": "stream", "description": "Every decision as it is made."},
    {"name": "simulation", "description": "Simulated sources: the truth, and breaking things."},
    {"name": "probes", "description": "DOS itself: alive, ready, metrics, sources."},
]


class State(TypedDict):
    """What lives as long as the server runs; `request.state` in a request."""

    backend: Backend
    stopping: Stopping
    analyses: CapacityLimiter
    open_streams: set[int]


def create_app(open_backend: OpenBackend) -> FastAPI:
    """The API over what `open_backend` opens when the server starts."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[State]:
        async with open_backend() as backend:
            with watch_shutdown() as stopping:
                yield State(
                    backend=backend,
                    stopping=stopping,
                    analyses=CapacityLimiter(analyze.MAX_RUNNING),
                    open_streams=set(),
                )

    app = FastAPI(
        title="Dependency Ops Sentinel",
        version=__version__,
        description=_DESCRIPTION,
        openapi_tags=_TAGS,
        lifespan=lifespan,
        redoc_url=None,
    )
    # The last one added is the outermost.
    app.add_middleware(BodyLimit)
    app.add_middleware(IngestEndpoints)
    app.add_middleware(RequestContext)
    errors.install(app)
    for part in (index, health, analyze, collect, probes):
        app.include_router(part.router)
    v1 = APIRouter(prefix="/api/v1")
    for part in (services, graph, series, anomalies, incidents, alerts, oncall, changes, feedback):
        v1.include_router(part.router)
    for part in (forecasts, models, sources, stream, simulation, webhooks):
        v1.include_router(part.router)
    app.include_router(v1)
    app.include_router(alertmanager.router)
    describe(app)
    return app


def _open() -> AbstractAsyncContextManager[Backend]:
    opened: AbstractAsyncContextManager[Backend] = resolve("dos.app.serving:open_backend")()
    return opened


app = create_app(_open)
