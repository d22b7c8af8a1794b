"""Webhooks that other systems call."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from dos.api.access import BackendDep
from dos.api.alertmanager_schema import PostableAlert
from dos.api.auth import Writer
from dos.api.errors import ProblemError, not_found, problems
from dos.ingest.base import Delivery
from dos.kit.clock import DAY, Millis
from dos.model.alert import PostedAlert

LASTS = DAY
"""An alert of a webhook fires for so long without another word: it is said again after
`repeat_interval` only, which is hours, and its end by itself."""

router = APIRouter(prefix="/webhooks", tags=["alerts"])


class WebhookAlert(PostableAlert):
    """One alert of a group."""

    status: Literal["firing", "resolved"] = Field(description="What is said of it.")

    def told(self, now: Millis) -> PostedAlert:
        """As it is taken in: the status counts, and not when it would end by itself."""
        posted = self.taken(now)
        if self.status == "firing":
            return replace(posted, ends_at=Millis(now + LASTS))
        ended = now if posted.ends_at is None else min(now, posted.ends_at)
        return replace(posted, ends_at=Millis(max(ended, posted.starts_at)))


class WebhookMessage(BaseModel):
    """A notification as Alertmanager's `webhook_configs`, and Grafana's webhook, send it."""

    version: Literal["4", "1"] = Field(default="4", description="4; 1 is Grafana's.")
    alerts: list[WebhookAlert] = Field(
        max_length=10_000, description="Those of the group; its further fields are not read."
    )


class WebhookTaken(BaseModel):
    """What was taken in."""

    alerts: int


@router.post(
    "/alertmanager",
    operation_id="postAlertmanagerWebhook",
    summary="Take a notification of an Alertmanager or of Grafana",
    dependencies=[Writer],
    openapi_extra={"security": [{}]},  # beside the token: none configured, none needed
    responses=problems(400, 401, 403, 413, 415, 422, 503),
)
async def take_alertmanager(message: WebhookMessage, backend: BackendDep) -> WebhookTaken:
    """Its alerts go by the routes and silences of DOS, as those that Prometheus posts."""
    now = backend.clock.now()
    taken = tuple(one.told(now) for one in message.alerts)
    if taken and not await backend.submit(Delivery(alerts=taken)):
        detail = "The pipeline has no room now; nothing was taken. Send it again later."
        raise ProblemError(503, "queue-full", detail, retry_after=5)
    return WebhookTaken(alerts=len(taken))


class Replied(BaseModel):
    """What followed from a webhook."""

    acknowledged: int = Field(description="How many alerts it acknowledges, or silences it makes.")


_ANY = {
    "requestBody": {
        "content": {
            "application/json": {"schema": {}},
            "application/x-www-form-urlencoded": {"schema": {}},
        },
        "required": True,
    }
}


@router.post(
    "/receivers/{receiver}",
    operation_id="postReceiverWebhook",
    summary="Take what a receiver's channel says",
    openapi_extra=_ANY,
    responses=problems(400, 403, 404, 413, 503),
)
async def take_reply(receiver: str, request: Request, backend: BackendDep) -> Replied:
    """What is acknowledged or silenced there is so here: PagerDuty's webhooks, Slack's buttons.

    The signature of the channel counts, no token.
    """
    try:
        count = await backend.reply(receiver, request.headers, await request.body())
    except KeyError:
        raise not_found("receiver with a webhook", receiver) from None
    except PermissionError as error:
        raise ProblemError(403, "not-signed", f"{receiver}: {error}.") from None
    except ValueError as error:
        raise ProblemError(400, "not-understood", f"{receiver}: {error}.") from None
    if count is None:
        detail = "The pipeline has no room now; nothing was taken. Send it again later."
        raise ProblemError(503, "queue-full", detail, retry_after=5)
    return Replied(acknowledged=count)
