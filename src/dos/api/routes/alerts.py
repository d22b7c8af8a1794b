"""Alerts and the ledger of what was sent about them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from dos.api.access import BackendDep
from dos.api.alert_schema import AcknowledgementOut, AlertDetail, AlertOut, DecisionOut, DeliveryOut
from dos.api.auth import Writer
from dos.api.backend import Backend
from dos.api.errors import ProblemError, not_found, problems
from dos.api.wire import Page, decode_cursor, encode_cursor
from dos.ingest.base import Delivery
from dos.kit.clock import Millis
from dos.model.alert import Acknowledgement, Alert, AlertState, Phase
from dos.model.ids import AlertId, IncidentId

router = APIRouter(prefix="/alerts", tags=["alerts"])


class AlertPage(Page[AlertOut]):
    """Alerts, newest first."""


@router.get("", operation_id="listAlerts", summary="List alerts", responses=problems(422))
async def list_alerts(
    backend: BackendDep,
    state: Annotated[AlertState | None, Query(description="Only in this state.")] = None,
    incident: Annotated[IncidentId | None, Query(description="Only of this incident.")] = None,
    cursor: Annotated[
        str | None, Query(max_length=500, description="`next` of the page before.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> AlertPage:
    """Newest first."""
    before: tuple[Millis, AlertId] | None = None
    if cursor is not None:
        at, identity = decode_cursor(cursor)
        before = at, AlertId(identity)
    rows = await backend.store.alerts(
        state=state, incident=incident, before=before, limit=limit + 1
    )
    page = rows[:limit]
    quiet = _quiet(backend, page)
    return AlertPage(
        items=[
            AlertOut.model_validate(row).model_copy(update={"suppressed": row.id in quiet})
            for row in page
        ],
        next=encode_cursor(page[-1].starts_at, page[-1].id) if len(rows) > limit else None,
    )


@router.get("/{alert_id}", operation_id="getAlert", summary="One alert", responses=problems(404))
async def get_alert(alert_id: AlertId, backend: BackendDep) -> AlertDetail:
    """One alert, who was told of it or not and why, and what became of each notification."""
    alert = await backend.store.alert(alert_id)
    if alert is None:
        raise not_found("alert", alert_id)
    rows = await backend.store.ledger(alert_id)
    return AlertDetail.model_validate(alert).model_copy(
        update={
            "suppressed": bool(_quiet(backend, [alert])),
            "notifications": tuple(DeliveryOut.of(row) for row in rows),
            "decisions": tuple(DecisionOut.of(one) for one in backend.desk.explain(alert_id)),
        }
    )


def _quiet(backend: Backend, alerts: Sequence[Alert]) -> set[AlertId]:
    """Those of which nobody is told now."""
    firing = {one.id for one in alerts if one.state is AlertState.FIRING}
    if not firing:
        return set()
    seen = (one for one in backend.desk.alerts() if one.alert.id in firing)
    return {one.alert.id for one in seen if one.silenced_by or one.inhibited_by}


class AcknowledgementIn(BaseModel):
    """Who is on an alert."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    author: str = Field(min_length=1, max_length=100, examples=["ann"], description="Who is.")
    note: str = Field(default="", max_length=2000, description="What is being done.")
    phase: Phase = Field(default=Phase.ACKNOWLEDGED, description="How far they have come.")


@router.post(
    "/{alert_id}/acknowledge",
    operation_id="acknowledgeAlert",
    summary="Say that somebody is on it",
    status_code=202,
    dependencies=[Writer],
    openapi_extra={"security": [{}]},  # beside the token: none configured, none needed
    responses=problems(400, 401, 403, 404, 409, 413, 415, 422, 503),
)
async def acknowledge(
    alert_id: AlertId, said: AcknowledgementIn, backend: BackendDep
) -> AcknowledgementOut:
    """It is not repeated, nor told to anybody further; that it is over is told all the same.

    It counts from the pipeline's next step on.
    """
    if not backend.desk.fires(alert_id):
        if await backend.store.alert(alert_id) is None:
            raise not_found("alert", alert_id)
        raise ProblemError(409, "already-over", f"{alert_id} is over already.")
    one = Acknowledgement(
        alert=alert_id, by=said.author, at=backend.clock.now(), note=said.note, phase=said.phase
    )
    if not await backend.submit(Delivery(acknowledgements=(one,))):
        detail = "The pipeline has no room now; nothing was taken. Send it again later."
        raise ProblemError(503, "queue-full", detail, retry_after=5)
    return AcknowledgementOut.model_validate(one)
