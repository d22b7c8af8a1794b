"""Slack: a message per notification, through an incoming webhook.

The text is Block Kit: a header, labels and text for people, links, and a bar in the colour of the
severity. What others wrote into labels and annotations is escaped, so that it can neither notify
a channel (`<!channel>`) nor hide where a link leads.

An incoming webhook has no idempotency key: a notification that is sent again after a crash is a
second message.

Sources: https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks/ for the request
and its answers, https://docs.slack.dev/reference/block-kit/blocks/ for the limits of blocks,
https://docs.slack.dev/messaging/formatting-message-text/ for escaping.
"""

from __future__ import annotations

import json
import re
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from dos.alerting.channel import NotificationChannel
from dos.alerting.message import body_of, links_of, severity_of, subject_of
from dos.alerting.outgoing import OutgoingClient, OutgoingPolicy, refusal
from dos.alerting.text import clipped, fitted, utf
from dos.kit.clock import Clock
from dos.kit.duration import Duration
from dos.kit.plugins import Plugin
from dos.kit.secret import Secret
from dos.model.alert import AlertState, Notification
from dos.model.impact import Severity

_HEADER = 150
"""Characters of the text of a `header` block."""
_SECTION = 3000
"""Characters of the text of a `section` block."""
_CONTEXT = 2000
"""Characters of the labels, and of the fallback text."""
_LINK = 1000
_LINKS = 2

_RESOLVED = "#2eb67d"
_COLOURS = {
    Severity.SEV1: "#b00020",
    Severity.SEV2: "#e8590c",
    Severity.SEV3: "#f2c037",
    Severity.SEV4: "#5b8def",
}


class Config(BaseModel):
    """Keys of a receiver of type `slack`."""

    # The URL is the password: who has it may write into the channel.
    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, hide_input_in_errors=True
    )

    webhook_url: Secret
    """URL of an incoming webhook, which belongs to one channel; whoever knows it may write there,
    so it is kept secret."""
    mention: Annotated[str, Field(max_length=_LINK)] = ""
    """Who is notified by name when something fires with sev1 or sev2, as Slack writes it:
    `<!here>`, `<!channel>`, `<@U024BE7LH>`, `<!subteam^SAZ94GDB8>`."""
    allow_hosts: tuple[str, ...] = ()
    """Host names, addresses or networks that may be reached although they are not public, where
    `webhook_url` leads to a relay of your own."""
    timeout: Annotated[Duration, Field(gt=0, le=60)] = 10.0
    """How long to wait for the connection, and for each part of the answer."""

    @field_validator("webhook_url")
    @classmethod
    def _http(cls, value: Secret) -> Secret:
        try:
            parts = urlsplit(value.reveal())
            whole = parts.scheme in {"http", "https"} and parts.hostname and not parts.username
        except ValueError:
            whole = False
        if not whole:
            msg = "write the whole URL, for example https://hooks.slack.com/services/T…/B…/…"
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
    def _not_in_the_clear(self) -> Self:
        # A relay of one's own is named in allow_hosts.
        if urlsplit(self.webhook_url.reveal()).scheme != "https" and not self.allow_hosts:
            msg = "the URL would be readable for all on its way; use https"
            raise ValueError(msg)
        return self


class SlackNotifier(NotificationChannel):
    """Posts each notification as one message; only 200 is success.

    Args:
        config: Which webhook, and who is mentioned.
        name: Name of the receiver, for messages.
        clock: For a `Retry-After` that is a date.
    """

    def __init__(self, config: Config, *, name: str, clock: Clock) -> None:
        self._config = config
        self._name = name
        self._clock = clock
        self._client = OutgoingClient(OutgoingPolicy(config.allow_hosts), timeout=config.timeout)

    async def send(self, notification: Notification) -> None:
        """Post the message.

        Raises:
            TransientError: Unreachable, no answer in time, 408, 425, 429 or 5xx.
            PermanentError: Any other answer than 200, or an address that is not allowed.
        """
        headers = {"Content-Type": "application/json", "User-Agent": "dependency-ops-sentinel"}
        url = self._config.webhook_url.reveal()
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
    """The body of the request, within Slack's limits whatever the alerts say."""
    firing = notification.state is AlertState.FIRING
    severity = severity_of(notification)
    title = " ".join(subject_of(notification).split()) or "[no title]"
    blocks: list[dict[str, object]] = [
        {"type": "header", "text": _plain(clipped(title, _HEADER))},
    ]
    if firing and config.mention and severity <= Severity.SEV2:
        blocks.append(_section(config.mention))
    if labels := _labels(notification):
        blocks.append({"type": "context", "elements": [_markdown(labels)]})
    if text := body_of(notification).strip():
        blocks.append(_section(_escaped(text, _SECTION)))
    if links := _links(notification):
        blocks.append(_section(" · ".join(links)))
    colour = _COLOURS[severity] if firing else _RESOLVED
    fallback = _escaped(title, _CONTEXT)
    # Without `text` at the top there is nothing to read aloud or to show on a locked screen.
    return {"text": fallback, "attachments": [{"color": colour, "blocks": blocks}]}


def _labels(notification: Notification) -> str:
    shown = notification.group if notification.route else notification.alert.labels
    text = "  ".join(f"{name}={value}" for name, value in shown if name != "alertname")
    return _escaped(" ".join(text.split()), _CONTEXT)


def _links(notification: Notification) -> list[str]:
    links = links_of(notification, _LINK // 5 * 2)
    shown = [
        f"<{_escaped(url, _LINK)}|{text}>"
        for url, text in links.items()
        if not any(one in url for one in "<>|")
    ]
    return shown[:_LINKS]


def _escaped(text: str, most: int) -> str:
    """`text` with Slack's three control characters escaped, at most `most` characters of it."""
    signs = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
    # Cut between characters: half an entity would be shown as it is.
    return fitted((signs.get(one, one) for one in utf(text)), most)


def _plain(text: str) -> dict[str, object]:
    # No emoji: `:8080:` is a port.
    return {"type": "plain_text", "text": text, "emoji": False}


def _markdown(text: str) -> dict[str, object]:
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def _section(text: str) -> dict[str, object]:
    return {"type": "section", "text": _markdown(text)}


PLUGIN = Plugin(Config, SlackNotifier)
