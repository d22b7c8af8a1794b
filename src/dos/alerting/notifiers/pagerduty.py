"""PagerDuty: incidents on call, by the Events API v2.

What fires becomes an event `trigger`, what is over one `resolve`. Both carry the same `dedup_key`
for the whole life of what they are about, so updates and repeated requests change the one alert
that PagerDuty has and open no other.

Sources: https://developer.pagerduty.com/docs/events-api-v2/trigger-events/ for the fields and their
limits, https://developer.pagerduty.com/docs/events-api-v2/overview/ for the size of an event and
for what is worth repeating (429, 5xx, no answer).
"""

from __future__ import annotations

import hmac
import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from dos.alerting.channel import NotificationChannel
from dos.alerting.message import body_of, key_of, links_of, severity_of, subject_of
from dos.alerting.outgoing import OutgoingClient, OutgoingPolicy, refusal
from dos.alerting.reply import Reply
from dos.alerting.text import clipped, without
from dos.kit.clock import Clock, from_rfc3339, to_rfc3339
from dos.kit.duration import Duration
from dos.kit.plugins import Plugin
from dos.kit.secret import Secret
from dos.model.alert import Alert, AlertState, LabelPairs, Notification
from dos.model.impact import Severity

_ACCEPTED = 202
_EVENT_BYTES = 512_000
"""The limit is "512 KB"; this is the smaller reading of it."""
_SUMMARY = 1024
_DEDUP_KEY = 255
_LABEL = 255
"""Characters of a label in a field of its own, and of the client's name. PagerDuty states no limit;
with one, nothing but `custom_details` can make an event too large."""
_HREF = 2048

_ROUTING_KEY = re.compile(r"[0-9A-Za-z]{32}")
_SEVERITIES = {
    Severity.SEV1: "critical",
    Severity.SEV2: "error",
    Severity.SEV3: "warning",
    Severity.SEV4: "info",
}


class Config(BaseModel):
    """Keys of a receiver of type `pagerduty`."""

    # A routing key that was mistyped is still nearly one.
    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, hide_input_in_errors=True
    )

    routing_key: Secret
    """Integration key of an integration of type "Events API v2" in PagerDuty, 32 characters."""
    webhook_secret: Secret | None = None
    """Secret of a webhook subscription (version 3) that calls
    `/api/v1/webhooks/receivers/NAME` of this DOS: who acknowledges in PagerDuty has acknowledged
    here."""
    url: str = "https://events.pagerduty.com/v2/enqueue"
    """Where to post. Accounts in the EU: `https://events.eu.pagerduty.com/v2/enqueue`."""
    allow_hosts: tuple[str, ...] = ()
    """Host names, addresses or networks that may be reached although they are not public, where
    `url` leads to a relay of your own."""
    timeout: Annotated[Duration, Field(gt=0, le=60)] = 10.0
    """How long to wait for the connection, and for each part of the answer."""
    client: Annotated[str, Field(max_length=_LABEL)] = "Dependency Ops Sentinel"
    """Who PagerDuty says has sent the event; empty for nobody."""

    @field_validator("routing_key")
    @classmethod
    def _shaped(cls, value: Secret) -> Secret:
        if not _ROUTING_KEY.fullmatch(value.reveal()):
            msg = (
                "is not an integration key: it has 32 letters and digits; copy it from the "
                'service\'s integration "Events API v2" in PagerDuty'
            )
            raise ValueError(msg)
        return value

    @field_validator("url")
    @classmethod
    def _http(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username:
            msg = "write the whole URL, for example https://events.eu.pagerduty.com/v2/enqueue"
            raise ValueError(msg)
        return value

    @model_validator(mode="after")
    def _not_in_the_clear(self) -> Self:
        # Each event holds the routing key; a relay of one's own is named in allow_hosts.
        if urlsplit(self.url).scheme != "https" and not self.allow_hosts:
            msg = "the routing key would be readable for all on its way; use https"
            raise ValueError(msg)
        return self


class PagerDutyNotifier(NotificationChannel):
    """Sends each notification as one event; only 202 is success.

    Args:
        config: Which integration, and where.
        name: Name of the receiver, for messages; the key of the alert has the notification's.
        clock: For a `Retry-After` that is a date.
    """

    def __init__(self, config: Config, *, name: str, clock: Clock) -> None:
        self._config = config
        self._name = name
        self._clock = clock
        self._client = OutgoingClient(OutgoingPolicy(config.allow_hosts), timeout=config.timeout)

    async def send(self, notification: Notification) -> None:
        """Trigger, update or resolve the alert in PagerDuty.

        Raises:
            TransientError: Unreachable, no answer in time, 408, 425, 429 or 5xx.
            PermanentError: Any other answer than 202, or an address that is not allowed.
        """
        headers = {"Content-Type": "application/json", "User-Agent": "dependency-ops-sentinel"}
        content = event(notification, self._config)
        answer = await self._client.post(self._config.url, content, headers)
        if answer.status == _ACCEPTED:
            return
        text = without(self._config.routing_key.reveal(), " ".join(answer.text.split()))
        said = f": {text}" if text else ""
        host = urlsplit(self._config.url).hostname
        raise refusal(
            answer,
            f"Receiver {self._name}: {host} answered {answer.status}{said}.",
            remedy=(
                "Check that the receiver's routing_key is the key of an integration "
                '"Events API v2" that still exists, and that url is right for its region.'
            ),
            now=self._clock.now(),
        )

    def key(self, notification: Notification) -> str:
        """The key of its alert, which that of the incident is as well."""
        return dedup_key(notification)

    def heard(self, headers: Mapping[str, str], body: bytes) -> Reply | None:
        """What a webhook of version 3 says; only that somebody acknowledged matters.

        Raises:
            PermissionError: It is not signed with `webhook_secret`.
            ValueError: It is no event.
        """
        _check_signature(self._config.webhook_secret, headers, body)
        try:
            event = json.loads(body)["event"]
            if event["event_type"] != "incident.acknowledged":
                return None
            who = (event.get("agent") or {}).get("summary") or "somebody in PagerDuty"
            return Reply(
                key=str(event["data"]["incident_key"]),
                by=str(who)[:100],
                at=from_rfc3339(str(event["occurred_at"])),
            )
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            msg = f"not an event of a webhook of version 3: {type(error).__name__}: {error}"
            raise ValueError(msg) from error

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()


@dataclass(frozen=True, slots=True)
class _Room:
    """How much of each kind `custom_details` may hold."""

    text: int
    """Characters of the text for people."""
    value: int
    """Characters of a name or value of a label or annotation."""
    pairs: int
    """Labels, and as many annotations, of one alert."""
    alerts: int


_ROOMS = (
    _Room(text=sys.maxsize, value=sys.maxsize, pairs=sys.maxsize, alerts=20),
    _Room(text=65_536, value=8192, pairs=256, alerts=20),
    _Room(text=16_384, value=1024, pairs=64, alerts=20),
    _Room(text=4096, value=256, pairs=32, alerts=20),
    # Fits whatever is in it: JSON writes a character in at most 6 bytes.
    _Room(text=4096, value=64, pairs=16, alerts=10),
)


def event(notification: Notification, config: Config) -> bytes:
    """The body of the request: the same for the same notification, and never too large."""
    alert, firing = notification.alert, notification.state is AlertState.FIRING
    labels = {name: clipped(value, _LABEL) for name, value in alert.labels if value}
    source = labels.get("service") or labels.get("instance") or labels.get("alertname") or "dos"
    fields: dict[str, object] = {
        "summary": clipped(" ".join(subject_of(notification).split()), _SUMMARY),
        "source": source,
        "severity": _SEVERITIES[severity_of(notification)],
        "timestamp": to_rfc3339(alert.starts_at),
        **{name: labels[name] for name in ("component", "group", "class") if name in labels},
    }
    whole: dict[str, object] = {
        "routing_key": config.routing_key.reveal(),
        "event_action": "trigger" if firing else "resolve",
        "dedup_key": dedup_key(notification),
        **(_context(notification, config) if firing else {}),
        "payload": fields,
    }
    text = body_of(notification)
    sizes = (_encoded(whole, fields, _details(notification, text, room)) for room in _ROOMS)
    return next(content for content in sizes if len(content) <= _EVENT_BYTES)


def _check_signature(secret: Secret | None, headers: Mapping[str, str], body: bytes) -> None:
    """See https://developer.pagerduty.com/docs/verifying-webhook-signatures."""
    if secret is None or not secret:
        msg = "webhook_secret is not configured, so no webhook can be believed"
        raise PermissionError(msg)
    right = f"v1={hmac.new(secret.reveal().encode(), body, sha256).hexdigest()}".encode()
    # While a secret is changed there are several signatures.
    given = headers.get("x-pagerduty-signature", "").encode().split(b",")
    if not any(hmac.compare_digest(one.strip(), right) for one in given):
        msg = "the signature is missing or wrong"
        raise PermissionError(msg)


def dedup_key(notification: Notification) -> str:
    """The key of the alert in PagerDuty: of the receiver, and of what the notification is about."""
    plain = key_of(notification)
    # In ASCII it has as many bytes as characters, whichever of them the limit means.
    if len(plain) <= _DEDUP_KEY and plain.isascii() and plain.isprintable():
        return plain
    return f"dos-{sha256(plain.encode(errors='backslashreplace')).hexdigest()}"


def _encoded(whole: dict[str, object], fields: dict[str, object], details: object) -> bytes:
    sized = {**whole, "payload": {**fields, "custom_details": details}}
    # Half a surrogate pair, which some senders cut a text in, has no encoding.
    return json.dumps(sized, ensure_ascii=False).encode(errors="replace")


def _context(notification: Notification, config: Config) -> dict[str, object]:
    """What PagerDuty reads of a `trigger` only: who sends it, and where to look."""
    facts = dict(notification.alert.annotations)
    links = links_of(notification, _HREF)
    context: dict[str, object] = {}
    if config.client:
        context["client"] = config.client
        # Links of alerts that others sent are not ours.
        if not notification.route and facts.get("link", "") in links:
            context["client_url"] = facts["link"]
    if links:
        context["links"] = [{"href": url, "text": text} for url, text in links.items()]
    return context


def _details(notification: Notification, text: str, room: _Room) -> dict[str, object]:
    alerts = notification.alerts
    details: dict[str, object] = {"text": clipped(text, room.text)}
    if notification.route or notification.others:
        firing = sum(one.state is AlertState.FIRING for one in alerts)
        details |= {
            "labels": _pairs(notification.group, room),
            "firing": firing,
            "resolved": len(alerts) - firing,
            "alerts": [_alert(one, room) for one in alerts[: room.alerts]],
        }
        if len(alerts) > room.alerts:
            details["more"] = len(alerts) - room.alerts
    else:
        details |= _facts(alerts[0], room)
    if room is not _ROOMS[0]:
        details["truncated"] = "Shortened: PagerDuty takes events of at most 512 KB."
    return details


def _alert(alert: Alert, room: _Room) -> dict[str, object]:
    """One of a group."""
    return {
        "status": alert.state.value,
        "severity": alert.severity.value,
        "starts_at": to_rfc3339(alert.starts_at),
        **_facts(alert, room),
    }


def _facts(alert: Alert, room: _Room) -> dict[str, object]:
    return {
        "labels": _pairs(alert.labels, room),
        "annotations": _pairs(alert.annotations, room),
    }


def _pairs(pairs: LabelPairs, room: _Room) -> dict[str, str]:
    return {
        clipped(name, room.value): clipped(value, room.value) for name, value in pairs[: room.pairs]
    }


PLUGIN = Plugin(Config, PagerDutyNotifier)
