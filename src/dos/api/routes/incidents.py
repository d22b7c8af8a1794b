"""Incidents: anomalies that belong together, with their ranked causes."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from dos.api.access import BackendDep
from dos.api.errors import not_found, problems
from dos.api.event_schema import EventOut, event_out
from dos.api.forecast_schema import ForecastOut
from dos.api.schemas import IncidentDetail, IncidentSummary, incident_summaries
from dos.api.timeline import incident_events
from dos.api.wire import MAX_SEQ, Listing, Page, TimeParam, decode_cursor, encode_cursor
from dos.kit.clock import Millis
from dos.model.ids import EntityId, IncidentId
from dos.model.incident import IncidentState

router = APIRouter(prefix="/incidents", tags=["incidents"])


class IncidentPage(Page[IncidentSummary]):
    """Incidents, newest first."""


class EventList(Listing[EventOut]):
    """Events, oldest first."""


@router.get("", operation_id="listIncidents", summary="List incidents", responses=problems(422))
async def list_incidents(  # noqa: PLR0917  every filter is a parameter of the query
    backend: BackendDep,
    state: Annotated[IncidentState | None, Query(description="Only in this state.")] = None,
    entity: Annotated[
        EntityId | None, Query(description="Only those in which this was abnormal.")
    ] = None,
    since: Annotated[TimeParam | None, Query(description="Only if not resolved before.")] = None,
    until: Annotated[TimeParam | None, Query(description="Only if opened before.")] = None,
    cursor: Annotated[
        str | None, Query(max_length=500, description="`next` of the page before.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> IncidentPage:
    """Newest first."""
    before: tuple[Millis, IncidentId] | None = None
    if cursor is not None:
        at, identity = decode_cursor(cursor)
        before = at, IncidentId(identity)
    rows = await backend.store.incidents(
        state=state, entity=entity, since=since, until=until, before=before, limit=limit + 1
    )
    page = rows[:limit]
    return IncidentPage(
        items=incident_summaries(page),
        next=encode_cursor(page[-1].opened_at, page[-1].id) if len(rows) > limit else None,
    )


@router.get(
    "/{incident_id}", operation_id="getIncident", summary="One incident", responses=problems(404)
)
async def get_incident(incident_id: IncidentId, backend: BackendDep) -> IncidentDetail:
    """One incident with every hypothesis, its evidence, the impact, and what is running out."""
    incident = await backend.store.incident(incident_id)
    if incident is None:
        raise not_found("incident", incident_id)
    forecasts: tuple[ForecastOut, ...] = ()
    if incident.state is IncidentState.OPEN:
        forecasts = tuple(
            ForecastOut.model_validate(one)
            for one in backend.forecasts()
            if one.entity in incident.entities
        )
    return IncidentDetail.model_validate(incident).model_copy(update={"forecasts": forecasts})


@router.get(
    "/{incident_id}/events",
    operation_id="listIncidentEvents",
    summary="An incident's timeline",
    responses=problems(404, 422),
)
async def list_incident_events(
    incident_id: IncidentId,
    backend: BackendDep,
    after: Annotated[
        int, Query(ge=0, le=MAX_SEQ, description="Only events beyond this `seq`.")
    ] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
) -> EventList:
    """What happened, oldest first: its anomalies, its own changes, its alerts and what was sent.

    When `truncated`, ask on with the last event's `seq` as `after`.
    """
    incident = await backend.store.incident(incident_id)
    if incident is None:
        raise not_found("incident", incident_id)
    rows = await incident_events(backend.store, incident, after=after, limit=limit + 1)
    return EventList(items=[event_out(row) for row in rows[:limit]], truncated=len(rows) > limit)
