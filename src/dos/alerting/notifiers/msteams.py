"""Microsoft Teams: a card per notification, through a webhook of Workflows.

The workflow is "Post to a channel when a webhook request is received", which takes an Adaptive
Card: a title in the colour of the severity, labels, the text for people, and buttons that open
links. What others wrote into labels and annotations is escaped, so that it is shown as it is and
cannot hide where a link leads.

A workflow answers as soon as it has started, so a message that Teams refuses then is seen in the
workflow's run history only; hence the care about its size. The older incoming webhooks of Office
365 connectors, and some relays, say in an answer 200 that Teams refused the message: that is no
success. Neither of them has an idempotency key: a notification that is sent again after a crash is
a second message.

Sources: https://learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors/ for the
request, its answers and its size, https://adaptivecards.io/explorer/ for the card,
https://learn.microsoft.com/microsoftteams/platform/task-modules-and-cards/cards/cards-format for
what is Markdown in it and how lines are broken.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator
from typing import Annotated, Self
from urllib.parse import quote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from dos.alerting.channel import NotificationChannel
from dos.alerting.message import body_of, links_of, severity_of, subject_of
from dos.alerting.outgoing import Answer, OutgoingClient, OutgoingPolicy, refusal
from dos.alerting.text import fitted, utf
from dos.kit.clock import Clock
from dos.kit.duration import Duration
from dos.kit.plugins import Plugin
from dos.kit.secret import Secret
from dos.model.alert import AlertState, Notification
from dos.model.impact import Severity

_ACCEPTED = frozenset({200, 202})
_MESSAGE_BYTES = 24_000
"""The limit is 28 KB (28,672 bytes) of what Teams makes of the card: it stands there as a text in
JSON, its quotes escaped once more, beside fields that Teams adds. It is measured here in the same
way, with room for those."""
_HREF = 2048
_RESERVED = "%:/?#[]@!$&'()*+,;=-._~"
"""What stands in a URL as it is (RFC 3986), and its escapes."""

_RESOLVED = "good"
_STYLES = {
    Severity.SEV1: "attention",
    Severity.SEV2: "attention",
    Severity.SEV3: "warning",
    Severity.SEV4: "accent",
}

# Underscores within a word, as in names of metrics, format nothing.
_FORMATTING = re.compile(r"(?<![^\W_])_|_(?![^\W_])|[\\`*\[\]<~]|&(?=#?[0-9A-Za-z]+;)", re.ASCII)
_AT_THE_START = re.compile(r"[#>]|-(?=-)|(?:[-+]|[0-9]{1,9}[.)])(?=\s|$)")
"""Headings, quotations, rules and lists; the last character is the one to escape."""
_NOT_DELIVERED = re.compile(r"delivery failed with error(?:.*HTTP error (\d{3}))?", re.DOTALL)


class Config(BaseModel):
    """Keys of a receiver of type `msteams`."""

    # The URL is the password: who has it may write into the channel.
    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, hide_input_in_errors=True
    )

    webhook_url: Secret
    """URL of a workflow "Post to a channel when a webhook request is received" in Teams; whoever
    knows it may write into its channel, so it is kept secret."""
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
            msg = "write the whole URL that the workflow shows, with its sig=…"
            raise ValueError(msg)
        return value

    @model_validator(mode="after")
    def _not_in_the_clear(self) -> Self:
        # A relay of one's own is named in allow_hosts.
        if urlsplit(self.webhook_url.reveal()).scheme != "https" and not self.allow_hosts:
            msg = "the URL would be readable for all on its way; use https"
            raise ValueError(msg)
        return self


class MSTeamsNotifier(NotificationChannel):
    """Posts each notification as one card; 200 and 202 are success.

    Args:
        config: Which workflow.
        name: Name of the receiver, for messages.
        clock: For a `Retry-After` that is a date.
    """

    def __init__(self, config: Config, *, name: str, clock: Clock) -> None:
        self._config = config
        self._name = name
        self._clock = clock
        self._client = OutgoingClient(OutgoingPolicy(config.allow_hosts), timeout=config.timeout)

    async def send(self, notification: Notification) -> None:
        """Post the card.

        Raises:
            TransientError: Unreachable, no answer in time, 408, 425, 429 or 5xx, also where an
                answer 200 says that Teams answered so.
            PermanentError: Any other answer than 200 and 202, or an address that is not allowed.
        """
        headers = {"Content-Type": "application/json", "User-Agent": "dependency-ops-sentinel"}
        url = self._config.webhook_url.reveal()
        answer = _of_teams(await self._client.post(url, message(notification), headers))
        if answer.status in _ACCEPTED:
            return
        raise refusal(
            answer,
            f"Receiver {self._name}: {urlsplit(url).hostname} answered {answer.status}"
            f"{_reason(answer, url)}.",
            remedy=(
                "Check in Teams that the receiver's workflow is still there and switched on, that "
                "anyone may trigger it, and that webhook_url is complete."
            ),
            now=self._clock.now(),
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()


def _of_teams(answer: Answer) -> Answer:
    """`answer` with the status that Teams gave, where it is only told in the text."""
    found = _NOT_DELIVERED.search(answer.text) if answer.status in _ACCEPTED else None
    if not found:
        return answer
    # Without one, the other side did not reach Teams.
    told = int(found[1] or 0)
    return dataclasses.replace(answer, status=told if 300 <= told < 600 else 502)


def _reason(answer: Answer, url: str) -> str:
    """The code of an error of Workflows; the rest of an answer might repeat the URL."""
    code = re.search(r'"code"\s*:\s*"(\w{1,64})"', answer.text)
    return f": {code[1]}" if code and code[1] not in url else ""


@dataclasses.dataclass(frozen=True, slots=True)
class _Room:
    """How many characters of each kind a card may hold, and how many labels."""

    title: int
    text: int
    labels: int
    label: int
    link: int


_ROOMS = (
    _Room(title=250, text=12_000, labels=40, label=500, link=_HREF),
    _Room(title=250, text=6000, labels=20, label=250, link=1024),
    _Room(title=250, text=2000, labels=10, label=100, link=512),
    # Fits whatever is in it: a character takes at most 14 bytes.
    _Room(title=150, text=300, labels=5, label=60, link=200),
)


def message(notification: Notification) -> bytes:
    """The body of the request, small enough for Teams whatever the alerts say."""
    cards = (card(notification, room) for room in _ROOMS)
    fits = next(one for one in cards if len(json.dumps(json.dumps(one))) <= _MESSAGE_BYTES)
    attachment = {
        "contentType": "application/vnd.microsoft.card.adaptive",
        "contentUrl": None,
        "content": fits,
    }
    return json.dumps({"type": "message", "attachments": [attachment]}).encode()


def card(notification: Notification, room: _Room = _ROOMS[0]) -> dict[str, object]:
    """The Adaptive Card, with as much in it as `room` says."""
    firing = notification.state is AlertState.FIRING
    style = _STYLES[severity_of(notification)] if firing else _RESOLVED
    title = _escaped(" ".join(subject_of(notification).split()), room.title)
    heading = _text(title or "no title", weight="bolder", size="medium")
    body: list[dict[str, object]] = [
        {"type": "Container", "style": style, "bleed": True, "items": [heading]}
    ]
    if facts := _facts(notification, room):
        body.append({"type": "FactSet", "facts": facts})
    if text := _escaped(body_of(notification), room.text):
        body.append(_text(text))
    made: dict[str, object] = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "msteams": {"width": "Full"},
        "body": body,
    }
    if actions := _actions(notification, room):
        made["actions"] = actions
    return made


def _text(text: str, **properties: object) -> dict[str, object]:
    return {"type": "TextBlock", "text": text, "wrap": True, **properties}


def _facts(notification: Notification, room: _Room) -> list[dict[str, str]]:
    shown = notification.group if notification.route else notification.alert.labels
    labels = [(name, value) for name, value in shown if name != "alertname" and value.strip()]
    facts = [
        {"title": _escaped(name, room.label) or "?", "value": _escaped(value, room.label) or "?"}
        for name, value in labels[: room.labels]
    ]
    if len(labels) > room.labels:
        facts.append({"title": "…", "value": f"and {len(labels) - room.labels} more"})
    return facts


def _actions(notification: Notification, room: _Room) -> list[dict[str, str]]:
    links = {
        # Only ASCII is a URL by the card's schema; browsers read the rest from its escapes.
        quote(utf(url), safe=_RESERVED): text
        for url, text in links_of(notification, room.link).items()
    }
    return [
        {"type": "Action.OpenUrl", "title": text, "url": url}
        for url, text in links.items()
        if len(url) <= room.link
    ]


def _escaped(text: str, most: int) -> str:
    """`text` as Markdown that shows it as it is, at most `most` characters of it."""
    beginning = text[: 4 * most]
    rest = ["…"] if len(text) > len(beginning) else []
    return fitted([*_pieces(utf(beginning)), *rest], most)


def _pieces(text: str) -> Iterator[str]:
    """`text` with what Markdown would read escaped, piece by piece."""
    first = True
    for whole in text.splitlines():
        line = "".join(one if one.isprintable() else " " for one in whole).strip()
        if not line:
            continue
        if not first:
            yield "\n\n"  # one alone breaks no line in Teams
        first = False
        marked = {found.start() for found in _FORMATTING.finditer(line)}
        if start := _AT_THE_START.match(line):
            marked.add(start.end() - 1)
        for place, one in enumerate(line):
            yield f"\\{one}" if place in marked else one


PLUGIN = Plugin(Config, MSTeamsNotifier)
