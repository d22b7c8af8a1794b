"""What Slack shows of a notification, in Block Kit.

A header, labels, text for people, links, and a bar in the colour of the severity.

What others wrote into labels and annotations is escaped, so that it can neither notify a channel
(`<!channel>`) nor hide where a link leads.

Sources: https://docs.slack.dev/reference/block-kit/blocks/ for the limits of blocks,
https://docs.slack.dev/messaging/formatting-message-text/ for escaping.
"""

from __future__ import annotations

from dataclasses import dataclass

from dos.alerting.message import body_of, links_of, severity_of, subject_of
from dos.alerting.text import clipped, fitted, utf
from dos.model.alert import AlertState, Notification
from dos.model.impact import Severity

ACKNOWLEDGE = "dos_acknowledge"
"""The `action_id` of the button by which somebody says that he is on it."""
SILENCE = "dos_silence"
"""Of the one by which he wants quiet for an hour."""

_HEADER = 150
"""Characters of the text of a `header` block."""
_SECTION = 3000
"""Characters of the text of a `section` block."""
_CONTEXT = 2000
"""Characters of the labels, and of the fallback text."""
LINK = 1000
"""Characters of a link, and of those who are mentioned."""
_LINKS = 2
_NAMES = 5
"""Who is on it, at most so many by name."""
_NAME = 100

_RESOLVED = "#2eb67d"
_COLOURS = {
    Severity.SEV1: "#b00020",
    Severity.SEV2: "#e8590c",
    Severity.SEV3: "#f2c037",
    Severity.SEV4: "#5b8def",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a message has beside what the notification says."""

    mention: str = ""
    """Who is notified by name when something fires with sev1 or sev2, as Slack writes it."""
    button: str = ""
    """Value of the button to acknowledge with; empty: there is none."""


def is_grave(notification: Notification) -> bool:
    """Whether people are called by name: sev1 or sev2 fires."""
    return notification.state is AlertState.FIRING and severity_of(notification) <= Severity.SEV2


def message(notification: Notification, look: Look) -> dict[str, object]:
    """The message as it stands now, within Slack's limits whatever the alerts say."""
    title = " ".join(subject_of(notification).split()) or "[no title]"
    blocks: list[dict[str, object]] = [
        {"type": "header", "text": _plain(clipped(title, _HEADER))},
    ]
    if look.mention and is_grave(notification):
        blocks.append(_section(look.mention))
    if labels := _labels(notification):
        blocks.append({"type": "context", "elements": [_markdown(labels)]})
    if text := body_of(notification).strip():
        blocks.append(_section(_escaped(text, _SECTION)))
    if links := _links(notification):
        blocks.append(_section(" · ".join(links)))
    on_it, left = _acknowledged(notification)
    if on_it:
        blocks.append({"type": "context", "elements": [_markdown(on_it)]})
    if look.button and left:
        buttons = [
            _button(ACKNOWLEDGE, "Acknowledge", look.button),
            _button(SILENCE, "Silence 1 h", look.button),
        ]
        blocks.append({"type": "actions", "elements": buttons})
    return _coloured(notification, title, blocks)


def change(notification: Notification, look: Look) -> dict[str, object]:
    """What goes below the message into its thread: what is new."""
    title = " ".join(subject_of(notification).split()) or "[no title]"
    update = "" if notification.others else dict(notification.alert.annotations).get("update", "")
    blocks = [_section(f"*{_escaped(title.replace('*', ''), _HEADER * 2)}*")]
    if look.mention and is_grave(notification):
        blocks.append(_section(look.mention))
    if text := (update or body_of(notification)).strip():
        blocks.append(_section(_escaped(text, _SECTION)))
    return _coloured(notification, title, blocks)


def escaped(text: str) -> str:
    """`text` as it is, for a message without blocks."""
    return _escaped(text, _CONTEXT)


def _coloured(
    notification: Notification, title: str, blocks: list[dict[str, object]]
) -> dict[str, object]:
    firing = notification.state is AlertState.FIRING
    colour = _COLOURS[severity_of(notification)] if firing else _RESOLVED
    # Without `text` at the top there is nothing to read aloud or to show on a locked screen.
    text = _escaped(title, _CONTEXT)
    return {"text": text, "attachments": [{"color": colour, "blocks": blocks}]}


def _acknowledged(notification: Notification) -> tuple[str, int]:
    """Who is on what fires, and how many alerts nobody is on."""
    firing = [one for one in notification.alerts if one.state is AlertState.FIRING]
    said = [one.acknowledged for one in firing if one.acknowledged is not None]
    left = len(firing) - len(said)
    if not said:
        return "", left
    names = list(dict.fromkeys(" ".join(one.by.split()) for one in said))
    shown = ", ".join(_escaped(one, _NAME) for one in names[:_NAMES])
    more = f" and {len(names) - _NAMES} more" if len(names) > _NAMES else ""
    of = f" ({len(said)} of {len(firing)} alerts)" if left else ""
    return f"Acknowledged by {shown}{more}{of}", left


def _button(action: str, text: str, value: str) -> dict[str, object]:
    return {"type": "button", "action_id": action, "text": _plain(text), "value": value}


def _labels(notification: Notification) -> str:
    shown = notification.group if notification.route else notification.alert.labels
    text = "  ".join(f"{name}={value}" for name, value in shown if name != "alertname")
    return _escaped(" ".join(text.split()), _CONTEXT)


def _links(notification: Notification) -> list[str]:
    links = links_of(notification, LINK // 5 * 2)
    shown = [
        f"<{_escaped(url, LINK)}|{text}>"
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
