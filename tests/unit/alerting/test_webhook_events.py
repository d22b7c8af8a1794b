"""Webhooks as CloudEvents, and the signature of Standard Webhooks, against a server on loopback."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import jsonschema
import pytest
from pydantic import ValidationError

from dos.alerting.notifiers.webhook import (
    Config,
    WebhookNotifier,
    event,
    payload,
    standard_headers,
)
from dos.kit.clock import ManualClock
from dos.kit.errors import ConfigError, PermanentError, TransientError
from dos.kit.secret import Secret
from dos.model.alert import AlertState
from tests.unit.alerting import hooks
from tests.unit.alerting.builders import START
from tests.unit.alerting.hooks import answer
from tests.unit.alerting.test_pagerduty import grouped, life, posted

KEY = bytes(range(32))
ENCODED = "whsec_" + base64.b64encode(KEY).decode()
TOLERANCE = 300

# From https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/cloudevents.json, and
# stricter where it leaves room: no extensions, the time in UTC, `data` an object.
CHECK = jsonschema.Draft202012Validator(
    {
        "type": "object",
        "additionalProperties": False,
        "required": ["id", "source", "specversion", "type", "subject", "time", "data"],
        "properties": {
            "id": {"type": "string", "minLength": 1},
            "source": {
                "type": "string",
                "minLength": 1,
                "pattern": r"^(https?://[A-Za-z0-9\-._~:/\[\]%@!$&'()*+,;=]+|/[a-z-]+)$",
            },
            "specversion": {"const": "1.0"},
            "type": {
                "enum": [f"io.dependency-ops-sentinel.alert.{one.value}" for one in AlertState]
            },
            "datacontenttype": {"const": "application/json"},
            "subject": {
                "type": "string",
                "minLength": 1,
                "maxLength": 256,
                "pattern": "^[^\u0000-\u001f\u007f-\u009f\ud800-\udfff]+$",
            },
            "time": {"pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$"},
            "data": {
                "type": "object",
                "required": ["version", "groupKey", "status", "alerts"],
                "properties": {"version": {"const": "4"}},
            },
        },
    }
)


def verified(key: bytes, headers: dict[str, str], body: bytes, now: int) -> bool:
    """What a receiver does, from the specification of Standard Webhooks."""
    stamp = headers["webhook-timestamp"]
    if abs(now - int(stamp)) > TOLERANCE:
        return False
    signed = b".".join([headers["webhook-id"].encode(), stamp.encode(), body])
    expected = base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    versions = (one.partition(",") for one in headers["webhook-signature"].split(" "))
    return any(
        version == "v1" and hmac.compare_digest(said, expected) for version, _, said in versions
    )


class Receiver(hooks.HookServer):
    """Takes valid events only."""

    def reply(self, request: hooks.Request) -> bytes:
        if request.headers["content-type"] != "application/cloudevents+json":
            return answer("415 Unsupported Media Type")
        found = [one.message[:100] for one in CHECK.iter_errors(json.loads(request.body))]
        return answer("400 Bad Request", body=str(found)) if found else answer("204 No Content")

    def notifier(self, clock: ManualClock | None = None, **keys: object) -> WebhookNotifier:
        url = f"http://127.0.0.1:{self.port}/hook"
        config = Config.model_validate(
            {"url": url, "allow_hosts": ["127.0.0.1"], "format": "cloudevents", **keys}
        )
        return WebhookNotifier(config, name="hook", clock=clock or ManualClock(START))


@pytest.fixture
async def server() -> AsyncIterator[Receiver]:
    async with hooks.serving(Receiver()) as one:
        yield one


async def test_an_incident_is_events_of_cloudevents(server: Receiver) -> None:
    notifier = server.notifier()
    told = life()
    for notification in told:
        await notifier.send(notification)
    await notifier.close()
    said: list[dict[str, Any]] = [json.loads(request.body) for request in server.requests]
    assert [one["id"] for one in said] == [one.id for one in told]
    assert [one["type"].rpartition(".")[2] for one in said] == ["firing", "firing", "resolved"]
    assert {one["source"] for one in said} == {"https://dos.example.com"}
    assert {one["subject"] for one in said} == {told[0].alert.id}
    assert [one["data"] for one in said] == [payload(one) for one in told]


async def test_what_others_posted_is_an_event_all_the_same(server: Receiver) -> None:
    job = "a\nb" + "c" * 400
    wild = posted(
        (("alertname", "X"), ("job", job)),
        (("description", "half a pair: \ud800"), ("link", "https://evil.example/incidents/1")),
    )
    notifier = server.notifier()
    await notifier.send(grouped([wild], group=(("job", job),)))
    await notifier.send(replace(grouped([posted((("alertname", "X"),))]), route="", group=()))
    await notifier.close()
    assert [json.loads(one.body)["source"] for one in server.requests] == [
        "/dependency-ops-sentinel"
    ] * 2


def test_without_external_url_the_source_is_the_name_of_dos() -> None:
    assert event(life(external_url="")[0])["source"] == "/dependency-ops-sentinel"


@pytest.mark.parametrize("body", ["alertmanager", "cloudevents"])
@pytest.mark.parametrize(("secret", "key"), [(ENCODED, KEY), ("s3cr3t words", b"s3cr3t words")])
async def test_the_signature_is_verified_as_standard_webhooks_say(
    server: Receiver, body: str, secret: str, key: bytes
) -> None:
    server.answers = [answer("200 OK")]
    notifier = server.notifier(signing_secret=secret, format=body)
    notification = life()[0]
    await notifier.send(notification)
    await notifier.close()
    request, now = server.requests[0], START // 1000
    assert request.headers["webhook-id"] == notification.id
    assert verified(key, request.headers, request.body, now)
    assert not verified(key, request.headers, request.body.replace(b"sev2", b"sev4"), now)
    assert not verified(key, request.headers | {"webhook-id": "ntf-2"}, request.body, now)
    later = request.headers | {"webhook-timestamp": str(now + 1)}
    assert not verified(key, later, request.body, now)
    assert not verified(b"another", request.headers, request.body, now)
    assert not verified(key, request.headers, request.body, now + TOLERANCE + 1)


async def test_each_attempt_is_signed_anew_under_one_id(server: Receiver) -> None:
    server.answers = [answer("503 Busy")]
    clock = ManualClock(START)
    notifier = server.notifier(clock, signing_secret=ENCODED)
    notification = life()[0]
    with pytest.raises(TransientError):
        await notifier.send(notification)
    clock.advance(3600)
    await notifier.send(notification)
    await notifier.close()
    first, second = server.requests
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert int(second.headers["webhook-timestamp"]) == START // 1000 + 3600
    assert verified(KEY, second.headers, second.body, START // 1000 + 3600)
    assert not verified(KEY, first.headers, first.body, START // 1000 + 3600)


def test_the_vector_of_the_specification() -> None:
    # From the test vectors of the reference libraries of Standard Webhooks.
    secret = Secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    said = standard_headers(
        secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
    )
    assert said["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


async def test_without_a_secret_nothing_is_signed(server: Receiver) -> None:
    notifier = server.notifier()
    await notifier.send(life()[0])
    await notifier.close()
    assert not [one for one in server.requests[0].headers if one.startswith("webhook-")]


@pytest.mark.parametrize("said", [answer("400 Bad"), answer("500 Oops")])
async def test_errors_hold_no_secret(server: Receiver, said: bytes) -> None:
    server.answers = [said]
    notifier = server.notifier(signing_secret=ENCODED)
    with pytest.raises((PermanentError, TransientError)) as raised:
        await notifier.send(life()[0])
    await notifier.close()
    shown = f"{raised.value}{raised.value!r}{raised.value.__cause__}{vars(notifier)}"
    assert ENCODED not in shown
    assert ENCODED.removeprefix("whsec_") not in shown


@pytest.mark.parametrize("secret", ["whsec_", "whsec_s3cr3t!", "whsec_s3cr3"])
def test_a_key_that_is_no_base64_is_refused_without_showing_it(secret: str) -> None:
    keys: dict[str, object] = {"url": "https://hooks.example.com/", "signing_secret": secret}
    with pytest.raises(ValidationError, match="write base64 after whsec_") as raised:
        Config.model_validate(keys)
    assert "s3cr3" not in str(raised.value)
    with pytest.raises(ConfigError, match="signing_secret") as refused:
        WebhookNotifier.of(**keys)
    assert "s3cr3" not in str(refused.value)
