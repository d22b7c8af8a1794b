"""Slack's Web API on loopback: takes what it is published to take, and keeps a channel."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

import jsonschema

from dos.kit.clock import ManualClock, Millis
from tests.unit.alerting import hooks
from tests.unit.alerting.builders import START
from tests.unit.alerting.hooks import HANG_UP, answer

TOKEN = "xoxb-1-s3cr3t"
CHANNEL = "C0123456789"
BOT = "B0000000001"
PAGE = 2
"""Messages of a page, whatever is asked for: "fewer may be returned"."""


class Stepping(ManualClock):
    """A clock on which sleeping passes the time at once."""

    async def sleep(self, seconds: float) -> None:
        self.advance(max(0.0, seconds))


def _object(required: str, **properties: object) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": required.split(),
        "properties": properties,
    }


def _text(kind: str, most: int) -> dict[str, Any]:
    string = {"type": "string", "minLength": 1, "maxLength": most}
    return _object("type text", type={"const": kind}, text=string, emoji={}, verbatim={})


# From https://docs.slack.dev/reference/block-kit/ (limits), docs.slack.dev/reference/methods/ and
# docs.slack.dev/messaging/message-metadata/. Stricter where they say nothing: what is unknown is a
# mistake of ours.
_BUTTON = _object(
    "type text action_id value",
    type={"const": "button"},
    text=_text("plain_text", 75),
    action_id={"type": "string", "minLength": 1, "maxLength": 255},
    value={"type": "string", "minLength": 1, "maxLength": 2000},
)
_BLOCK = {
    "oneOf": [
        _object("type text", type={"const": "header"}, text=_text("plain_text", 150)),
        _object("type text", type={"const": "section"}, text=_text("mrkdwn", 3000)),
        _object(
            "type elements",
            type={"const": "context"},
            elements={
                "type": "array",
                "minItems": 1,
                "maxItems": 10,
                "items": _text("mrkdwn", 3000),
            },
        ),
        _object(
            "type elements",
            type={"const": "actions"},
            elements={"type": "array", "minItems": 1, "maxItems": 25, "items": _BUTTON},
        ),
    ]
}
_ATTACHMENT = _object(
    "color blocks",
    color={"pattern": "^#[0-9a-f]{6}$"},
    blocks={"type": "array", "minItems": 1, "maxItems": 50, "items": _BLOCK},
)
_METADATA = _object(
    "event_type event_payload",
    event_type={"type": "string", "pattern": "^[a-z0-9_]{1,255}$"},
    event_payload={"type": "object", "additionalProperties": {"type": "string", "maxLength": 1000}},
)
_SHOWN = {
    "channel": {"const": CHANNEL},
    "text": {"type": "string", "minLength": 1, "maxLength": 4000},
    "attachments": {"type": "array", "minItems": 1, "maxItems": 20, "items": _ATTACHMENT},
    "metadata": _METADATA,
}
_TS = {"type": "string", "pattern": r"^\d{10}\.\d{6}$"}
_FLAG = {"type": "boolean"}
_WRITES = {
    "chat.postMessage": {
        "oneOf": [
            _object(
                "channel text attachments metadata",
                **_SHOWN,
                thread_ts=_TS,
                reply_broadcast=_FLAG,
                unfurl_links=_FLAG,
                unfurl_media=_FLAG,
            ),
            # What is said beside a message, and is no notification.
            _object(
                "channel text thread_ts",
                channel=_SHOWN["channel"],
                text=_SHOWN["text"],
                thread_ts=_TS,
            ),
        ]
    },
    "chat.update": _object("channel ts text attachments metadata", **_SHOWN, ts=_TS),
}
_ASKED = {
    "channel": {"const": CHANNEL},
    "oldest": {"pattern": r"^\d+\.\d{6}$"},
    "limit": {"pattern": r"^([1-9]\d?|[1-9]\d\d)$"},
    "cursor": {"pattern": r"^\d+$"},
    "include_all_metadata": {"const": "true"},
}
_READS = {
    "auth.test": _object(""),
    "conversations.history": _object("channel", **_ASKED),
    "conversations.replies": _object("channel ts", **_ASKED, ts=_TS),
    "users.conversations": _object(
        "types limit", types={}, exclude_archived={}, limit=_ASKED["limit"], cursor=_ASKED["cursor"]
    ),
}


def said(body: dict[str, Any], status: str = "200 OK", *headers: str) -> bytes:
    return answer(status, "Content-Type: application/json", *headers, body=json.dumps(body))


def refused(error: str, **more: str) -> bytes:
    return said({"ok": False, "error": error, **more})


class SlackFake(hooks.HookServer):
    """One channel, and one app in it."""

    def __init__(self, clock: ManualClock | None = None) -> None:
        super().__init__()
        self.clock = clock or Stepping(START)
        self.messages: list[dict[str, Any]] = []
        self.calls: list[str] = []
        self.written: list[float] = []
        """When something was written."""
        self.refuse: dict[str, list[bytes]] = {}
        """By method: answers instead of doing it."""
        self.lose: dict[str, int] = {}
        """By method: how many times it is done, and the answer gets lost."""
        self.channels = [{"id": "C000000AAAA", "name": "one"}, {"id": "C000000BBBB", "name": "two"}]
        self.channels.append({"id": CHANNEL, "name": "ops"})

    @property
    def roots(self) -> list[dict[str, Any]]:
        return [one for one in self.messages if one.get("thread_ts", one["ts"]) == one["ts"]]

    def replies(self, root: dict[str, Any]) -> list[dict[str, Any]]:
        return [one for one in self.messages if one.get("thread_ts") == root["ts"]]

    def reply(self, request: hooks.Request) -> bytes:
        method = request.headers[":line"].split()[1].removeprefix("/api/")
        self.calls.append(method)
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return refused("invalid_auth")
        if self.refuse.get(method):
            return self.refuse[method].pop(0)
        arguments = self._checked(method, request)
        handle: Callable[[dict[str, Any]], bytes] = getattr(self, f"_{method.replace('.', '_')}")
        done = handle(arguments)
        if self.lose.get(method, 0) > 0:
            self.lose[method] -= 1
            return HANG_UP
        return done

    def _checked(self, method: str, request: hooks.Request) -> dict[str, Any]:
        kind = request.headers["content-type"]
        arguments: dict[str, Any]
        if method in _WRITES:
            assert kind == "application/json; charset=utf-8"
            arguments, schema = json.loads(request.body), _WRITES[method]
            assert len(json.dumps(arguments.get("metadata"))) <= 16_000
            self.written.append(self.clock.monotonic())
        else:
            assert kind == "application/x-www-form-urlencoded"
            fields = parse_qs(request.body.decode(), strict_parsing=bool(request.body))
            arguments, schema = {key: value for key, [value] in fields.items()}, _READS[method]
        jsonschema.validate(arguments, schema)
        return arguments

    def _auth_test(self, _: dict[str, Any]) -> bytes:
        return said({"ok": True, "bot_id": BOT, "user_id": "U1", "url": "https://x.slack.com/"})

    def _users_conversations(self, asked: dict[str, Any]) -> bytes:
        return self._page(asked, "channels", self.channels)

    def _chat_postMessage(self, asked: dict[str, Any]) -> bytes:  # noqa: N802  Slack's name
        self.clock.advance(0.001)
        return said({"ok": True, "channel": CHANNEL, "ts": self.put(asked)["ts"]})

    def put(self, asked: dict[str, Any], bot: str = BOT) -> dict[str, Any]:
        now: Millis = self.clock.now()
        ts = f"{now // 1000}.{now % 1000:03}{len(self.messages) % 1000:03}"
        one = {"type": "message", **asked, "bot_id": bot, "ts": ts}
        self.messages.append(one)
        return one

    def _chat_update(self, asked: dict[str, Any]) -> bytes:
        for one in self.messages:
            if one["ts"] == asked["ts"]:
                one.update(asked)
                return said({"ok": True, "channel": CHANNEL, "ts": one["ts"]})
        return refused("message_not_found")

    def _conversations_history(self, asked: dict[str, Any]) -> bytes:
        found = [
            one
            for one in reversed(self.messages)
            if one.get("thread_ts", one["ts"]) == one["ts"] or one.get("reply_broadcast")
        ]
        return self._page(
            asked, "messages", [one for one in found if float(one["ts"]) >= float(asked["oldest"])]
        )

    def _conversations_replies(self, asked: dict[str, Any]) -> bytes:
        root = next((one for one in self.messages if one["ts"] == asked["ts"]), None)
        if root is None:
            return refused("thread_not_found")
        later = [one for one in self.replies(root) if float(one["ts"]) >= float(asked["oldest"])]
        return self._page(asked, "messages", [root, *later])

    def _page(self, asked: dict[str, Any], name: str, rows: list[dict[str, Any]]) -> bytes:
        first = int(asked.get("cursor", "0"))
        after = first + PAGE
        more = str(after) if after < len(rows) else ""
        page = {"ok": True, name: rows[first:after], "response_metadata": {"next_cursor": more}}
        return said(page)


def blocks_of(message: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = message["attachments"][0]["blocks"]
    return found


def buttons_of(message: dict[str, Any]) -> list[dict[str, Any]]:
    rows = [one["elements"] for one in blocks_of(message) if one["type"] == "actions"]
    return [button for row in rows for button in row]
