"""Sources: where telemetry comes from and how each is doing."""

from __future__ import annotations

from fastapi import APIRouter

from dos.api.access import BackendDep
from dos.api.schemas import SourceOut
from dos.api.wire import Listing

router = APIRouter(prefix="/sources", tags=["probes"])


class SourceList(Listing[SourceOut]):
    """Every configured source."""


@router.get("", operation_id="listSources", summary="List sources")
async def list_sources(backend: BackendDep) -> SourceList:
    """Every configured source with its freshness, last error and next try."""
    now = backend.clock.now()
    return SourceList(items=[SourceOut.of(status, now) for status in backend.sources()])
