"""Services: the entities of the watched system now."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query

from dos.api.access import BackendDep
from dos.api.errors import not_found, problems
from dos.api.schemas import SeriesOut, ServiceOut, ServiceSummary
from dos.api.wire import Listing
from dos.model.ids import EntityId
from dos.model.overview import Health

router = APIRouter(prefix="/services", tags=["services"])

# `{service:path}`: an id such as `shop/checkout` may be written as it is or as `shop%2Fcheckout`.
ServiceId = Annotated[
    EntityId, Path(alias="service", description="Id of the service", examples=["shop/checkout"])
]


class ServiceList(Listing[ServiceSummary]):
    """Services, sorted by id."""


class SeriesList(Listing[SeriesOut]):
    """Series of one service, oldest first."""


@router.get("", operation_id="listServices", summary="List services", responses=problems(422))
async def list_services(
    backend: BackendDep,
    health: Annotated[list[Health] | None, Query(description="Only in one of these.")] = None,
    search: Annotated[
        str | None, Query(max_length=200, description="Only ids that contain this.")
    ] = None,
) -> ServiceList:
    """Every known entity with its health and worst reading per role, sorted by id."""
    return ServiceList(
        items=[
            ServiceSummary.of(status)
            for status in backend.services()
            if (not health or status.health in health)
            and (search is None or search.casefold() in status.entity.id.casefold())
        ]
    )


# Before the next route, whose path would swallow it.
@router.get(
    "/{service:path}/series",
    operation_id="listServiceSeries",
    summary="List a service's series",
    responses=problems(404),
)
async def list_service_series(service: ServiceId, backend: BackendDep) -> SeriesList:
    """The series of one entity, oldest first."""
    ids = backend.registry.of_entity(service)
    if not ids and backend.service(service) is None:
        raise not_found("service", service)
    return SeriesList(items=[SeriesOut.of(backend.registry[one]) for one in ids])


@router.get(
    "/{service:path}",
    operation_id="getService",
    summary="One service",
    responses=problems(404),
)
async def get_service(service: ServiceId, backend: BackendDep) -> ServiceOut:
    """One entity now: every reading, its open incidents, callers and callees."""
    status = backend.service(service)
    if status is None:
        raise not_found("service", service)
    return ServiceOut.model_validate(status)
