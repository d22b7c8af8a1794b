"""Who is on call, now and in the weeks to come."""

from __future__ import annotations

from fastapi import APIRouter, Response
from pydantic import Field

from dos.alerting.ical import written
from dos.api.access import BackendDep
from dos.api.errors import not_found, problems
from dos.api.wire import Time, Wire
from dos.kit.clock import DAY, Millis

router = APIRouter(prefix="/oncall", tags=["alerts"])
_BACK, _AHEAD = 7 * DAY, 90 * DAY
_CALENDAR = "text/calendar"


class ShiftOut(Wire):
    """A stretch of time in which somebody is on call."""

    person: str = Field(description="Name of the receiver.")
    start: Time
    end: Time
    why: str = Field(description="The layer, `override`, or the calendar.")


class ScheduleOut(Wire):
    """A schedule and who is on call in it now."""

    name: str
    on_call: tuple[ShiftOut, ...] = Field(description="Empty when nobody is.")


class ScheduleList(Wire):
    """All schedules, as they are configured."""

    items: tuple[ScheduleOut, ...]


@router.get("", operation_id="listOnCall", summary="Who is on call now")
async def list_on_call(backend: BackendDep) -> ScheduleList:
    """Each schedule with who is on call in it now, and until when."""
    found = backend.desk.on_call()
    return ScheduleList(
        items=tuple(
            ScheduleOut(
                name=name, on_call=tuple(ShiftOut.model_validate(shift) for shift in shifts)
            )
            for name, shifts in found
        )
    )


@router.get(
    "/{name}.ics",
    operation_id="getOnCallCalendar",
    summary="A schedule as a calendar",
    response_class=Response,
    responses={
        200: {
            "description": "An iCalendar file.",
            "content": {_CALENDAR: {"schema": {"type": "string"}}},
        },
        **problems(404),
    },
)
async def get_calendar(name: str, backend: BackendDep) -> Response:
    """The last week and the next 90 days, for calendar programs to subscribe to."""
    now = backend.clock.now()
    try:
        shifts = backend.desk.shifts(name, Millis(now - _BACK), Millis(now + _AHEAD))
    except KeyError:
        raise not_found("schedule", name) from None
    return Response(written(name, shifts, now), media_type=f"{_CALENDAR}; charset=utf-8")
