"""Opsgenie and the alerts of Jira Service Management: on call, by the Alert API v2.

What fires becomes an alert, what is over closes it. Both go by the same `alias` for the whole life
of what they are about: while an alert with it is open, Opsgenie counts a further one and opens no
other. It keeps the text and the priority of the first, so an update, and what is in a group of
several, is added as a note. The alert is created with each update as well: where somebody closed
it, it opens again, as nobody would see a note.

Requests are accepted (202) before they are worked off, so closing an alert that does not exist is
accepted too, and a mistake that Opsgenie finds later is seen in its logs only.

Sources: https://docs.opsgenie.com/docs/alert-api for the fields and their limits,
https://docs.opsgenie.com/docs/response for the answers,
https://developer.atlassian.com/cloud/jira/service-desk-ops/rest/v1/api-group-integration-events/
for Jira Service Management.
"""

from __future__ import annotations

import json
import re
from hashlib import sha256
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from dos.alerting.channel import NotificationChannel
from dos.alerting.message import body_of, key_of, links_of, severity_of, subject_of
from dos.alerting.outgoing import OutgoingClient, OutgoingPolicy, refusal
from dos.alerting.text import clipped, utf, without
from dos.kit.clock import Clock
from dos.kit.duration import Duration
from dos.kit.plugins import Plugin
from dos.kit.secret import Secret
from dos.model.alert import AlertState, Notification
from dos.model.impact import Severity

_ACCEPTED = 202
_MESSAGE = 130
_DESCRIPTION = 15_000
_ENTITY = 512
_NOTE = 25_000
_DETAILS = 8000
"""Characters of all names and values of the details."""
_DETAIL_NAME = 100
_DETAIL = 2000
"""Characters of one name and of one value, so that a long one leaves room for others."""
_TAG = 50
_TAGS = 19
"""Of the 20 that there may be one says the severity."""
_RESPONDERS = 50
_SOURCE = "Dependency Ops Sentinel"

_API_KEY = re.compile(r"[!-~]{1,256}")
_PRIORITIES = {
    Severity.SEV1: "P1",
    Severity.SEV2: "P2",
    Severity.SEV3: "P3",
    Severity.SEV4: "P4",
}


class Responder(BaseModel):
    """Whom Opsgenie tells, by name or by id."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    type: Literal["team", "user", "escalation", "schedule"]
    """What it is."""
    name: str = ""
    """Its name; of a user, the address it signs in with."""
    id: str = ""
    """Its id, instead of the name; Jira Service Management knows ids only."""

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if bool(self.name) == bool(self.id):
            msg = "write either name or id"
            raise ValueError(msg)
        return self


class Config(BaseModel):
    """Keys of a receiver of type `opsgenie`."""

    # A key that was mistyped is still nearly one.
    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, hide_input_in_errors=True
    )

    api_key: Secret
    """Key of an integration of type "API" in Opsgenie, which may create and update alerts."""
    api_url: str = "https://api.opsgenie.com"
    """Where the API is. Accounts in the EU: `https://api.eu.opsgenie.com`; Jira Service
    Management: `https://api.atlassian.com/jsm/ops/integration`."""
    responders: Annotated[tuple[Responder, ...], Field(max_length=_RESPONDERS)] = ()
    """Who is told. Without it the integration in Opsgenie says so."""
    tags: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=_TAG)], ...],
        Field(max_length=_TAGS),
    ] = ()
    """Tags of each alert, beside its severity."""
    allow_hosts: tuple[str, ...] = ()
    """Host names, addresses or networks that may be reached although they are not public, where
    `api_url` leads to a relay of your own."""
    timeout: Annotated[Duration, Field(gt=0, le=60)] = 10.0
    """How long to wait for the connection, and for each part of the answer."""

    @field_validator("api_key")
    @classmethod
    def _whole(cls, value: Secret) -> Secret:
        if not _API_KEY.fullmatch(value.reveal()):
            msg = (
                "is not an API key: it has letters, digits and hyphens; copy it from the "
                'integration "API" in Opsgenie'
            )
            raise ValueError(msg)
        return value

    @field_validator("api_url")
    @classmethod
    def _http(cls, value: str) -> str:
        parts = urlsplit(value)
        whole = parts.scheme in {"http", "https"} and parts.hostname and not parts.username
        if not whole or parts.query or parts.fragment:
            msg = "write where the API begins, for example https://api.eu.opsgenie.com"
            raise ValueError(msg)
        return value.rstrip("/")

    @model_validator(mode="after")
    def _not_in_the_clear(self) -> Self:
        # Each request holds the key; a relay of one's own is named in allow_hosts.
        if urlsplit(self.api_url).scheme != "https" and not self.allow_hosts:
            msg = "the API key would be readable for all on its way; use https"
            raise ValueError(msg)
        return self


class OpsgenieNotifier(NotificationChannel):
    """Creates, notes and closes alerts; only 202 is success.

    Args:
        config: Which integration, and where.
        name: Name of the receiver, for messages; the alias of the alert has the notification's.
        clock: For a `Retry-After` that is a date.
    """

    def __init__(self, config: Config, *, name: str, clock: Clock) -> None:
        self._config = config
        self._name = name
        self._clock = clock
        self._client = OutgoingClient(OutgoingPolicy(config.allow_hosts), timeout=config.timeout)

    async def send(self, notification: Notification) -> None:
        """Open, update or close the alert in Opsgenie.

        Raises:
            TransientError: Unreachable, no answer in time, 408, 425, 429 or 5xx.
            PermanentError: Any other answer than 202, or an address that is not allowed.
        """
        one = f"/v2/alerts/{alias(notification)}"
        if notification.state is AlertState.RESOLVED:
            await self._post(f"{one}/close?identifierType=alias", noted(notification))
            return
        await self._post("/v2/alerts", alert(notification, self._config))
        if changed(notification):
            await self._post(f"{one}/notes?identifierType=alias", noted(notification))

    async def _post(self, path: str, body: dict[str, object]) -> None:
        key = self._config.api_key.reveal()
        headers = {
            "Authorization": f"GenieKey {key}",
            "Content-Type": "application/json",
            "User-Agent": "dependency-ops-sentinel",
        }
        url = f"{self._config.api_url}{path}"
        answer = await self._client.post(url, json.dumps(body).encode(), headers)
        if answer.status == _ACCEPTED:
            return
        text = without(key, " ".join(answer.text.split()))
        said = f": {text}" if text else ""
        raise refusal(
            answer,
            f"Receiver {self._name}: {urlsplit(url).hostname} answered {answer.status}{said}.",
            remedy=(
                "Check that the receiver's api_key is that of an integration of type API which is "
                "switched on and may create and update alerts, and that api_url is right for its "
                "region."
            ),
            now=self._clock.now(),
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()


def alias(notification: Notification) -> str:
    """The alias of the alert: of the receiver, and of what the notification is about."""
    # Hashed it can stand in a path: some servers refuse escaped slashes there.
    return f"dos-{sha256(key_of(notification).encode(errors='backslashreplace')).hexdigest()}"


def changed(notification: Notification) -> bool:
    """Whether it says what the alert, as it was created, may not say."""
    return bool(notification.others) or "update" in dict(notification.alert.annotations)


def alert(notification: Notification, config: Config) -> dict[str, object]:
    """The body of the request that creates the alert, within the limits of the API."""
    severity = severity_of(notification)
    body: dict[str, object] = {
        "message": _shown(" ".join(subject_of(notification).split()), _MESSAGE),
        "alias": alias(notification),
        "description": _shown(body_of(notification), _DESCRIPTION),
        "tags": list(dict.fromkeys([*config.tags, severity.value])),
        "details": _details(notification),
        "source": _SOURCE,
        "priority": _PRIORITIES[severity],
    }
    labels = dict(notification.alert.labels)
    if entity := labels.get("service") or labels.get("instance"):
        body["entity"] = clipped(entity, _ENTITY)
    if config.responders:
        body["responders"] = [_responder(one) for one in config.responders]
    return body


def noted(notification: Notification) -> dict[str, object]:
    """The body of the requests that add a note or close the alert."""
    text = f"{subject_of(notification)}\n{body_of(notification)}"
    return {"note": _shown(text.strip(), _NOTE), "source": _SOURCE}


def _responder(one: Responder) -> dict[str, str]:
    if one.id:
        return {"type": one.type, "id": one.id}
    return {"type": one.type, "username" if one.type == "user" else "name": one.name}


def _details(notification: Notification) -> dict[str, str]:
    """Links and labels, as many as there is room for."""
    shown = notification.group if notification.route else notification.alert.labels
    pairs = [*((name, url) for url, name in links_of(notification, _DETAIL).items()), *shown]
    details: dict[str, str] = {}
    room = _DETAILS
    for whole_name, whole_value in pairs:
        name, value = clipped(whole_name, _DETAIL_NAME), clipped(whole_value, _DETAIL)
        size = len(name) + len(value)
        if size <= room and name and value and name not in details:
            details[name] = value
            room -= size
    return details


def _shown(text: str, most: int) -> str:
    """`text` without HTML, which Opsgenie would take for formatting and links."""
    return clipped(re.sub(r"<(?=[A-Za-z/!?])", "< ", utf(text)), most)


PLUGIN = Plugin(Config, OpsgenieNotifier)
