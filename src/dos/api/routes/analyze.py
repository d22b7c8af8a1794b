"""`/analyze`: anomalies and their ranked causes, of the present or of posted series."""

from __future__ import annotations

from typing import Annotated, Literal

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Body, Request
from pydantic import Field

from dos.api.access import BackendDep
from dos.api.backend import Analysis, Backend
from dos.api.errors import ProblemError, problems
from dos.api.impact_schema import ImpactOut
from dos.api.posted import AnalyzeRequest
from dos.api.schemas import AnomalyOut, IncidentOut, RootCauseOut
from dos.api.wire import Time, Wire
from dos.model.incident import IncidentState

router = APIRouter(tags=["analysis"])

MAX_RUNNING = 2
"""Analyses computed at once; more would only slow each other and the pipeline."""

_MAX_WAITING = 8


class AnalysisOut(Wire):
    """What is abnormal, and why."""

    scope: Literal["posted", "present"]
    at: Time
    anomalies: list[AnomalyOut] = Field(
        description="Of posted series: most deviating first, `series_id` is the position in "
        "`series`. Of the present: those that last, newest first."
    )
    root_cause: RootCauseOut | None = Field(
        description="Of posted series: the ranked causes; null when nothing is abnormal."
    )
    impact: ImpactOut | None = Field(
        default=None,
        description="Of posted series: who is affected, with the requests that failed or were "
        "slow; null when nothing is abnormal.",
    )
    incidents: list[IncidentOut] = Field(
        description="Of the present: open incidents with their ranked causes, newest first."
    )


@router.post(
    "/analyze",
    operation_id="analyze",
    summary="Anomalies and ranked causes",
    responses=problems(400, 413, 415, 422, 503),
)
async def analyze(
    request: Request,
    backend: BackendDep,
    posted: Annotated[AnalyzeRequest | None, Body()] = None,
) -> AnalysisOut:
    """Find what is abnormal and rank the causes.

    With a body: in the posted series; nothing of them is kept. Without a body: at present, with
    the open incidents and their causes.
    """
    if posted is None:
        return await _present(backend)
    limiter: CapacityLimiter = request.state.analyses
    if limiter.statistics().tasks_waiting >= _MAX_WAITING:
        detail = "Several analyses are running and waiting already."
        raise ProblemError(503, "busy", detail, retry_after=10)
    analysis = await to_thread.run_sync(_analyze, backend, posted, limiter=limiter)
    cause, impact = analysis.root_cause, analysis.impact
    return AnalysisOut(
        scope="posted",
        at=backend.clock.now(),
        anomalies=[AnomalyOut.model_validate(anomaly) for anomaly in analysis.anomalies],
        root_cause=None if cause is None else RootCauseOut.model_validate(cause),
        impact=None if impact is None else ImpactOut.model_validate(impact),
        incidents=[],
    )


def _analyze(backend: Backend, posted: AnalyzeRequest) -> Analysis:
    return backend.analyze(posted.case())


async def _present(backend: Backend) -> AnalysisOut:
    anomalies = await backend.store.anomalies(active=True)
    incidents = await backend.store.incidents(state=IncidentState.OPEN)
    return AnalysisOut(
        scope="present",
        at=backend.clock.now(),
        anomalies=[AnomalyOut.model_validate(anomaly) for anomaly in anomalies],
        root_cause=None,
        incidents=[IncidentOut.model_validate(incident) for incident in incidents],
    )
