"""Webhook: notifications as JSON to a URL.

The body is Alertmanager's webhook payload, version 4
(https://prometheus.io/docs/alerting/latest/configuration/#webhook_config), so that whatever
receives Alertmanager's webhooks receives ours; what it has no place for stands under `dos`.
With `format: cloudevents` the same payload is the `data` of an event as CloudEvents 1.0 has it
(https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md), in structured mode.
The header `Idempotency-Key` is the same each time a notification is repeated.

Signatures follow Standard Webhooks
(https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
from collections.abc import Iterable
from typing import Annotated, Literal, TypedDict
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator

from dos.alerting.channel import NotificationChannel
from dos.alerting.outgoing import OutgoingClient, OutgoingPolicy, refusal
from dos.kit.clock import SECOND, Clock, to_rfc3339
from dos.kit.duration import Duration
from dos.kit.plugins import Plugin
from dos.kit.secret import Secret
from dos.model.alert import Alert, AlertState, LabelPairs, Notification

_NEVER = "0001-01-01T00:00:00Z"
"""What Alertmanager writes as the end of an alert that still fires."""
_GROUPED_BY = frozenset({"alertname", "incident"})

_CONTENT_TYPES = {
    "alertmanager": "application/json",
    "cloudevents": "application/cloudevents+json",
}
_SOURCE = "/dependency-ops-sentinel"
"""Where an event comes from as long as `alerting.external_url` says nothing better."""
_TYPE = "io.dependency-ops-sentinel.alert"
_SUBJECT = 256
"""Characters of the subject of an event; the whole of a long one is `groupKey`."""
_ENCODED_KEY = "whsec_"
"""How the key of a signature begins where it is written in base64."""


class Config(BaseModel):
    """Keys of a receiver of type `webhook`."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, hide_input_in_errors=True
    )

    url: str
    """Where to post, `http://` or `https://`."""
    format: Literal["alertmanager", "cloudevents"] = "alertmanager"
    """The body: Alertmanager's payload, version 4, or an event of CloudEvents 1.0
    (`application/cloudevents+json`) whose `data` is that payload."""
    allow_hosts: tuple[str, ...] = ()
    """Host names, addresses or networks that may be reached although they are not public, for
    example `["127.0.0.1"]` or `["hooks.internal", "10.0.0.0/8"]`."""
    timeout: Annotated[Duration, Field(gt=0, le=60)] = 10.0
    """How long to wait for the connection, and for each part of the answer."""
    authorization: Secret | None = None
    """Value of the `Authorization` header, for example `Bearer …`."""
    signing_secret: Secret | None = None
    """Key of the signature (HMAC-SHA256) in the headers `webhook-id`, `webhook-timestamp` and
    `webhook-signature` of Standard Webhooks, and in `X-DOS-Signature: t=<seconds>,v1=<hex>`, which
    covers `<seconds>.<body>`. After `whsec_` it is base64, anything else is the key as it is
    written. Receivers should refuse a time more than 5 minutes away."""

    @field_validator("url")
    @classmethod
    def _http(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            msg = "write the whole URL, for example https://hooks.example.com/dos"
            raise ValueError(msg)
        if parts.username or parts.password:
            msg = "no user or password in the URL: use `authorization`, which is kept secret"
            raise ValueError(msg)
        return value

    @field_validator("signing_secret")
    @classmethod
    def _whole_key(cls, value: Secret | None) -> Secret | None:
        if value is not None:
            _key(value)
        return value


class _Alert(TypedDict):
    status: str
    labels: dict[str, str]
    annotations: dict[str, str]
    startsAt: str
    endsAt: str
    generatorURL: str
    fingerprint: str


class _Dos(TypedDict):
    notification: str
    alert: str
    incident: str | None
    severity: str
    probable_cause: str | None
    probability: str | None
    evidence: str | None


class Payload(TypedDict):
    """The body of the request."""

    version: str
    groupKey: str
    truncatedAlerts: int
    status: str
    receiver: str
    groupLabels: dict[str, str]
    commonLabels: dict[str, str]
    commonAnnotations: dict[str, str]
    externalURL: str
    alerts: list[_Alert]
    dos: _Dos


class Event(TypedDict):
    """The body of the request with `format: cloudevents`."""

    specversion: str
    id: str
    source: str
    type: str
    subject: str
    time: str
    datacontenttype: str
    data: Payload


class WebhookNotifier(NotificationChannel):
    """Posts each notification; 2xx is success.

    Args:
        config: Where to, in which format, and how to sign.
        name: Name of the receiver, part of the payload.
        clock: Time of the signature, and for a `Retry-After` that is a date.
    """

    def __init__(self, config: Config, *, name: str, clock: Clock) -> None:
        self._config = config
        self._name = name
        self._clock = clock
        self._client = OutgoingClient(OutgoingPolicy(config.allow_hosts), timeout=config.timeout)

    async def send(self, notification: Notification) -> None:
        """Post one notification.

        Raises:
            TransientError: Unreachable, no answer in time, 408, 425, 429 or 5xx.
            PermanentError: Any other answer than 2xx, or an address that is not allowed.
        """
        events = self._config.format == "cloudevents"
        body = event(notification) if events else payload(notification)
        # Half a surrogate pair, which some senders cut a text in, has no bytes.
        content = json.dumps(body, ensure_ascii=False).encode(errors="replace")
        answer = await self._client.post(
            self._config.url, content, self._headers(notification.id, content)
        )
        if 200 <= answer.status < 300:
            return
        said = f": {answer.text.strip()}" if answer.text.strip() else ""
        # The host only: paths and queries of webhooks are often what gives access.
        host = urlsplit(self._config.url).hostname
        msg = f"Receiver {self._name}: {host} answered {answer.status}{said}."
        remedy = "Check the receiver's url and authorization."
        raise refusal(answer, msg, remedy=remedy, now=self._clock.now())

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    def _headers(self, key: str, content: bytes) -> dict[str, str]:
        headers = {
            "Content-Type": _CONTENT_TYPES[self._config.format],
            "User-Agent": "dependency-ops-sentinel",
            "Idempotency-Key": key,
        }
        if self._config.authorization:
            headers["Authorization"] = self._config.authorization.reveal()
        if self._config.signing_secret:
            at = self._clock.now() // SECOND
            headers["X-DOS-Signature"] = sign(self._config.signing_secret, at, content)
            headers |= standard_headers(self._config.signing_secret, key, at, content)
        return headers


def payload(notification: Notification) -> Payload:
    """The body for `notification`; what DOS tells of an incident is a group of one alert."""
    alert = notification.alert
    facts = dict(alert.annotations)
    link = facts.get("link", "")
    group, key = dict(notification.group), notification.subject
    if not notification.route:
        group = {name: value for name, value in alert.labels if name in _GROUPED_BY}
        inner = ", ".join(f'{name}="{value}"' for name, value in group.items())
        key = f"{{}}:{{{inner}}}"
    return Payload(
        version="4",
        groupKey=key,
        truncatedAlerts=0,
        status=notification.state.value,
        receiver=notification.receiver,
        groupLabels=group,
        commonLabels=_common(one.labels for one in notification.alerts),
        commonAnnotations=_common(one.annotations for one in notification.alerts),
        externalURL=link.partition("/incidents/")[0],
        alerts=[_alert(one) for one in notification.alerts],
        dos=_Dos(
            notification=notification.id,
            alert=alert.id,
            incident=alert.incident_id,
            severity=alert.severity.value,
            probable_cause=facts.get("cause"),
            probability=facts.get("cause_probability"),
            evidence=facts.get("evidence"),
        ),
    )


def event(notification: Notification) -> Event:
    """The payload of `notification` as the data of an event.

    The id is that of the notification, so `source` and `id` name one event however often it is
    sent.
    """
    return Event(
        specversion="1.0",
        id=notification.id,
        source=_source(notification),
        type=f"{_TYPE}.{notification.state.value}",
        subject=_subject(notification),
        time=to_rfc3339(notification.created_at),
        datacontenttype="application/json",
        data=payload(notification),
    )


def _source(notification: Notification) -> str:
    """The address of DOS itself; links of alerts that others posted do not say it."""
    alert = notification.alert
    if alert.incident_id is None or notification.route:
        return _SOURCE
    base = dict(alert.annotations).get("link", "").partition("/incidents/")[0]
    return base if re.fullmatch(r"https?://[A-Za-z0-9\-._~:/\[\]%@!$&'()*+,;=]+", base) else _SOURCE


def _subject(notification: Notification) -> str:
    """What the notification is about, without characters that CloudEvents does not allow."""
    text = "".join(one if one.isprintable() else " " for one in notification.subject)
    return text if len(text) <= _SUBJECT else f"{text[: _SUBJECT - 1]}…"


def _common(pairs: Iterable[LabelPairs]) -> dict[str, str]:
    """What all of them have."""
    sets = [set(one) for one in pairs]
    return dict(sorted(set.intersection(*sets)))


def _alert(alert: Alert) -> _Alert:
    facts = dict(alert.annotations)
    over = alert.state is AlertState.RESOLVED and alert.ends_at is not None
    return _Alert(
        status=alert.state.value,
        labels=dict(alert.labels),
        annotations=facts,
        startsAt=to_rfc3339(alert.starts_at),
        endsAt=to_rfc3339(alert.ends_at) if over and alert.ends_at is not None else _NEVER,
        generatorURL=alert.generator_url or facts.get("link", ""),
        fingerprint=alert.fingerprint,
    )


def sign(secret: Secret, at: int, content: bytes) -> str:
    """The value of `X-DOS-Signature` for `content`, sent at `at` (seconds, Unix time)."""
    digest = hmac.new(secret.reveal().encode(), f"{at}.".encode() + content, hashlib.sha256)
    return f"t={at},v1={digest.hexdigest()}"


def standard_headers(secret: Secret, message: str, at: int, content: bytes) -> dict[str, str]:
    """The headers of Standard Webhooks.

    Args:
        secret: The key, as it is configured.
        message: The id of the message, the same each time it is sent.
        at: When it is sent, in seconds of Unix time.
        content: The body.
    """
    signed = f"{message}.{at}.".encode() + content
    digest = hmac.new(_key(secret), signed, hashlib.sha256).digest()
    return {
        "webhook-id": message,
        "webhook-timestamp": str(at),
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


def _key(secret: Secret) -> bytes:
    """The bytes of the key.

    Raises:
        ValueError: Nothing, or no base64, follows `whsec_`.
    """
    written = secret.reveal()
    if not written.startswith(_ENCODED_KEY):
        return written.encode()
    try:
        key = base64.b64decode(written.removeprefix(_ENCODED_KEY), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not key:
        msg = (
            f"write base64 after {_ENCODED_KEY}, for example what `openssl rand -base64 32` prints"
        )
        raise ValueError(msg)
    return key


PLUGIN = Plugin(Config, WebhookNotifier)
