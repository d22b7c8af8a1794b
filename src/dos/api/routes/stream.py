"""One stream of every decision, as server-sent events."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent

from dos.api.access import BackendDep, StoppingDep
from dos.api.errors import ProblemError, problems
from dos.api.event_schema import EVENT_OUT, event_out
from dos.api.stream import follow

router = APIRouter(tags=["stream"])

MAX_STREAMS = 200
"""Open streams at most; each costs a task and a batch of events, not more."""

EventType = Literal[
    "topology_changed",
    "change_seen",
    "feedback_changed",
    "anomaly_started",
    "anomaly_ended",
    "incident_changed",
    "alert_changed",
    "notification_queued",
]


async def _seat(request: Request) -> AsyncGenerator[None]:
    """Hold one of the `MAX_STREAMS` places while the stream is open."""
    open_streams: set[int] = request.state.open_streams
    if len(open_streams) >= MAX_STREAMS:
        detail = f"{MAX_STREAMS} streams are open already; close one or try again later."
        raise ProblemError(503, "too-many-streams", detail, retry_after=10)
    open_streams.add(id(request))
    try:
        yield
    finally:
        open_streams.discard(id(request))


async def _start(
    backend: BackendDep,
    after: Annotated[
        int | None,
        Query(ge=0, description="Begin behind this `seq`; 0 for all there are. Default: now."),
    ] = None,
    last_event_id: Annotated[
        int | None, Header(ge=0, description="As `after`; browsers send it on reconnecting.")
    ] = None,
) -> int:
    """Where the stream begins. A reconnect knows better than the address it was opened with."""
    newest = (await backend.store.position()).seq
    start = next((one for one in (last_event_id, after) if one is not None), newest)
    if start > newest:
        detail = (
            f"Event {start} does not exist: the last one is {newest}. The store is not the one "
            "that was followed before; load the state anew and stream without a position."
        )
        raise ProblemError(409, "position-beyond-end", detail)
    return start


@router.get(
    "/stream",
    operation_id="streamEvents",
    summary="Every decision as it is made",
    response_class=EventSourceResponse,
    responses=problems(409, 422, 503),
    dependencies=[Depends(_seat)],
)
async def stream_events(
    backend: BackendDep,
    stopping: StoppingDep,
    start: Annotated[int, Depends(_start)],
    type: Annotated[  # noqa: A002  the parameter's name on the wire
        list[EventType] | None, Query(description="Only these types; repeat for several.")
    ] = None,
) -> AsyncGenerator[ServerSentEvent]:
    """Server-sent events: `id` is the sequence number, `event` the type, `data` the event.

    Comments every 15 seconds keep the connection open. After a break, reconnect with the last
    `id` as `Last-Event-ID` (browsers do so by themselves): no event is lost or repeated.
    """
    # An answer at once, so that the client knows that it is connected before the first event.
    yield ServerSentEvent(comment="connected", retry=2000)
    async with aclosing(follow(backend, stopping, after=start, types=type)) as events:
        async for recorded in events:
            data = EVENT_OUT.dump_json(event_out(recorded)).decode()
            yield ServerSentEvent(raw_data=data, event=recorded.event.type, id=str(recorded.seq))
