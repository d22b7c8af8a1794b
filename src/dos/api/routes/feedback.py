"""Feedback: what people say about decisions, and planned work."""

from __future__ import annotations

import math
from typing import Annotated, Self

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field, model_validator

from dos.api.access import BackendDep
from dos.api.auth import Writer
from dos.api.backend import Backend
from dos.api.errors import ProblemError, not_found, problems
from dos.api.posted import PostedTime
from dos.api.schemas import FeedbackOut
from dos.api.wire import Listing, TimeParam
from dos.ingest.base import Delivery
from dos.kit.clock import DAY, Millis
from dos.model.anomaly import Anomaly
from dos.model.feedback import Feedback, FeedbackKind, Signal
from dos.model.ids import AnomalyId, FeedbackId, IncidentId, derive_id

router = APIRouter(prefix="/feedback", tags=["feedback"])

_MOST_ANOMALIES = 1000
_AROUND = DAY
"""How far around an incident its anomalies are looked for in the store."""
_LONGEST = 366 * DAY
_Name = Annotated[str, Field(min_length=1, max_length=256)]


class FeedbackIn(BaseModel):
    """Something to be said: about an incident, an anomaly, or entities in a stretch of time."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: FeedbackKind = Field(
        description="`false`: nothing was wrong; `confirmed`: it was right; `missed`: something "
        "was wrong and nobody was told; `maintenance`: open no incidents on these entities."
    )
    author: str = Field(min_length=1, max_length=100, examples=["ann"], description="Who says it.")
    note: str = Field(default="", max_length=2000, description="Why.")
    incident_id: IncidentId | None = Field(default=None, max_length=100)
    anomaly_id: AnomalyId | None = Field(default=None, max_length=100)
    entities: tuple[_Name, ...] = Field(
        default=(), max_length=1000, description="Ids; of maintenance also patterns (`shop/*`)."
    )
    start: PostedTime | None = Field(default=None, description="Else that of the incident.")
    end: PostedTime | None = None

    @model_validator(mode="after")
    def _about_something(self) -> Self:
        if self.incident_id is not None and self.anomaly_id is not None:
            msg = "name an incident or an anomaly, not both"
            raise ValueError(msg)
        subject = self.incident_id is not None or self.anomaly_id is not None
        if self.kind in {FeedbackKind.MISSED, FeedbackKind.MAINTENANCE} and subject:
            msg = f"{self.kind.value} is about entities and a stretch of time"
            raise ValueError(msg)
        if not subject and not (self.entities and self.start is not None and self.end is not None):
            msg = "say what it is about: an incident, an anomaly, or entities with start and end"
            raise ValueError(msg)
        if self.start is not None and self.end is not None:
            if not self.start < self.end:
                msg = "end must be after start"
                raise ValueError(msg)
            if self.end - self.start > _LONGEST:
                msg = "a stretch of time is a year at most"
                raise ValueError(msg)
        return self


class FeedbackList(Listing[FeedbackOut]):
    """Feedback, newest first."""


@router.get("", operation_id="listFeedback", summary="List feedback", responses=problems(422))
async def list_feedback(
    backend: BackendDep,
    kind: Annotated[FeedbackKind | None, Query(description="Only of this kind.")] = None,
    holds: Annotated[bool | None, Query(description="true: without what was undone.")] = None,
    since: Annotated[TimeParam | None, Query(description="Only about times from then on.")] = None,
    until: Annotated[TimeParam | None, Query(description="Only about times up to then.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> FeedbackList:
    """Newest first, with who undid what and why. Every change of it is also in the event stream."""
    rows = await backend.store.feedback(
        kind=kind, holds=holds, since=since, until=until, limit=limit + 1
    )
    return FeedbackList(
        items=[FeedbackOut.model_validate(row) for row in rows[:limit]],
        truncated=len(rows) > limit,
    )


@router.get(
    "/{feedback_id}", operation_id="getFeedback", summary="One entry", responses=problems(404)
)
async def get_feedback(feedback_id: FeedbackId, backend: BackendDep) -> FeedbackOut:
    """One piece of feedback as it stands now."""
    found = await backend.store.feedback_entry(feedback_id)
    if found is None:
        raise not_found("feedback", feedback_id)
    return FeedbackOut.model_validate(found)


@router.post(
    "",
    operation_id="giveFeedback",
    summary="Say that a decision was right, wrong or missing, or plan work",
    status_code=202,
    dependencies=[Writer],
    openapi_extra={"security": [{}]},  # beside the token: none configured, none needed
    responses=problems(400, 401, 403, 404, 413, 415, 422, 503),
)
async def give_feedback(
    backend: BackendDep,
    said: FeedbackIn,
    dry_run: Annotated[bool, Query(description="Only show what it would be about.")] = False,
) -> FeedbackOut:
    """Hand it to the pipeline, which takes it in like any other input, so that it is recorded.

    It counts from the pipeline's next step on; the answer has its id. What it would change can be
    tried on the past first, with `dos feedback add --dry-run`.
    """
    feedback = await _about(backend, said)
    if not dry_run:
        _hand_over(backend, feedback)
    return FeedbackOut.model_validate(feedback)


@router.delete(
    "/{feedback_id}",
    operation_id="undoFeedback",
    summary="Undo feedback",
    status_code=202,
    dependencies=[Writer],
    openapi_extra={"security": [{}]},
    responses=problems(401, 403, 404, 409, 422, 503),
)
async def undo_feedback(
    feedback_id: FeedbackId,
    backend: BackendDep,
    author: Annotated[str, Query(min_length=1, max_length=100, description="Who undoes it.")],
    note: Annotated[str, Query(max_length=2000, description="Why.")] = "",
) -> FeedbackOut:
    """From the next step on it is as if it had not been said; the entry stays, marked as undone."""
    found = await backend.store.feedback_entry(feedback_id)
    if found is None:
        raise not_found("feedback", feedback_id)
    if not found.holds:
        detail = f"{feedback_id} was undone by {found.undone_by!r} already."
        raise ProblemError(409, "already-undone", detail)
    undone = found.undone(at=backend.clock.now(), by=author, note=note)
    _hand_over(backend, undone)
    return FeedbackOut.model_validate(undone)


def _hand_over(backend: Backend, feedback: Feedback) -> None:
    if not backend.offer(Delivery(feedback=(feedback,))):
        detail = "The pipeline has no room now; nothing was taken. Send it again later."
        raise ProblemError(503, "queue-full", detail, retry_after=5)


async def _about(backend: Backend, said: FeedbackIn) -> Feedback:
    """The feedback with entities, time and signals of what it is about.

    Raises:
        ProblemError: 404 when there is no such incident or anomaly.
    """
    now = backend.clock.now()
    entities, start, end = said.entities, said.start, said.end
    signals: tuple[Signal, ...] = ()
    if said.incident_id is not None:
        incident = await backend.store.incident(said.incident_id)
        if incident is None:
            raise not_found("incident", said.incident_id)
        over = incident.resolved_at or now
        anomalies = [
            one
            for one in await _anomalies(backend, incident.began_at, over)
            if one.id in incident.anomalies
        ]
        entities = entities or tuple(incident.entities)
        start, end = start or incident.began_at, end or over
        signals = _signals(backend, anomalies)
    elif said.anomaly_id is not None:
        anomaly = next(iter(await _find(backend, said)), None)
        if anomaly is None:
            raise not_found("anomaly", said.anomaly_id)
        entities = entities or (anomaly.entity,)
        start, end = start or anomaly.started_at, end or anomaly.ended_at or now
        signals = _signals(backend, [anomaly])
    begins = Millis(start or 0)
    ends = Millis(max(begins + 1, end or 0))
    subject = said.incident_id or said.anomaly_id or ",".join(entities)
    return Feedback(
        id=FeedbackId(derive_id("fb", said.kind, said.author, now, subject, begins, ends)),
        kind=said.kind,
        author=said.author,
        given_at=now,
        note=said.note,
        entities=tuple(entities),
        start=begins,
        end=ends,
        incident_id=said.incident_id,
        anomaly_id=said.anomaly_id,
        signals=signals,
    )


async def _anomalies(backend: Backend, start: Millis, end: Millis) -> list[Anomaly]:
    since, until = Millis(max(0, start - _AROUND)), Millis(end + _AROUND)
    rows = await backend.store.anomalies(since=since, until=until, limit=_MOST_ANOMALIES)
    return list(rows)


async def _find(backend: Backend, said: FeedbackIn) -> list[Anomaly]:
    """The anomaly named; looked for about the time given, else among the newest."""
    if said.start is not None:
        rows = await _anomalies(backend, Millis(said.start), Millis(said.end or said.start))
    else:
        rows = list(await backend.store.anomalies(limit=_MOST_ANOMALIES))
    return [one for one in rows if one.id == said.anomaly_id]


def _signals(backend: Backend, anomalies: list[Anomaly]) -> tuple[Signal, ...]:
    """The series of these anomalies, each once with its worst strength."""
    worst: dict[int, float] = {}
    for one in anomalies:
        if one.series_id < len(backend.registry):
            # A score of 1 would be endlessly far away: nothing a threshold could be raised to.
            strength = -math.log2(max(1.0 - one.score, 1e-9))
            worst[one.series_id] = max(strength, worst.get(one.series_id, 0.0))
    found = []
    for series_id, strength in sorted(worst.items()):
        spec = backend.registry[series_id].spec
        found.append(
            Signal(entity=spec.entity, metric=spec.metric, labels=spec.labels, strength=strength)
        )
    return tuple(found)
