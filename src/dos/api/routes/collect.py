"""`/collect-metrics`: telemetry pushed to DOS as JSON."""

from __future__ import annotations

from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Body
from pydantic import Field, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from dos.api.access import BackendDep
from dos.api.auth import Writer
from dos.api.errors import ProblemError, invalid, problems
from dos.api.wire import Wire
from dos.ingest.samples import MAX_SAMPLES, PushedSample, read_samples

router = APIRouter(tags=["ingest"])

_MAX_REASONS = 100


class _LikeSample:
    """Takes any JSON value and describes it in the OpenAPI document as a `PushedSample`.

    Checking is `read_samples`' to do, which refuses single samples and not the whole list.
    """

    def __get_pydantic_json_schema__(
        self, _: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return handler(PushedSample.__pydantic_core_schema__)


class Refusal(Wire):
    """Why one posted sample was not taken."""

    index: int = Field(description="Its position in the posted list, from 0.")
    reason: str


class Collected(Wire):
    """What became of a posted list."""

    accepted: int
    refused: int
    refusals: list[Refusal] = Field(description=f"The first {_MAX_REASONS} of them.")


_EXAMPLE = [
    {"service": "checkout", "metric": "latency_p95", "value": 184, "unit": "ms"},
    {
        "entity": "shop/cart",
        "metric": "error_ratio",
        "value": 0.02,
        "role": "errors",
        "timestamp": "2026-11-23T14:30:00Z",
    },
]


@router.post(
    "/collect-metrics",
    operation_id="collectMetrics",
    summary="Push samples",
    dependencies=[Writer],
    openapi_extra={"security": [{}]},  # beside the token: none configured, none needed
    responses=problems(400, 401, 403, 413, 415, 422, 503),
)
async def collect_metrics(
    backend: BackendDep,
    samples: Annotated[list[Annotated[object, _LikeSample()]], Body(examples=[_EXAMPLE])],
) -> Collected:
    """Take in samples; each is accepted or refused by itself, with the reason.

    Accepted means queued: samples that turn out late, repeated or from the future are dropped
    behind the queue and counted in `/metrics`. With a full queue nothing is accepted, and the
    answer is 503 with `Retry-After`.
    """
    if len(samples) > MAX_SAMPLES:
        raise invalid("body", f"{len(samples)} samples; send at most {MAX_SAMPLES} at once")
    # In a thread: 40,000 samples take half a second, and the pipeline shares the event loop.
    read = await to_thread.run_sync(read_samples, backend.clock.now(), samples)
    if read.understood and not backend.offer(read.delivery):
        detail = "The pipeline has no room now; nothing was accepted. Send it again later."
        raise ProblemError(503, "queue-full", detail, retry_after=5)
    return Collected(
        accepted=read.understood,
        refused=len(read.bad),
        refusals=[
            Refusal(index=one.position, reason=one.reason) for one in read.bad[:_MAX_REASONS]
        ],
    )
