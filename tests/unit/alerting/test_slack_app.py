"""Slack as an app: one message and thread for each matter, and a button that acknowledges."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode

import pytest
from pydantic import ValidationError

from dos.alerting.notifiers.slack import Config, SlackNotifier
from dos.alerting.slack_blocks import ACKNOWLEDGE
from dos.alerting.slack_threads import matter_of
from dos.app.replies import take_reply
from dos.app.sentinel import Sentinel
from dos.app.settings import Settings
from dos.ingest.base import Delivery
from dos.kit.clock import HOUR, Millis, SystemClock
from dos.kit.errors import PermanentError, TransientError
from dos.model.alert import Acknowledgement, Notification, PostedAlert
from tests.unit.alerting import hooks
from tests.unit.alerting.builders import at
from tests.unit.alerting.hooks import HANG_UP, answer
from tests.unit.alerting.test_pagerduty import grouped, life, posted
from tests.unit.alerting.test_slack import BLOCKS
from tests.unit.app.test_replies import soon

TOKEN, SIGNING = "xoxb-s3cr3t-s3cr3t", "signings3cret"
CHANNEL, BOT = "C0123456789", "B0000000001"
CLOCK = SystemClock()


def bounded(blocks: list[dict[str, Any]]) -> bool:
    """Limits of https://docs.slack.dev/reference/block-kit/blocks/ ."""
    assert len(blocks) <= BLOCKS["maxItems"]
    for one in blocks:
        texts = [one["text"]] if "text" in one else one["elements"]
        limit = {"header": 150, "section": 3000, "context": 3000, "actions": 75}[one["type"]]
        assert 1 <= len(texts) <= 10
        for text in texts:
            if text["type"] == "button":
                assert len(text["action_id"]) <= 255
                assert len(text["value"]) <= 2000
                assert len(text["text"]["text"]) <= 75
            else:
                assert 1 <= len(text["text"]) <= limit
    return True


class Slack(hooks.HookServer):
    """A channel that keeps its messages, and refuses what Slack refuses."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[dict[str, Any]] = []
        self.methods: list[str] = []
        self.made: list[SlackNotifier] = []
        self.lost = 0
        """So many writes are done and never answered."""

    def notifier(self, **keys: object) -> SlackNotifier:
        given = {
            "token": TOKEN,
            "channel": CHANNEL,
            "signing_secret": SIGNING,
            "api_url": f"http://127.0.0.1:{self.port}/api",
            "allow_hosts": ["127.0.0.1"],
            **keys,
        }
        made = SlackNotifier(Config.model_validate(given), name="ops", clock=Hasty())
        self.made.append(made)
        return made

    def reply(self, request: hooks.Request) -> bytes:
        method = request.headers[":line"].split()[1].removeprefix("/api/")
        self.methods.append(method)
        if request.headers["authorization"] != f"Bearer {TOKEN}":
            return said({"ok": False, "error": "invalid_auth"})
        kind = request.headers["content-type"]
        if kind == "application/json; charset=utf-8":
            asked = json.loads(request.body)
        else:
            assert kind == "application/x-www-form-urlencoded"
            asked = {name: one[0] for name, one in parse_qs(request.body.decode()).items()}
        found = getattr(self, method.replace(".", "_"))(asked)
        if self.lost and method.startswith("chat."):
            self.lost -= 1
            return HANG_UP
        return said({"ok": True, **found})

    def auth_test(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"bot_id": BOT, "user_id": "U1"}

    def chat_postMessage(self, asked: dict[str, Any]) -> dict[str, Any]:  # noqa: N802 - Slack's name
        assert asked["channel"] == CHANNEL
        assert len(json.dumps(asked["metadata"])) < 8000
        assert asked["text"]
        assert bounded(asked["attachments"][0]["blocks"])
        ts = f"{1_780_000_000 + len(self.messages)}.000100"
        self.messages.append({"thread_ts": ts, **asked, "ts": ts, "bot_id": BOT})
        return {"ts": ts, "channel": CHANNEL}

    def chat_update(self, asked: dict[str, Any]) -> dict[str, Any]:
        (message,) = [one for one in self.messages if one["ts"] == asked["ts"]]
        assert bounded(asked["attachments"][0]["blocks"])
        message.update(asked)
        return {"ts": asked["ts"]}

    def conversations_history(self, asked: dict[str, Any]) -> dict[str, Any]:
        assert asked["include_all_metadata"] == "true"
        return {"messages": self.roots[::-1]}

    def conversations_replies(self, asked: dict[str, Any]) -> dict[str, Any]:
        return {"messages": [one for one in self.messages if one["thread_ts"] == asked["ts"]]}

    @property
    def roots(self) -> list[dict[str, Any]]:
        return [one for one in self.messages if one["thread_ts"] == one["ts"]]

    def below(self, root: dict[str, Any]) -> list[str]:
        return [
            one["text"]
            for one in self.messages
            if one["thread_ts"] == root["ts"] and one is not root
        ]


class Hasty(SystemClock):
    """Remembers how long it was asked to wait, and does not."""

    waited = 0.0

    async def sleep(self, seconds: float) -> None:
        self.waited += max(0.0, seconds)


def said(answered: dict[str, Any]) -> bytes:
    return answer("200 OK", body=json.dumps(answered))


def buttons(message: dict[str, Any]) -> list[dict[str, Any]]:
    blocks = message["attachments"][0]["blocks"]
    return [two for one in blocks if one["type"] == "actions" for two in one["elements"]]


@pytest.fixture
async def server() -> AsyncIterator[Slack]:
    async with hooks.serving(Slack()) as one:
        yield one
        for notifier in one.made:
            await notifier.close()


async def test_a_matter_is_one_message_kept_up_to_date_with_a_thread(server: Slack) -> None:
    notifier = server.notifier()
    fired, worse, over = life()
    await notifier.send(fired)
    (root,) = server.roots
    assert root["text"] == "[FIRING sev2] Latency in payment"
    assert [one["action_id"] for one in buttons(root)] == [ACKNOWLEDGE]
    await notifier.send(worse)
    assert root["text"] == "[UPDATE sev1] Latency in payment"
    await notifier.send(over)
    assert root["text"] == "[RESOLVED] Latency in payment, after 1m"
    assert root["attachments"][0]["color"] == "#2eb67d"
    assert buttons(root) == []
    assert server.below(root) == [
        "[UPDATE sev1] Latency in payment",
        "[RESOLVED] Latency in payment, after 1m",
    ]
    await notifier.close()


async def test_two_matters_are_two_threads_and_one_that_fires_again_is_a_new_one(
    server: Slack,
) -> None:
    notifier = server.notifier()
    for one in life():
        await notifier.send(one)
    group = grouped([posted((("alertname", "A"),))])
    await notifier.send(group)
    assert len(server.roots) == 2
    await notifier.send(replace(life()[0], id="ntf-again"))
    assert len(server.roots) == 3


async def test_a_restart_finds_its_threads(server: Slack) -> None:
    fired, worse, over = life()
    await server.notifier().send(fired)
    await server.notifier().send(worse)
    await server.notifier().send(over)
    (root,) = server.roots
    assert len(server.below(root)) == 2
    assert root["text"].startswith("[RESOLVED]")


@pytest.mark.parametrize("again", [True, False])
async def test_what_is_sent_again_after_a_crash_is_not_told_again(
    server: Slack, again: bool
) -> None:
    """Slack did it, and the answer never came: by the same process, or by the next one."""
    notifier = server.notifier()
    for notification in life():
        server.lost = 1
        with pytest.raises(TransientError):
            await notifier.send(notification)
        notifier = notifier if again else server.notifier()
        await notifier.send(notification)
    (root,) = server.roots
    assert len(server.below(root)) == 2
    assert root["text"].startswith("[RESOLVED]")


async def test_others_messages_are_not_taken_for_ours(server: Slack) -> None:
    fired = life()[0]
    await server.notifier().send(fired)
    server.roots[0]["bot_id"] = "B9999999999"
    await server.notifier().send(fired)
    assert len(server.roots) == 2


@pytest.mark.parametrize(
    ("answered", "error", "words"),
    [
        ({"ok": False, "error": "channel_not_found"}, PermanentError, "invite"),
        ({"ok": False, "error": "invalid_auth"}, PermanentError, "bot token"),
        ({"ok": False, "error": "missing_scope", "needed": "a:b"}, PermanentError, "a:b"),
        ({"ok": False, "error": "internal_error"}, TransientError, "internal_error"),
        ({"ok": False, "error": "ratelimited"}, TransientError, "ratelimited"),
        ({"ok": False, "error": TOKEN}, TransientError, "not as Slack does"),
        ([], TransientError, "not as Slack does"),
    ],
)
async def test_refusals_say_what_to_do_and_hold_no_secret(
    server: Slack, answered: Any, error: type[Exception], words: str
) -> None:
    notifier = server.notifier()
    server.answers = [said({"ok": True, "bot_id": BOT}), said({"ok": True, "messages": []})]
    server.answers.append(said(answered))
    with pytest.raises(error) as raised:
        await notifier.send(life()[0])
    shown = f"{raised.value} {getattr(raised.value, 'remedy', '')}"
    assert words.lower() in shown.lower()
    assert TOKEN not in f"{shown}{raised.value!r}{vars(notifier)}"
    await notifier.send(life()[0])
    assert len(server.roots) == 1


async def test_slack_says_when_to_come_again(server: Slack) -> None:
    server.answers = [answer("429 Too Many Requests", "Retry-After: 30", body='{"ok": false}')]
    with pytest.raises(TransientError) as raised:
        await server.notifier().send(life()[0])
    assert raised.value.retry_after == 30


async def test_messages_are_a_second_apart(server: Slack) -> None:
    notifier = server.notifier()
    for notification in life():
        await notifier.send(notification)
    writes = [one for one in server.methods if one.startswith("chat.")]
    clock = notifier._clock
    assert isinstance(clock, Hasty)
    assert clock.waited >= (len(writes) - 1) * 0.5


async def test_hostile_alerts_stay_within_the_limits(server: Slack) -> None:
    labels = (("alertname", "<!channel> \ud800"), *((f"l{n}", "x<&>" * 500) for n in range(300)))
    alerts = [posted(tuple(sorted(labels)), (("description", "<" * 50_000),)) for _ in range(60)]
    notifier = server.notifier()
    await notifier.send(grouped(alerts))
    await notifier.send(replace(grouped(alerts), id="ntf-2"))
    shown = json.dumps([(one["text"], one["attachments"][0]["blocks"][1:]) for one in server.roots])
    assert "<!channel>" not in shown


async def test_who_is_on_it_shows_in_the_message(server: Slack) -> None:
    notifier = server.notifier()
    fired = life()[0]
    await notifier.send(fired)
    taken = Acknowledgement(alert=fired.alert.id, by="ann <!here>", at=at(1))
    await notifier.show(replace(fired, alert=replace(fired.alert, acknowledged=taken)))
    (root,) = server.messages
    assert "Acknowledged by ann &lt;!here&gt;" in json.dumps(root)
    assert buttons(root) == []


@pytest.mark.parametrize(
    "keys",
    [
        {"webhook_url": "https://hooks.slack.com/services/T/B/x"},
        {"channel": ""},
        {"channel": "general, other"},
        {"token": "xoxp-user"},
        {"token": None},
        {"allow_hosts": []},
        {"api_url": "ftp://x"},
    ],
)
def test_what_cannot_work_is_refused_without_showing_the_token(keys: dict[str, Any]) -> None:
    given = {"token": TOKEN, "channel": CHANNEL, "api_url": "http://127.0.0.1/", **keys}
    given.setdefault("allow_hosts", ["127.0.0.1"])
    with pytest.raises(ValidationError) as raised:
        Config.model_validate(given)
    assert TOKEN not in str(raised.value)


def press(key: str, seconds: float | None = None) -> tuple[dict[str, str], bytes]:
    """A button is pressed, as Slack says it."""
    now = CLOCK.now() / 1000 if seconds is None else seconds
    pressed = {"action_id": ACKNOWLEDGE, "value": key, "action_ts": f"{now:.6f}"}
    payload = {"type": "block_actions", "user": {"username": "ann"}, "actions": [pressed]}
    body = urlencode({"payload": json.dumps(payload)}).encode()
    return signed(body, round(now)), body


def signed(body: bytes, seconds: int, secret: str = SIGNING) -> dict[str, str]:
    """https://docs.slack.dev/authentication/verifying-requests-from-slack/ ."""
    base = f"v0:{seconds}:".encode() + body
    digest = hmac.new(secret.encode(), base, hashlib.sha256).hexdigest()
    return {"x-slack-request-timestamp": str(seconds), "x-slack-signature": f"v0={digest}"}


def test_only_what_slack_signed_of_late_is_believed(free_port: int) -> None:
    server = Slack()
    server.port = free_port
    notifier = server.notifier()
    headers, body = press("key")
    reply = notifier.heard(headers, body)
    assert reply is not None
    assert (reply.key, reply.by) == ("key", "ann")
    now = round(CLOCK.now() / 1000)
    for wrong in (
        {},
        signed(body, now, "another"),
        signed(body + b" ", now),
        {**headers, "x-slack-request-timestamp": str(now + 1)},
        signed(body, now - 301),
        signed(body, now + 301),
    ):
        with pytest.raises(PermissionError):
            notifier.heard(wrong, body)
    with pytest.raises(PermissionError, match="not configured"):
        server.notifier(signing_secret=None).heard(headers, body)
    for strange in (b"", b"payload=%7B", b"payload=[]", b"payload=%7B%7D", b"\xff"):
        with pytest.raises(ValueError, match="interaction"):
            notifier.heard(signed(strange, now), strange)
    other = urlencode({"payload": '{"type": "view_submission"}'}).encode()
    assert notifier.heard(signed(other, now), other) is None


async def test_the_button_acknowledges_and_the_message_says_so(
    server: Slack, tmp_path: Path
) -> None:
    """The whole way: posted, told, pressed, acknowledged, shown."""
    routes = tmp_path / "routes.yml"
    routes.write_text("route: {receiver: ops, group_wait: 0s}\nreceivers: [{name: ops}]\n")
    receiver = {
        "type": "slack",
        "name": "ops",
        "token": TOKEN,
        "channel": CHANNEL,
        "signing_secret": SIGNING,
        "api_url": f"http://127.0.0.1:{server.port}/api",
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
        notification = await _told(sentinel, server)
        key = buttons(server.roots[0])[0]["value"]
        assert key == matter_of(notification)
        headers, body = press(key)
        with pytest.raises(PermissionError):
            await take_reply(sentinel, "ops", {}, body)
        assert await take_reply(sentinel, "ops", headers, body) == 1

        async def shown() -> bool:
            return "Acknowledged by ann" in json.dumps(server.roots[0])

        await soon(shown)
        (alert,) = sentinel.runner.pipeline.parts.desk.firing
        assert alert.acknowledged is not None
        assert alert.acknowledged.by == "ann"
        assert buttons(server.roots[0]) == []
        assert await take_reply(sentinel, "ops", headers, body) == 0  # said already


async def _told(sentinel: Sentinel, server: Slack) -> Notification:
    """A critical alert is posted, and its message is there."""
    desk = sentinel.runner.pipeline.parts.desk
    alert = PostedAlert(
        labels=(("alertname", "Slow"), ("severity", "critical")),
        starts_at=Millis(CLOCK.now() - HOUR),
        ends_at=Millis(CLOCK.now() + HOUR),
        updated_at=CLOCK.now(),
    )
    assert await sentinel.submit("push", Delivery(alerts=(alert,)))

    async def there() -> bool:
        return bool(server.roots)

    await soon(there)
    (firing,) = desk.firing
    (row,) = await sentinel.store.ledger(firing.id)
    return row.notification
