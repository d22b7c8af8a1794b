"""One thread in Slack for each matter: an incident, a forecast or a group of alerts.

The first notification is a message. Further ones change that message and go below it, into its
thread. When a group that was over fires again, that is a new message.

Nothing is kept here: each message carries as metadata which matter it is about and which
notification it told, and Slack itself is read for both, once after a start and whenever nobody
knows whether Slack took what was sent. So a restart finds its threads, and a notification that is
sent again is not told again.

Sources: https://docs.slack.dev/reference/methods/chat.postMessage/ (and `chat.update`,
`conversations.history`, `conversations.replies`), https://docs.slack.dev/messaging/message-metadata/
and https://docs.slack.dev/apis/web-api/rate-limits: one message a second in a channel.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256

from dos.alerting import slack_blocks
from dos.alerting.message import severity_of
from dos.alerting.slack_blocks import Look
from dos.alerting.slack_web import BusyError, RefusedError, Said, SlackWeb
from dos.kit import log
from dos.kit.clock import DAY, MINUTE, SECOND, Clock, Millis
from dos.kit.errors import PermanentError
from dos.model.alert import AlertState, Notification
from dos.model.impact import Severity

EVENT = "dos_matter"
"""The `event_type` of our metadata."""

_LOOKBACK = 14 * DAY
"""How far back threads are looked for after a start."""
_PAGES = 20
"""Of 100 messages each, that are read at most."""
_SKEW = 5 * MINUTE
"""How far Slack's clock may be from ours."""
_SPACING = 1.0
"""Seconds between two messages."""
_THREADS = 2000
_TOLD = 100
_ID = re.compile(r"[CDG][A-Z0-9]{6,}")

_GONE = frozenset(
    {"cannot_reply_to_message", "cant_update_message", "message_not_found", "thread_not_found"}
)
"""Somebody deleted the message: there has to be another one."""
_FROZEN = frozenset({"edit_window_closed"})
"""Messages may not be changed any more here; what is new stands in the thread all the same."""


@dataclass(slots=True, kw_only=True)
class _Thread:
    ts: str
    """Of its message; Slack's name for it."""
    first: str
    """Id of the notification that its message told first."""
    over: bool
    severity: Severity
    """As it was told last."""
    sure: bool
    """Whether all that was sent into it is known to have arrived, or not to have."""
    told: deque[str] = field(default_factory=lambda: deque(maxlen=_TOLD))
    """Ids of notifications in the thread."""
    at: Millis = Millis(0)
    """When what its message shows was made; 0: not by this process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where to post, and how."""

    channel: str
    """Its id, or its name with `#`."""
    mention: str = ""
    buttons: bool = False
    broadcast: bool = False
    """Whether sev1 and sev2 show in the channel as well, when they go into a thread."""


def matter_of(notification: Notification) -> str:
    """What a notification is about, for one receiver; the same for the whole life of it."""
    whole = f"{notification.receiver}\x1f{notification.subject}"
    return sha256(whole.encode(errors="backslashreplace")).hexdigest()[:40]


class SlackThreads:
    """Tells notifications, each matter in its thread.

    Args:
        web: Slack.
        place: Which channel.
        name: Name of the receiver, for messages.
        clock: For the time between messages, and for how far back to look.
    """

    def __init__(self, web: SlackWeb, place: Place, *, name: str, clock: Clock) -> None:
        self._web = web
        self._place = place
        self._name = name
        self._clock = clock
        self._lock = asyncio.Lock()
        self._threads: dict[str, _Thread] = {}
        """By matter; which was used last, is last."""
        self._bot = ""
        self._channel = ""
        self._read_since: Millis | None = Millis(0)
        """From when on the channel has to be read: something may be there that is not known."""
        self._next = 0.0
        self._log = log.get("alerting")

    async def tell(self, notification: Notification) -> None:
        """Post it, or change its message and say in its thread what is new."""
        async with self._lock:
            key = matter_of(notification)
            await self._know()
            thread = self._threads.get(key)
            if thread is not None and notification.id == thread.first:
                return  # it came the last time, and only its answer was lost
            if thread is not None and not thread.sure:
                await self._read(thread, notification)
            again = notification.state is AlertState.FIRING
            if thread is None or (thread.over and again):
                await self._open(key, notification)
                return
            try:
                if notification.id not in thread.told:
                    await self._reply(thread, notification)
                await self._update(thread, notification)
            except RefusedError as error:
                if error.code not in _GONE:
                    raise
                del self._threads[key]
                await self._open(key, notification)

    async def show(self, notification: Notification) -> None:
        """Show a message as it stands now, without telling anybody anew."""
        async with self._lock:
            await self._know()
            thread = self._threads.get(matter_of(notification))
            # What is over, or was told since, shows more than this.
            if thread is not None and not thread.over and notification.created_at >= thread.at:
                await self._update(thread, notification)

    async def note(self, notification: Notification, text: str) -> None:
        """Say something in the thread, if there is one."""
        async with self._lock:
            await self._know()
            thread = self._threads.get(matter_of(notification))
            if thread is not None:
                said = {"text": slack_blocks.escaped(text), "thread_ts": thread.ts}
                await self._say("chat.postMessage", said)

    async def _open(self, key: str, notification: Notification) -> None:
        began = self._clock.now()
        self._read_since = began
        try:
            said = await self._say(
                "chat.postMessage",
                {
                    **slack_blocks.message(notification, self._look(notification)),
                    "unfurl_links": False,
                    "unfurl_media": False,
                    "metadata": self._metadata(notification, first=notification.id),
                },
            )
        except (BusyError, RefusedError):
            self._read_since = None
            raise
        ts = said.get("ts")
        if not isinstance(ts, str) or not ts:
            return  # it is there, and will be found by reading
        self._read_since = None
        self._keep(
            key,
            _Thread(
                ts=ts,
                first=notification.id,
                over=notification.state is AlertState.RESOLVED,
                severity=severity_of(notification),
                sure=True,
                at=notification.created_at,
            ),
        )

    async def _reply(self, thread: _Thread, notification: Notification) -> None:
        severity = severity_of(notification)
        grave = severity <= Severity.SEV2
        # Who was called by name is not called for each new guess at the cause.
        nobody = any(one.acknowledged is None for one in notification.alerts)
        calls = severity < thread.severity or (bool(notification.route) and nobody)
        mention = self._place.mention if calls else ""
        thread.sure = False
        try:
            await self._say(
                "chat.postMessage",
                {
                    **slack_blocks.change(notification, Look(mention=mention)),
                    "thread_ts": thread.ts,
                    "reply_broadcast": self._place.broadcast and grave,
                    "unfurl_links": False,
                    "unfurl_media": False,
                    "metadata": self._metadata(notification),
                },
            )
        except (BusyError, RefusedError):
            thread.sure = True
            raise
        thread.sure = True
        thread.told.append(notification.id)

    async def _update(self, thread: _Thread, notification: Notification) -> None:
        try:
            await self._say(
                "chat.update",
                {
                    "ts": thread.ts,
                    **slack_blocks.message(notification, self._look(notification)),
                    "metadata": self._metadata(notification, first=thread.first),
                },
            )
        except RefusedError as error:
            if error.code not in _FROZEN:
                raise
            self._log.warning("slack_message_frozen", receiver=self._name, reason=error.code)
        thread.over = notification.state is AlertState.RESOLVED
        thread.severity = severity_of(notification)
        thread.at = notification.created_at
        self._keep(matter_of(notification), thread)

    def _look(self, notification: Notification) -> Look:
        button = matter_of(notification) if self._place.buttons else ""
        return Look(mention=self._place.mention, button=button)

    def _metadata(self, notification: Notification, first: str = "") -> dict[str, object]:
        payload = {"matter": matter_of(notification), "notification": first or notification.id}
        if first:
            payload["state"] = notification.state.value
            payload["severity"] = severity_of(notification).value
        return {"event_type": EVENT, "event_payload": payload}

    async def _say(self, method: str, arguments: Mapping[str, object]) -> Said:
        """Write into the channel, not too often."""
        wait = self._next - self._clock.monotonic()
        if wait > 0:
            await self._clock.sleep(wait)
        try:
            return await self._web.write(method, {"channel": self._channel, **arguments})
        finally:
            self._next = self._clock.monotonic() + _SPACING

    def _keep(self, key: str, thread: _Thread) -> None:
        self._threads.pop(key, None)
        self._threads[key] = thread
        if len(self._threads) > _THREADS:
            over = next((name for name, one in self._threads.items() if one.over), None)
            del self._threads[over or next(iter(self._threads))]

    async def _know(self) -> None:
        """Find out what is not known: who we are, which channel it is, and the threads in it."""
        if not self._bot:
            said = await self._web.read("auth.test", {})
            bot = said.get("bot_id")
            if not isinstance(bot, str) or not bot:
                msg = f"Receiver {self._name}: token is not that of an app's bot."
                raise PermanentError(msg, remedy="Copy the bot token (xoxb-…) of the app.")
            self._bot = bot
        if not self._channel:
            self._channel = await self._find_channel()
        if self._read_since is not None:
            since = max(self._read_since - _SKEW, self._clock.now() - _LOOKBACK)
            await self._find_threads(since)
            self._read_since = None

    async def _find_channel(self) -> str:
        """The id of the channel: without it nothing but posting works."""
        if _ID.fullmatch(self._place.channel):
            return self._place.channel
        name = self._place.channel.removeprefix("#")
        asked = {"types": "public_channel,private_channel", "exclude_archived": "true"}
        # Of the channels that the app is in, which are few; not of all there are.
        async for one in self._web.pages("users.conversations", asked, "channels", _PAGES):
            found = one.get("id")
            if one.get("name") == name and isinstance(found, str):
                return found
        msg = f"Receiver {self._name}: the app is in no channel #{name}."
        raise PermanentError(
            msg, remedy="Invite it with /invite there, or write the channel's id (C…) as channel."
        )

    async def _find_threads(self, since: float) -> None:
        asked = {
            "channel": self._channel,
            "include_all_metadata": "true",
            "oldest": f"{max(0.0, since) / SECOND:.6f}",
        }
        found: dict[str, _Thread] = {}
        async for one in self._web.pages("conversations.history", asked, "messages", _PAGES):
            ts, payload = one.get("ts"), self._payload(one)
            if not isinstance(ts, str) or payload is None or one.get("thread_ts", ts) != ts:
                continue
            if payload.get("severity") in set(Severity):
                key = str(payload["matter"])
                # The newest comes first; an older one was over when that began.
                found.setdefault(
                    key,
                    _Thread(
                        ts=ts,
                        first=str(payload["notification"]),
                        over=payload.get("state") == AlertState.RESOLVED,
                        severity=Severity(payload["severity"]),
                        sure=False,
                    ),
                )
        for key, thread in reversed(found.items()):
            known = self._threads.get(key)
            if known is None or known.ts != thread.ts:
                self._keep(key, thread)

    async def _read(self, thread: _Thread, notification: Notification) -> None:
        """Find out whether `notification` is in the thread already."""
        asked = {
            "channel": self._channel,
            "ts": thread.ts,
            "include_all_metadata": "true",
            "oldest": f"{max(0, notification.created_at - _SKEW) / SECOND:.6f}",
        }
        async for one in self._web.pages("conversations.replies", asked, "messages", _PAGES):
            payload = self._payload(one)
            if payload is not None and one.get("ts") != thread.ts:
                thread.told.append(str(payload["notification"]))
        thread.sure = True

    def _payload(self, message: Said) -> Mapping[str, str] | None:
        """Our metadata in a message, if it is ours: anybody may write some."""
        metadata = message.get("metadata")
        if message.get("bot_id") != self._bot or not isinstance(metadata, dict):
            return None
        payload = metadata.get("event_payload")
        if metadata.get("event_type") != EVENT or not isinstance(payload, dict):
            return None
        texts = {key: value for key, value in payload.items() if isinstance(value, str)}
        return texts if {"matter", "notification"} <= texts.keys() else None
