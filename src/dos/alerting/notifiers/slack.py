"""Slack: into a channel, as an app with a bot token or through an incoming webhook.

An app has one message for each matter, which it keeps up to date, with a thread below it and a
button to acknowledge (`dos.alerting.slack_threads`). An incoming webhook has a message for each
notification and no idempotency key: one that is sent again after a crash is a second message.

Sources: https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks/ for the
webhook's request and its answers; those for an app are named where it is spoken to.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from dos.alerting import slack_blocks
from dos.alerting.channel import NotificationChannel
from dos.alerting.outgoing import OutgoingClient, OutgoingPolicy, refusal
from dos.alerting.reply import Reply
from dos.alerting.slack_blocks import LINK, Look
from dos.alerting.slack_hook import check_signature, reply_of
from dos.alerting.slack_threads import Place, SlackThreads, matter_of
from dos.alerting.slack_web import SlackWeb
from dos.kit.clock import Clock
from dos.kit.duration import Duration
from dos.kit.plugins import Plugin
from dos.kit.secret import Secret
from dos.model.alert import Notification


class Config(BaseModel):
    """Keys of a receiver of type `slack`."""

    # The URL and the token are passwords: who has one may write into the channel.
    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, hide_input_in_errors=True
    )

    webhook_url: Secret | None = None
    """URL of an incoming webhook, which belongs to one channel; whoever knows it may write there,
    so it is kept secret. Give it or `token`."""
    token: Secret | None = None
    """Bot token of an app (`xoxb-…`): each incident, forecast or group is one message that is kept
    up to date, with a thread."""
    channel: Annotated[str, Field(max_length=100)] = ""
    """Where an app writes: the channel's id (`C0123456789`), or its name (`#ops`), for which it
    needs two scopes more. The app has to be in it."""
    signing_secret: Secret | None = None
    """Signing secret of the app, whose interactivity calls `/api/v1/webhooks/receivers/NAME` of
    this DOS: with it messages have a button to acknowledge."""
    broadcast: bool = False
    """Whether what goes into a thread shows in the channel as well when it is sev1 or sev2."""
    api_url: str = "https://slack.com/api"
    """Where an app finds Slack's Web API."""
    mention: Annotated[str, Field(max_length=LINK)] = ""
    """Who is notified by name when something fires with sev1 or sev2, as Slack writes it:
    `<!here>`, `<!channel>`, `<@U024BE7LH>`, `<!subteam^SAZ94GDB8>`."""
    allow_hosts: tuple[str, ...] = ()
    """Host names, addresses or networks that may be reached although they are not public, where
    `webhook_url` or `api_url` leads to a relay of your own."""
    timeout: Annotated[Duration, Field(gt=0, le=60)] = 10.0
    """How long to wait for the connection, and for each part of the answer."""

    @field_validator("webhook_url")
    @classmethod
    def _http(cls, value: Secret | None) -> Secret | None:
        if value is not None and not _is_whole(value.reveal()):
            msg = "write the whole URL, for example https://hooks.slack.com/services/T…/B…/…"
            raise ValueError(msg)
        return value

    @field_validator("api_url")
    @classmethod
    def _http_too(cls, value: str) -> str:
        if not _is_whole(value) or urlsplit(value).query or urlsplit(value).fragment:
            msg = "write the whole URL, for example https://slack.com/api"
            raise ValueError(msg)
        return value

    @field_validator("token")
    @classmethod
    def _of_a_bot(cls, value: Secret | None) -> Secret | None:
        if value is not None and not re.fullmatch(r"xoxb-[\w-]{1,500}", value.reveal(), re.ASCII):
            msg = "is not a bot token: it begins with xoxb-; copy it from OAuth & Permissions"
            raise ValueError(msg)
        return value

    @field_validator("channel")
    @classmethod
    def _one_channel(cls, value: str) -> str:
        if value and not re.fullmatch(r"[CDG][A-Z0-9]{6,}|#[^\s#,]+", value):
            msg = "write its id, for example C0123456789, or its name with #"
            raise ValueError(msg)
        return value

    @field_validator("mention")
    @classmethod
    def _as_slack_writes_it(cls, value: str) -> str:
        if not re.fullmatch(r"(<(!here|!channel|!everyone|@\w+|!subteam\^\w+)> ?)*", value):
            msg = (
                "write it as Slack does, for example <!here>, <@U024BE7LH> or <!subteam^SAZ94GDB8>"
            )
            raise ValueError(msg)
        return value

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.webhook_url is None) == (self.token is None):
            msg = "give either webhook_url or token"
            raise ValueError(msg)
        if self.token is None and (self.channel or self.signing_secret or self.broadcast):
            msg = "channel, signing_secret and broadcast are for an app, with its token"
            raise ValueError(msg)
        if self.token is not None and not self.channel:
            msg = "an app needs a channel to write to"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _not_in_the_clear(self) -> Self:
        # A relay of one's own is named in allow_hosts.
        url = self.webhook_url.reveal() if self.webhook_url else self.api_url
        if urlsplit(url).scheme != "https" and not self.allow_hosts:
            msg = "the URL or token would be readable for all on its way; use https"
            raise ValueError(msg)
        return self


def _is_whole(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname) and not parts.username


class SlackNotifier(NotificationChannel):
    """Tells a channel of Slack, as an app or through an incoming webhook.

    Args:
        config: Which channel or webhook, and who is mentioned.
        name: Name of the receiver, for messages.
        clock: For times, and for the time between messages.
    """

    def __init__(self, config: Config, *, name: str, clock: Clock) -> None:
        self._config = config
        self._name = name
        self._clock = clock
        self._client = OutgoingClient(OutgoingPolicy(config.allow_hosts), timeout=config.timeout)
        self._threads: SlackThreads | None = None
        if config.token is not None:
            web = SlackWeb(config.api_url, config.token, self._client, name=name, clock=clock)
            place = Place(
                channel=config.channel,
                mention=config.mention,
                buttons=bool(config.signing_secret),
                broadcast=config.broadcast,
            )
            self._threads = SlackThreads(web, place, name=name, clock=clock)

    async def send(self, notification: Notification) -> None:
        """Post the message, or bring the one there is up to date.

        Raises:
            TransientError: Unreachable, no answer in time, 408, 425, 429 or 5xx, or a refusal of
                Slack that passes.
            PermanentError: Any other refusal, or an address that is not allowed.
        """
        if self._threads is not None:
            await self._threads.tell(notification)
        elif self._config.webhook_url is not None:
            await self._post(self._config.webhook_url.reveal(), notification)

    async def show(self, notification: Notification) -> None:
        """Show who is on it in the message of an app; raises as `send`."""
        if self._threads is not None:
            await self._threads.show(notification)

    async def note(self, notification: Notification, text: str) -> None:
        """Say something in the thread of an app's message; raises as `send`."""
        if self._threads is not None:
            await self._threads.note(notification, text)

    def key(self, notification: Notification) -> str:
        """The value of its button."""
        return matter_of(notification)

    def heard(self, headers: Mapping[str, str], body: bytes) -> Reply | None:
        """Who pressed the button of which message.

        Raises:
            PermissionError: It is not signed with `signing_secret`, or not of late.
            ValueError: It is no interaction.
        """
        check_signature(self._config.signing_secret, headers, body, self._clock.now())
        return reply_of(body)

    async def _post(self, url: str, notification: Notification) -> None:
        """To an incoming webhook; only 200 is success."""
        headers = {"Content-Type": "application/json", "User-Agent": "dependency-ops-sentinel"}
        said = json.dumps(message(notification, self._config)).encode()
        answer = await self._client.post(url, said, headers)
        if answer.status == 200:
            return
        # Slack answers with one word, such as `no_service`; a relay might answer with the URL.
        word = re.match(r"[a-z_]{1,64}\s*$", answer.text)
        reason = f": {word[0].strip()}" if word else ""
        raise refusal(
            answer,
            f"Receiver {self._name}: {urlsplit(url).hostname} answered {answer.status}{reason}.",
            remedy=(
                "Check in Slack that the receiver's incoming webhook and its channel still exist, "
                "and that webhook_url is complete."
            ),
            now=self._clock.now(),
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()


def message(notification: Notification, config: Config) -> dict[str, object]:
    """The body of what is posted to an incoming webhook."""
    return slack_blocks.message(notification, Look(mention=config.mention))


PLUGIN = Plugin(Config, SlackNotifier)
