"""The simulations among the sources: what is wrong in them, and breaking and mending them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field

from dos.api.access import BackendDep
from dos.api.auth import Writer
from dos.api.errors import ProblemError, problems
from dos.api.simulation import ActionOrder, FaultOrder, Simulators
from dos.api.wire import Listing, Number, Time, Wire
from dos.kit.duration import Duration
from dos.model.ids import EntityId

router = APIRouter(prefix="/simulation", tags=["simulation"])

_DAY = 86_400.0
_SOURCE = Field(
    default=None,
    max_length=128,
    description="Name of the simulator source; needed where there are several.",
)


def _simulators(backend: BackendDep) -> Simulators:
    """The simulations.

    Raises:
        ProblemError: 404 where DOS watches no simulation.
    """
    found = backend.simulators
    if found is None:
        detail = (
            "No source of this DOS is a simulation. Configure one with `type: simulator`, "
            "or run `dos demo`."
        )
        raise ProblemError(404, "no-simulator", detail)
    return found


SimulatorsDep = Annotated[Simulators, Depends(_simulators)]


class SimulatedFaultOut(Wire):
    """Something that was broken in a simulation, and the truth about it."""

    id: str
    source: str
    type: str
    label: str = Field(description="As people call it.")
    target: EntityId
    severity: float
    harmless: bool = Field(description="True when it only looks like an incident.")
    start: Time
    visible_at: Time | None = Field(description="When the first service was affected.")
    mitigated_at: Time | None = Field(description="When its recovery began.")
    end: Time | None = Field(description="When nothing of it was left; null while it runs.")
    affected: tuple[EntityId, ...] = Field(
        description="Services that would have looked different without it, first affected first."
    )
    causes: tuple[EntityId, ...] = Field(description="Right answers when asked for the cause.")


class SimulatedActionOut(Wire):
    """A remediation that was taken in a simulation, and what came of it so far."""

    source: str
    at: Time
    kind: str
    target: EntityId
    replicas: int | None
    cured: tuple[str, ...] = Field(description="Ids of the faults whose cause it removed.")
    helped: bool | None = Field(
        description="Whether callers suffered clearly less for it, or (false) clearly more."
    )
    suffered: Number = Field(
        description="Requests of users, and a tenth of the calls within, that failed or were slow."
    )
    suffered_without: Number = Field(description="The same, had it not been taken.")
    watched_seconds: Number = Field(description="Over which both were counted so far.")


class FaultKindOut(Wire):
    """A type of fault, and what it can hit."""

    type: str
    label: str
    description: str
    harmless: bool
    cures: tuple[str, ...] = Field(description="Actions on its target that remove its cause.")
    targets: tuple[EntityId, ...] = Field(description="The first 100 of them.")
    target_count: int


class SimulatorOut(Wire):
    """One simulation."""

    source: str
    world: str
    now: Time
    step_seconds: float
    services: int
    machines: int
    live: bool = Field(description="False while it still delivers its healthy past.")
    faults: tuple[SimulatedFaultOut, ...] = Field(description="Newest first, 1,000 at most.")
    actions: tuple[SimulatedActionOut, ...] = Field(description="Newest first, 1,000 at most.")
    kinds: tuple[FaultKindOut, ...] = Field(description="What can be broken in its world.")


class SimulationOut(Wire):
    """Every simulation that DOS watches, with the truth that its pipeline does not know."""

    simulators: list[SimulatorOut]


class FaultIn(BaseModel):
    """A fault to be triggered."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str | None = _SOURCE
    type: str = Field(max_length=64, examples=["cpu_spike"], description="One of `kinds`.")
    target: str = Field(
        max_length=256, examples=["payment-service"], description="A service, node or zone."
    )
    severity: float = Field(default=0.7, gt=0, le=1)
    duration: Duration = Field(
        default=180.0, gt=0, le=_DAY, description="Until the recovery begins."
    )
    ramp: Duration | None = Field(
        default=None, le=_DAY, description="To full strength; else what is usual for the type."
    )
    recovery: Duration | None = Field(
        default=None, le=_DAY, description="Until it is gone; else what is usual for the type."
    )


class ActionIn(BaseModel):
    """A remediation to be taken."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str | None = _SOURCE
    kind: str = Field(
        max_length=64,
        examples=["rollback"],
        description="scale, restart, rollback, flag_off, failover or drain.",
    )
    target: str = Field(
        max_length=256, examples=["catalog-service"], description="A service; for drain a node."
    )
    replicas: int | None = Field(default=None, ge=1, le=1000, description="Wanted of scale.")


class ClearedList(Listing[SimulatedFaultOut]):
    """Faults that were running and recover now."""


@router.get(
    "",
    operation_id="getSimulation",
    summary="Simulations and the truth about them",
    responses=problems(404),
)
async def get_simulation(simulators: SimulatorsDep) -> SimulationOut:
    """Each simulated source with its world, what can be broken there, and what was."""
    return SimulationOut(
        simulators=[SimulatorOut.model_validate(one) for one in simulators.statuses()]
    )


@router.post(
    "/faults",
    operation_id="injectFault",
    summary="Break something in a simulation",
    status_code=201,
    dependencies=[Writer],
    openapi_extra={"security": [{}]},  # beside the token: none configured, none needed
    responses=problems(400, 401, 403, 404, 413, 415, 422, 503),
)
async def inject_fault(simulators: SimulatorsDep, fault: FaultIn) -> SimulatedFaultOut:
    """Trigger a fault; it takes effect with the simulation's next step.

    Only what the source delivers changes. The pipeline is told nothing, and its input is recorded
    as ever. A restart of DOS does not bring the fault back.
    """
    order = FaultOrder(**fault.model_dump())
    return SimulatedFaultOut.model_validate(simulators.inject(order))


@router.delete(
    "/faults",
    operation_id="clearFaults",
    summary="Let the faults of simulations recover",
    dependencies=[Writer],
    openapi_extra={"security": [{}]},
    responses=problems(401, 403, 404, 422),
)
async def clear_faults(
    simulators: SimulatorsDep,
    source: Annotated[
        str | None, Query(max_length=128, description="Only those of this simulator.")
    ] = None,
) -> ClearedList:
    """Let everything that runs recover from the next step on; the answer names it."""
    cleared = simulators.clear(source)
    return ClearedList(items=[SimulatedFaultOut.model_validate(one) for one in cleared])


@router.post(
    "/actions",
    operation_id="takeSimulatedAction",
    summary="Take a remediation in a simulation",
    status_code=201,
    dependencies=[Writer],
    openapi_extra={"security": [{}]},
    responses=problems(400, 401, 403, 404, 413, 415, 422, 503),
)
async def take_action(simulators: SimulatorsDep, action: ActionIn) -> SimulatedActionOut:
    """Scale, restart, roll back, turn a flag off, fail over or drain, rightly or harmfully.

    It takes effect with the next step. What comes of it is counted against the same world without
    it, for three minutes, and is told by `GET /api/v1/simulation`.
    """
    order = ActionOrder(**action.model_dump())
    return SimulatedActionOut.model_validate(simulators.act(order))
