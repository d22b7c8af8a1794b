"""Who presses the button in Slack has acknowledged here: the whole way, over HTTP and back."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx2
import pytest

from dos.alerting.notifiers.slack import Config, SlackNotifier
from dos.alerting.reply import Reply
from dos.alerting.slack_hook import check_signature
from dos.api.app import create_app
from dos.app.backend import SentinelBackend
from dos.app.sentinel import Sentinel
from dos.app.settings import Settings
from dos.ingest.base import Delivery
from dos.kit.clock import HOUR, MINUTE, ManualClock, Millis, SystemClock
from dos.kit.secret import Secret
from dos.model.alert import PostedAlert
from tests.unit.alerting.builders import START
from tests.unit.alerting.hooks import serving
from tests.unit.alerting.slack_fake import CHANNEL, TOKEN, SlackFake, buttons_of

SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
CLOCK = SystemClock()


def signed(body: bytes, at: Millis, secret: str = SECRET) -> dict[str, str]:
    """As https://docs.slack.dev/authentication/verifying-requests-from-slack/ has it."""
    stamp = str(at // 1000)
    digest = hmac.new(secret.encode(), f"v0:{stamp}:".encode() + body, hashlib.sha256)
    return {
        "x-slack-request-timestamp": stamp,
        "x-slack-signature": f"v0={digest.hexdigest()}",
        "content-type": "application/x-www-form-urlencoded",
    }


def pressed(
    value: str,
    at: Millis,
    user: Mapping[str, str] | None = None,
    action: str = "dos_acknowledge",
) -> bytes:
    """As https://docs.slack.dev/reference/interaction-payloads/block_actions-payload shows it."""
    payload = {
        "type": "block_actions",
        "team": {"id": "T9TK3CUKW", "domain": "example"},
        "user": user or {"id": "UA8RXUSPL", "username": "ann", "team_id": "T9TK3CUKW"},
        "api_app_id": "AABA1ABCD",
        "container": {"type": "message", "message_ts": "1548261231.000200"},
        "actions": [
            {
                "action_id": action,
                "block_id": "=qXel",
                "text": {"type": "plain_text", "text": "Acknowledge", "emoji": False},
                "value": value,
                "type": "button",
                "action_ts": f"{at / 1000:.6f}",
            }
        ],
    }
    return urlencode({"payload": json.dumps(payload)}).encode()


def notifier(secret: str | None = SECRET) -> SlackNotifier:
    given = None if secret is None else Secret(secret)
    config = Config(token=Secret(TOKEN), channel=CHANNEL, signing_secret=given)
    return SlackNotifier(config, name="ops", clock=ManualClock(START))


def test_a_signed_press_is_understood_also_twice() -> None:
    body = pressed("matter", START)
    for skew in (0, -5 * MINUTE, 5 * MINUTE, 0):
        headers = signed(body, Millis(START + skew))
        assert notifier().heard(headers, body) == Reply(key="matter", by="ann", at=START)
    nameless = pressed("matter", START, {"id": "U1"})
    heard = notifier().heard(signed(nameless, START), nameless)
    assert heard is not None
    assert heard.by == "U1"


def test_slacks_own_example_of_a_signature() -> None:
    # From Slack's page about it.
    body = (
        b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id="
        b"G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-"
        b"collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F3977008"
        b"85554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c44"
        b"7fce8b6703c"
    )
    at = Millis(1_531_420_618_000)
    right = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"
    headers = {**signed(body, at), "x-slack-signature": right}
    check_signature(Secret(SECRET), headers, body, at)


def test_who_does_not_sign_now_is_not_believed() -> None:
    body = pressed("matter", START)
    right = signed(body, START)
    for headers in (
        {},
        signed(body, START, "other"),
        signed(body + b" ", START),
        {**right, "x-slack-request-timestamp": str(START // 1000 + 1)},
        {**right, "x-slack-signature": "v0=é"},
        {"x-slack-signature": right["x-slack-signature"]},
    ):
        with pytest.raises(PermissionError, match="signature"):
            notifier().heard(headers, body)
    for at in (START - 6 * MINUTE, START + 6 * MINUTE):
        with pytest.raises(PermissionError, match="another time"):
            notifier().heard(signed(body, Millis(at)), body)
    for secret in (None, ""):
        with pytest.raises(PermissionError, match="not configured"):
            notifier(secret).heard(signed(body, START, secret or ""), body)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"payload=",
        b"payload=[]",
        b"\xff\xfe",
        b"&".join([b"a=1"] * 30),
        urlencode({"payload": '{"type": "block_actions", "actions": [3]}'}).encode(),
        pressed("matter", START).replace(b"1780000000.000000", b"NaN"),
        pressed("matter", START).replace(b"1780000000.000000", b"inf"),
    ],
)
def test_what_is_no_interaction_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match="not an interaction"):
        notifier().heard(signed(body, START), body)


@pytest.mark.parametrize(
    "payload",
    [
        {"type": "view_submission"},
        {"type": "block_actions", "actions": [{"action_id": "another"}]},
    ],
)
def test_other_interactions_do_not_matter(payload: dict[str, Any]) -> None:
    body = urlencode({"payload": json.dumps(payload)}).encode()
    assert notifier().heard(signed(body, START), body) is None


async def soon(what: Callable[[], Awaitable[bool]]) -> None:
    for _ in range(500):
        if await what():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it did not happen")


def settings_of(slack: SlackFake, routes: Path) -> Settings:
    routes.write_text(
        "route: {receiver: ops, group_by: [alertname], group_wait: 0s, group_interval: 100ms}\n"
        "receivers: [{name: ops, slack_configs: [{}]}]\n"
    )
    ops = {
        "type": "slack",
        "name": "ops",
        "token": TOKEN,
        "channel": CHANNEL,
        "signing_secret": SECRET,
        "api_url": f"http://127.0.0.1:{slack.port}/api",
        "allow_hosts": ["127.0.0.1"],
    }
    alerting = {
        "routes_file": str(routes),
        "receivers": [ops, {"type": "console", "name": "boss"}],
        "escalation": [{"steps": [{"after": "4s", "receivers": ["boss"]}]}],
    }
    return Settings.model_validate(
        {"storage": {"url": "memory://"}, "alerting": alerting, "sources": []}
    )


@asynccontextmanager
async def http(sentinel: Sentinel) -> AsyncIterator[httpx2.AsyncClient]:
    @asynccontextmanager
    async def opened() -> AsyncIterator[SentinelBackend]:
        yield SentinelBackend(sentinel)

    app = create_app(opened)
    async with app.router.lifespan_context(app) as state:

        async def served(scope: Any, receive: Any, send: Any) -> None:
            scope["state"] = dict(state or {})
            await app(scope, receive, send)

        transport = httpx2.ASGITransport(served)
        async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            yield client


async def test_a_press_acknowledges_shows_and_ends_the_escalation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with serving(SlackFake(ManualClock(CLOCK.now()))) as slack:
        settings = settings_of(slack, tmp_path / "routes.yml")
        async with Sentinel(settings, CLOCK) as sentinel, http(sentinel) as client:
            now = CLOCK.now()
            alert = PostedAlert(
                labels=(("alertname", "Slow"), ("service", "db")),
                starts_at=now,
                ends_at=Millis(now + HOUR),
                updated_at=now,
            )
            assert await sentinel.submit("push", Delivery(alerts=(alert,)))

            async def told() -> bool:
                return bool(slack.messages)

            await soon(told)
            [message] = slack.messages
            [button, _] = buttons_of(message)
            url = "/api/v1/webhooks/receivers/ops"
            body = pressed(button["value"], CLOCK.now())
            wrong = await client.post(url, content=body, headers=signed(body, now, "other"))
            assert wrong.status_code == 403
            strange = pressed("another", CLOCK.now())
            nothing = await client.post(url, content=strange, headers=signed(strange, CLOCK.now()))
            assert (nothing.status_code, nothing.json()) == (200, {"acknowledged": 0})
            right = signed(body, CLOCK.now())
            answer = await client.post(url, content=body, headers=right)
            assert (answer.status_code, answer.json()) == (200, {"acknowledged": 1})

            async def shown() -> bool:
                return "Acknowledged by ann" in json.dumps(message)

            await soon(shown)
            assert not buttons_of(message)
            [known] = sentinel.runner.pipeline.parts.desk.firing
            assert known.acknowledged is not None
            assert known.acknowledged.by == "ann"
            again = await client.post(url, content=body, headers=right)
            assert again.json() == {"acknowledged": 0}
            await CLOCK.sleep(5)
            rows = await sentinel.store.ledger(known.id)
            assert {row.notification.receiver for row in rows} == {"ops"}, "nobody further"
    assert len(slack.messages) == 1
    assert "s3cr3t" not in "".join(capsys.readouterr())


async def test_a_press_silences_the_group_for_an_hour_and_says_so(tmp_path: Path) -> None:
    async with serving(SlackFake(ManualClock(CLOCK.now()))) as slack:
        settings = settings_of(slack, tmp_path / "routes.yml")
        async with Sentinel(settings, CLOCK) as sentinel, http(sentinel) as client:
            now = CLOCK.now()
            alert = PostedAlert(
                labels=(("alertname", "Slow"), ("service", "db")),
                starts_at=now,
                ends_at=Millis(now + HOUR),
                updated_at=now,
            )
            assert await sentinel.submit("push", Delivery(alerts=(alert,)))

            async def told() -> bool:
                return bool(slack.messages)

            await soon(told)
            [_, button] = buttons_of(slack.messages[0])
            at = CLOCK.now()
            body = pressed(button["value"], at, action=button["action_id"])
            url = "/api/v1/webhooks/receivers/ops"
            answer = await client.post(url, content=body, headers=signed(body, at))
            assert (answer.status_code, answer.json()) == (200, {"acknowledged": 1})

            async def said() -> bool:
                return len(slack.messages) == 2

            await soon(said)
            desk = sentinel.runner.pipeline.parts.desk
            [silence] = list(desk.silences)
            assert (silence.created_by, silence.comment) == ("ann", "in ops")
            assert silence.ends_at == at + HOUR
            assert [(one.name, one.value) for one in silence.matchers] == [("alertname", "Slow")]
            assert slack.messages[1]["text"].startswith("Silenced by ann until ")
            again = await client.post(url, content=body, headers=signed(body, at))
            assert again.json() == {"acknowledged": 0}
            [seen] = desk.seen((), CLOCK.now())
            assert seen.silenced_by == (silence.id,)
