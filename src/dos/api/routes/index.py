"""`/`: where to go from here."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import Field

from dos.api.access import BackendDep
from dos.api.wire import Wire

router = APIRouter(tags=["status"])


class Index(Wire):
    """The door sign."""

    name: str
    version: str
    endpoints: dict[str, str] = Field(description="Path of an endpoint and what it is for.")


_ENDPOINTS = {
    "/docs": "this API, described for people",
    "/openapi.json": "this API, described for programs",
    "/healthz": "whether the process lives",
    "/readyz": "whether DOS can work, with every source",
    "/metrics": "DOS' own metrics, for Prometheus",
    "/health": "how the watched system is doing",
    "/collect-metrics": "POST samples",
    "/analyze": "POST: anomalies and ranked causes, now or of your own series",
    "/api/v1/services": "services and their health",
    "/api/v1/graph": "the dependency graph, now or at a past time",
    "/api/v1/series": "series and their samples",
    "/api/v1/anomalies": "series that behave abnormally",
    "/api/v1/incidents": "incidents with ranked causes",
    "/api/v1/alerts": "alerts and what was sent about them",
    "/api/v1/changes": "deployments and other changes",
    "/api/v1/sources": "where telemetry comes from",
    "/api/v1/simulation": "simulated sources: the truth, and POST faults and actions",
    "/api/v1/stream": "every decision as it is made (server-sent events)",
}


@router.get("/", operation_id="getIndex", summary="The important endpoints")
async def index(backend: BackendDep) -> Index:
    """Name the important endpoints."""
    return Index(name="Dependency Ops Sentinel", version=backend.version, endpoints=_ENDPOINTS)
