"""What machines ask of DOS itself: alive, ready, metrics."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse
from pydantic import Field

from dos.api.access import BackendDep
from dos.api.backend import Readiness
from dos.api.schemas import SourceOut
from dos.api.wire import Wire
from dos.ingest.base import SourceHealth

router = APIRouter(tags=["probes"])


class Alive(Wire):
    """The process answers."""

    status: Literal["alive"] = "alive"


class ComponentOut(Wire):
    """A part of DOS itself."""

    name: str
    ok: bool
    detail: str


class ReadinessOut(Wire):
    """Whether DOS can do its work."""

    status: Literal["ready", "degraded", "not_ready"] = Field(
        description="`degraded`: a source or a part fails, the rest goes on."
    )
    components: list[ComponentOut]
    sources: list[SourceOut]


@router.get("/healthz", operation_id="getLiveness", summary="Is the process alive?")
async def healthz() -> Alive:
    """Answer as long as the event loop turns; for a liveness probe."""
    return Alive()


@router.get(
    "/readyz",
    operation_id="getReadiness",
    summary="Can DOS do its work?",
    responses={503: {"model": ReadinessOut, "description": "The pipeline or the store cannot."}},
)
async def readyz(backend: BackendDep, response: Response) -> ReadinessOut:
    """Report every part and every source; for a readiness probe.

    A failing source makes DOS `degraded`, which is still 200: the others go on.
    """
    readiness = backend.ready()
    now = backend.clock.now()
    sources = [SourceOut.of(status, now) for status in backend.sources()]
    if not readiness.ok:
        response.status_code = 503
        response.headers["Retry-After"] = "5"
    return ReadinessOut(
        status=_status(readiness, sources),
        components=[ComponentOut.model_validate(part) for part in readiness.components],
        sources=sources,
    )


def _status(
    readiness: Readiness, sources: list[SourceOut]
) -> Literal["ready", "degraded", "not_ready"]:
    if not readiness.ok:
        return "not_ready"
    failing = {SourceHealth.RETRYING, SourceHealth.FAILED}
    whole = all(part.ok for part in readiness.components) and not any(
        source.health in failing or source.problems for source in sources
    )
    return "ready" if whole else "degraded"


@router.get(
    "/metrics",
    operation_id="getMetrics",
    summary="DOS' own metrics",
    response_class=PlainTextResponse,
)
async def metrics(backend: BackendDep) -> PlainTextResponse:
    """DOS' own metrics in the Prometheus text format; names start with `dos_`."""
    return PlainTextResponse(
        backend.metrics_text(), media_type="text/plain; version=0.0.4; charset=utf-8"
    )
