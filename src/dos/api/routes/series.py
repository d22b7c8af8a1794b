"""Series and their samples."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from dos.api.access import BackendDep
from dos.api.errors import invalid, not_found, problems
from dos.api.resample import MAX_POINTS, choose_step, resample
from dos.api.schemas import SeriesOut
from dos.api.wire import (
    Number,
    Page,
    StepParam,
    Time,
    TimeParam,
    Wire,
    decode_cursor,
    encode_cursor,
)
from dos.kit.clock import HOUR, SECOND, Millis
from dos.model.ids import EntityId, SeriesId
from dos.model.telemetry import Role

router = APIRouter(prefix="/series", tags=["series"])


class SamplesOut(Wire):
    """Samples of one series on an even grid, in columns of equal length.

    Slot `i` covers `[times[i], times[i] + step_seconds)`; without a sample all three are null.
    """

    series: SeriesOut
    start: Time
    end: Time
    step_seconds: float = Field(description="Width of a slot.")
    times: tuple[Time, ...]
    values: tuple[Number, ...] = Field(description="Mean of the slot's samples.")
    low: tuple[Number, ...] = Field(description="Least of them.")
    high: tuple[Number, ...] = Field(description="Greatest of them.")


class SeriesPage(Page[SeriesOut]):
    """Series, in order of first sight."""


@router.get("", operation_id="listSeries", summary="List series", responses=problems(422))
async def list_series(
    backend: BackendDep,
    entity: Annotated[EntityId | None, Query(description="Only of this entity.")] = None,
    metric: Annotated[str | None, Query(description="Only of this metric.")] = None,
    role: Annotated[list[Role] | None, Query(description="Only in one of these roles.")] = None,
    cursor: Annotated[
        str | None, Query(max_length=500, description="`next` of the page before.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> SeriesPage:
    """Every series DOS knows, in order of first sight."""
    registry = backend.registry
    first = 0 if cursor is None else decode_cursor(cursor)[0] + 1
    ids = range(len(registry)) if entity is None else registry.of_entity(entity)
    rows = []
    for one in ids:
        spec = registry[one].spec
        if one < first or metric not in {None, spec.metric} or (role and spec.role not in role):
            continue
        rows.append(registry[one])
        if len(rows) > limit:
            break
    page = rows[:limit]
    more = len(rows) > limit
    return SeriesPage(
        items=[SeriesOut.of(series) for series in page],
        next=encode_cursor(Millis(page[-1].id), "series") if more else None,
    )


@router.get(
    "/{series_id}/samples",
    operation_id="getSamples",
    summary="Samples of a series",
    responses=problems(404, 422),
)
async def get_samples(
    series_id: int,
    backend: BackendDep,
    start: Annotated[TimeParam | None, Query(description="Default: an hour before `end`.")] = None,
    end: Annotated[TimeParam | None, Query(description="Default: now.")] = None,
    step: Annotated[
        StepParam | None,
        Query(
            description=f"Width of a slot; default: so that there are at most {MAX_POINTS // 10}."
        ),
    ] = None,
) -> SamplesOut:
    """What is kept of `[start, end]`, as mean, least and greatest value per step.

    A step below the history's resolution is widened to it.
    """
    registry = backend.registry
    if not 0 <= series_id < len(registry):
        raise not_found("series", series_id)
    now = backend.clock.now()
    last = max(now, start or now) if end is None else end
    first = Millis(max(0, last - HOUR)) if start is None else start
    if first > last:
        raise invalid("query.start", "lies after the end")
    window = backend.samples([SeriesId(series_id)], first, last)
    width = choose_step(window.times, None if step is None else round(step * SECOND))
    slots = resample(window.times, window.values[:, 0], width)
    return SamplesOut(
        series=SeriesOut.of(registry[series_id]),
        start=first,
        end=last,
        step_seconds=width / SECOND,
        times=tuple(slots.times.tolist()),
        values=tuple(slots.mean.tolist()),
        low=tuple(slots.low.tolist()),
        high=tuple(slots.high.tolist()),
    )
