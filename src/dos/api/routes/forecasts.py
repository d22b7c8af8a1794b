"""Forecasts: what runs out, and when."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from dos.api.access import BackendDep
from dos.api.errors import problems
from dos.api.forecast_schema import ForecastOut
from dos.api.wire import Listing
from dos.model.forecast import ForecastKind, ForecastState
from dos.model.ids import EntityId

router = APIRouter(prefix="/forecasts", tags=["forecasts"])


class ForecastList(Listing[ForecastOut]):
    """Forecasts, soonest first."""


@router.get("", operation_id="listForecasts", summary="What runs out", responses=problems(422))
async def list_forecasts(
    backend: BackendDep,
    entity: Annotated[EntityId | None, Query(description="Only of this entity.")] = None,
    kind: Annotated[ForecastKind | None, Query(description="Only of this kind.")] = None,
    alarms: Annotated[
        bool, Query(description="true: only those with an alarm; false: all that grow.")
    ] = False,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> ForecastList:
    """Everything that is on its way to its limit now, soonest first."""
    found = [
        one
        for one in backend.forecasts()
        if entity in {None, one.entity}
        and kind in {None, one.kind}
        and (not alarms or one.state is not ForecastState.WATCHED)
    ]
    return ForecastList(
        items=[ForecastOut.model_validate(one) for one in found[:limit]],
        truncated=len(found) > limit,
    )
