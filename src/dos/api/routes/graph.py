"""The dependency graph, now or as it was known at a past time."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from dos.api.access import BackendDep
from dos.api.errors import problems
from dos.api.schemas import GraphOut
from dos.api.wire import TimeParam

router = APIRouter(prefix="/graph", tags=["services"])


@router.get("", operation_id="getGraph", summary="Dependency graph", responses=problems(422))
async def get_graph(
    backend: BackendDep,
    at: Annotated[
        TimeParam | None, Query(description="As it was known then; without it, as it is now.")
    ] = None,
) -> GraphOut:
    """Entities and the edges between them; an edge points from the caller to the callee."""
    return GraphOut.of(backend.graph() if at is None else await backend.store.graph(at))
