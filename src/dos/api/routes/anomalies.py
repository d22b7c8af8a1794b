"""Anomalies: stretches in which a series behaves abnormally."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from dos.api.access import BackendDep
from dos.api.errors import problems
from dos.api.schemas import AnomalyOut
from dos.api.wire import Listing, TimeParam
from dos.model.ids import EntityId

router = APIRouter(prefix="/anomalies", tags=["incidents"])


class AnomalyList(Listing[AnomalyOut]):
    """Anomalies, newest first."""


@router.get("", operation_id="listAnomalies", summary="List anomalies", responses=problems(422))
async def list_anomalies(
    backend: BackendDep,
    entity: Annotated[EntityId | None, Query(description="Only of this entity.")] = None,
    active: Annotated[
        bool | None, Query(description="true: only those that last; false: only ended ones.")
    ] = None,
    since: Annotated[TimeParam | None, Query(description="Only those lasting beyond.")] = None,
    until: Annotated[TimeParam | None, Query(description="Only those begun before.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> AnomalyList:
    """Newest first. There are no pages: when `truncated`, ask on with an earlier `until`."""
    rows = await backend.store.anomalies(
        entity=entity, active=active, since=since, until=until, limit=limit + 1
    )
    return AnomalyList(
        items=[AnomalyOut.model_validate(row) for row in rows[:limit]],
        truncated=len(rows) > limit,
    )
