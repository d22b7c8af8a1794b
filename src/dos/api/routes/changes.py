"""Changes: what people and machines did to the watched system."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from dos.api.access import BackendDep
from dos.api.errors import problems
from dos.api.schemas import ChangeOut
from dos.api.wire import Listing, TimeParam
from dos.model.ids import EntityId

router = APIRouter(prefix="/changes", tags=["incidents"])


class ChangeList(Listing[ChangeOut]):
    """Changes, newest first."""


@router.get("", operation_id="listChanges", summary="List changes", responses=problems(422))
async def list_changes(
    backend: BackendDep,
    entity: Annotated[EntityId | None, Query(description="Only of this entity.")] = None,
    since: Annotated[TimeParam | None, Query(description="Only from then on.")] = None,
    until: Annotated[TimeParam | None, Query(description="Only up to then.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> ChangeList:
    """Newest first. There are no pages: when `truncated`, ask on with an earlier `until`."""
    rows = await backend.store.changes(entity=entity, since=since, until=until, limit=limit + 1)
    return ChangeList(
        items=[ChangeOut.model_validate(row) for row in rows[:limit]],
        truncated=len(rows) > limit,
    )
