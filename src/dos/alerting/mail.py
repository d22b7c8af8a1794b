"""What a mail says, as plain text and as HTML.

Everything that comes from outside is escaped, cut and freed of control characters here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from html import escape

from dos.alerting.message import Worded, body, body_of, subject
from dos.kit.clock import to_rfc3339
from dos.model.alert import Alert, AlertState, LabelPairs, Notification
from dos.model.impact import Severity

_UNSHOWN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters but tab and newline, signs that turn the direction of text around, and halves
of characters, which cannot be encoded."""
_URL = re.compile(r"https?://[^\s\"'<>\\]+", re.IGNORECASE)

SUBJECT_SHOWN = 200
_TEXT_SHOWN = 20_000
_VALUE_SHOWN = 500
_PAIRS_SHOWN = _ALERTS_SHOWN = 50

URGENT = frozenset({Severity.SEV1, Severity.SEV2})
_RED, _AMBER, _GREEN = "#b42318", "#b54708", "#067647"
_TABLE = '<table style="border-collapse:collapse">'
_CELL = '<td style="border:1px solid #808080;padding:3px 8px;vertical-align:top">'


def text_of(notification: Notification, receiver: str) -> str:
    """The mail as plain text."""
    text = _clean(body_of(notification), _TEXT_SHOWN)
    labels = [f"  {name} = {value}" for name, value in _shown(_common_labels(notification))]
    links = [f"{name}: {url}" for name, url in _links(notification.alert) if url not in text]
    blocks = [
        text,
        "\n".join(["Labels:", *labels]) if labels else "",
        "\n".join(links),
        f"-- \n{_sent_to(receiver)}",
    ]
    return "\n\n".join(block for block in blocks if block)


def html_of(notification: Notification, receiver: str) -> str:
    """The mail as HTML: without colours of its own for text and ground, so light and dark fit."""
    firing = notification.state is AlertState.FIRING
    worst = worst_of(notification)
    colour = (_RED if worst in URGENT else _AMBER) if firing else _GREEN
    own = notification.own_subject if isinstance(notification, Worded) else ""
    title = line(own or _title(notification.alert), SUBJECT_SHOWN)
    own = notification.own_text if isinstance(notification, Worded) else ""
    first = _clean(own or body(notification.alert), _TEXT_SHOWN)
    badge = f"background:{colour};color:#ffffff;padding:4px 10px;font-weight:bold"
    state = f"{notification.state.value.upper()} {worst.value}"
    parts = [
        '<!DOCTYPE html>\n<html><head><meta charset="utf-8">',
        '<meta name="color-scheme" content="light dark"></head>',
        '<body style="font-family:sans-serif;line-height:1.4">',
        f'<p><span style="{badge}">{state}</span></p>',
        f"<h2>{escape(title)}</h2>",
        "<p>" + escape(first).replace("\n", "<br>\n") + "</p>",
        *_group_rows(notification),
        *_rows("Labels", _shown(_common_labels(notification))),
        *_rows("Links", list(_links(notification.alert))),
        f"<p><small>{escape(_sent_to(receiver))}</small></p>",
        "</body></html>\n",
    ]
    return "\n".join(parts)


def _sent_to(receiver: str) -> str:
    return f"Sent by Dependency Ops Sentinel to {line(receiver, _VALUE_SHOWN)}"


def _rows(heading: str, pairs: Sequence[tuple[str, str]]) -> Iterator[str]:
    """A table of names and values."""
    if not pairs:
        return
    yield f"<h3>{heading}</h3>\n{_TABLE}"
    for name, value in pairs:
        yield f"<tr>{_CELL}{escape(name)}</td>{_CELL}{_linked(value, value)}</td></tr>"
    yield "</table>"


def _group_rows(notification: Notification) -> Iterator[str]:
    """A table of the alerts of a group, with the labels in which they differ."""
    if not notification.others:
        return
    common = set(_common_labels(notification))
    alerts = notification.alerts
    firing = sum(one.state is AlertState.FIRING for one in alerts)
    yield f"<h3>{firing} firing, {len(alerts) - firing} resolved</h3>\n{_TABLE}"
    for one in alerts[:_ALERTS_SHOWN]:
        own = [pair for pair in one.labels if pair not in common]
        labels = ", ".join(f"{name}={value}" for name, value in _shown(own))
        source = line(one.generator_url, _VALUE_SHOWN)
        cells = (
            f"{one.state.value} {one.severity.value}",
            escape(line(_title(one), SUBJECT_SHOWN)),
            escape(line(labels, _VALUE_SHOWN)),
            f"since {to_rfc3339(one.starts_at)}",
            _linked(source, "source") if _URL.fullmatch(source) else "",
        )
        yield "<tr>" + "".join(f"{_CELL}{cell}</td>" for cell in cells) + "</tr>"
    yield "</table>"
    left = len(alerts) - _ALERTS_SHOWN
    if left > 0:
        yield f"<p>and {left} more</p>"


def _linked(target: str, text: str) -> str:
    """`text` escaped, as a link if `target` is the address of a web page."""
    if not _URL.fullmatch(target):
        return escape(text)
    return f'<a href="{escape(target)}" rel="noreferrer">{escape(text)}</a>'


def _links(alert: Alert) -> Iterator[tuple[str, str]]:
    """Where to look: annotations that are addresses, and where the alert was made."""
    for name, value in _shown((*alert.annotations, ("source", alert.generator_url))):
        if _URL.fullmatch(value):
            yield name, value


def _title(alert: Alert) -> str:
    """The subject without state and severity, which stand beside it."""
    return re.sub(r"^\[[^\]]*\] ", "", subject(alert))


def worst_of(notification: Notification) -> Severity:
    """Of what still fires; of all when nothing does."""
    firing = [one.severity for one in notification.alerts if one.state is AlertState.FIRING]
    return min(firing or [one.severity for one in notification.alerts])


def _common_labels(notification: Notification) -> LabelPairs:
    """What all alerts have; of one alert, its labels."""
    sets = [set(one.labels) for one in notification.alerts]
    return tuple(sorted(set.intersection(*sets)))


def _shown(pairs: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Cleaned, neither too many nor too long."""
    most = _VALUE_SHOWN
    return [(line(name, most), line(value, most)) for name, value in pairs[:_PAIRS_SHOWN]]


def _clean(text: str, most: int) -> str:
    """Without what cannot be shown, and at most so long."""
    plain = _UNSHOWN.sub(" ", text.replace("\r\n", "\n"))
    return plain if len(plain) <= most else plain[: most - 1] + "…"


def line(text: str, most: int) -> str:
    """The same on one line."""
    return _clean(" ".join(_UNSHOWN.sub(" ", text).split()), most)
