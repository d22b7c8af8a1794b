"""`/health`: how the watched system is doing, in one answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from fastapi import APIRouter
from pydantic import Field

from dos.api.access import BackendDep
from dos.api.schemas import IncidentSummary, incident_summaries
from dos.api.wire import Number, Time, Wire
from dos.kit.clock import SECOND
from dos.model.incident import IncidentState
from dos.model.overview import Health, ServiceStatus

router = APIRouter(tags=["status"])

_SHOWN = 20
_COUNTED = 1000


class HealthOut(Wire):
    """The watched system at a glance."""

    verdict: Health = Field(
        description="`critical`: an incident is open; `warning`: something is abnormal; "
        "`unknown`: nothing reports."
    )
    services: dict[Health, int] = Field(description="How many services are in which health.")
    open_incidents: int = Field(description=f"At most {_COUNTED} are counted.")
    incidents: list[IncidentSummary] = Field(description=f"The newest {_SHOWN} open ones.")
    last_sample_at: Time | None
    last_sample_age_seconds: Number
    last_event_seq: int = Field(description="Where the stream stands: start it with `after=`.")
    at: Time
    started_at: Time
    uptime_seconds: Number
    version: str


def _verdict(services: Sequence[ServiceStatus], open_incidents: int) -> Health:
    """The worst that is known; silence is never shown as health."""
    seen = {service.health for service in services}
    if open_incidents or Health.CRITICAL in seen:
        return Health.CRITICAL
    for health in (Health.WARNING, Health.OK, Health.IDLE):
        if health in seen:
            return health
    return Health.UNKNOWN


@router.get("/health", operation_id="getHealth", summary="How is the watched system?")
async def health(backend: BackendDep) -> HealthOut:
    """Summarise services and open incidents; whether DOS itself is well says `/readyz`."""
    seq = (await backend.store.position()).seq  # first: what follows is at least as new
    opened = await backend.store.incidents(state=IncidentState.OPEN, limit=_COUNTED)
    services = backend.services()
    now = backend.clock.now()
    newest = max((s.last_sample_at for s in services if s.last_sample_at is not None), default=None)
    counts = Counter(service.health for service in services)
    return HealthOut(
        verdict=_verdict(services, len(opened)),
        services={health: counts[health] for health in Health},
        open_incidents=len(opened),
        incidents=incident_summaries(opened[:_SHOWN]),
        last_sample_at=newest,
        last_sample_age_seconds=None if newest is None else max(0, now - newest) / SECOND,
        last_event_seq=seq,
        at=now,
        started_at=backend.started_at,
        uptime_seconds=(now - backend.started_at) / SECOND,
        version=backend.version,
    )
