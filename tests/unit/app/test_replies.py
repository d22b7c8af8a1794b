"""Who acknowledges in PagerDuty has acknowledged here: a whole way over a loopback server."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from dos.alerting.notifiers.pagerduty import Config, PagerDutyNotifier
from dos.alerting.reply import Reply
from dos.app.replies import take_reply
from dos.app.sentinel import Sentinel
from dos.app.settings import Settings
from dos.ingest.base import Delivery
from dos.kit.clock import HOUR, Millis, SystemClock, to_rfc3339
from dos.kit.secret import Secret
from dos.model.alert import PostedAlert
from tests.unit.alerting.hooks import HookServer, Request, answer, serving

SECRET = "webhooks3cret"
CLOCK = SystemClock()


def signed(body: bytes, secret: str = SECRET, before: str = "") -> dict[str, str]:
    digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {"x-pagerduty-signature": f"{before}v1={digest}"}


def event(key: str, kind: str = "incident.acknowledged", at: Millis | None = None) -> bytes:
    """As https://developer.pagerduty.com/docs/webhooks-overview shows it."""
    said = {
        "id": "01CH754SM17TWPE2V2H4VPBRO7",
        "event_type": kind,
        "resource_type": "incident",
        "occurred_at": to_rfc3339(CLOCK.now() if at is None else at),
        "agent": {"id": "PF9KMXH", "summary": "Ann", "type": "user_reference"},
        "client": None,
        "data": {"id": "PGR0VU2", "type": "incident", "number": 2, "incident_key": key},
    }
    return json.dumps({"event": said}).encode()


def notifier(secret: str | None = SECRET) -> PagerDutyNotifier:
    config = Config(
        routing_key=Secret("a" * 32), webhook_secret=None if secret is None else Secret(secret)
    )
    return PagerDutyNotifier(config, name="pd", clock=CLOCK)


def test_a_signed_event_is_understood() -> None:
    at = Millis(1_800_000_000_000)
    body = event("dos-key", at=at)
    for headers in (signed(body), signed(body, before=f"v1={'0' * 64}, ")):
        assert notifier().heard(headers, body) == Reply(key="dos-key", by="Ann", at=at)
    other = event("dos-key", "incident.resolved")
    assert notifier().heard(signed(other), other) is None
    ping = b'{"event": {"event_type": "pagey.ping", "data": {}}}'
    assert notifier().heard(signed(ping), ping) is None


def test_who_does_not_sign_is_not_believed() -> None:
    body = event("dos-key")
    for headers in (
        {},
        signed(body, "other"),
        signed(body + b" "),
        {"x-pagerduty-signature": "v1="},
    ):
        with pytest.raises(PermissionError, match="signature"):
            notifier().heard(headers, body)
    for secret in (None, ""):
        with pytest.raises(PermissionError, match="not configured"):
            notifier(secret).heard(signed(body, secret or ""), body)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"event": 3}', b'{"event": {"data": 1}}'])
def test_what_is_no_event_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match="version 3"):
        notifier().heard(signed(body), body)


class PagerDuty(HookServer):
    def reply(self, request: Request) -> bytes:
        del request
        return answer("202 Accepted", body='{"status": "success"}')

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(one.body) for one in self.requests]


async def soon(what: Callable[[], Awaitable[bool]]) -> None:
    for _ in range(400):
        if await what():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it did not happen")


async def test_an_acknowledgement_finds_its_alerts(tmp_path: Path) -> None:
    async with serving(PagerDuty()) as pagerduty:
        routes = tmp_path / "routes.yml"
        routes.write_text(
            "route: {receiver: pd, group_by: [alertname], group_wait: 0s, group_interval: 100ms}\n"
            "receivers: [{name: pd, pagerduty_configs: [{}]}]\n"
        )
        receiver = {
            "type": "pagerduty",
            "name": "pd",
            "routing_key": "a" * 32,
            "webhook_secret": SECRET,
            "url": f"http://127.0.0.1:{pagerduty.port}/v2/enqueue",
            "allow_hosts": ["127.0.0.1"],
        }
        settings = Settings.model_validate(
            {
                "storage": {"url": "memory://"},
                "alerting": {"routes_file": str(routes), "receivers": [receiver]},
                "sources": [],
            }
        )
        async with Sentinel(settings, CLOCK) as sentinel:
            for service in ("db", "web"):
                alert = PostedAlert(
                    labels=(("alertname", "Slow"), ("service", service)),
                    starts_at=CLOCK.now(),
                    ends_at=Millis(CLOCK.now() + HOUR),
                    updated_at=CLOCK.now(),
                )
                assert await sentinel.submit("push", Delivery(alerts=(alert,)))

            async def told() -> bool:
                return len(pagerduty.events) >= 2

            await soon(told)
            key = pagerduty.events[-1]["dedup_key"]
            firing = sentinel.runner.pipeline.parts.desk
            old = event(key, at=Millis(CLOCK.now() - HOUR))
            assert await take_reply(sentinel, "pd", signed(old), old) == 0
            stranger = event("another")
            assert await take_reply(sentinel, "pd", signed(stranger), stranger) == 0
            assert not any(one.acknowledged for one in firing.firing)
            body = event(key)
            with pytest.raises(PermissionError):
                await take_reply(sentinel, "pd", {}, body)
            with pytest.raises(KeyError):
                await take_reply(sentinel, "console", {}, body)
            assert await take_reply(sentinel, "pd", signed(body), body) == 2

            async def acknowledged() -> bool:
                said = [one.acknowledged for one in firing.firing]
                return [one and one.by for one in said] == ["Ann", "Ann"]

            await soon(acknowledged)
            assert await take_reply(sentinel, "pd", signed(body), body) == 0  # said already
