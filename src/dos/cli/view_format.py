"""Small pieces of the terminal view: signs, numbers in few characters, safe text.

Health is told by a sign, a word and a colour at once, so that it reaches people who see no
colours and terminals that show none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.text import Text

from dos.cli.output import plain
from dos.kit.clock import Millis, to_datetime
from dos.model.overview import Health, SeriesReading, ServiceStatus
from dos.model.telemetry import Role


@dataclass(frozen=True, slots=True, kw_only=True)
class Signs:
    """Characters with a meaning of their own."""

    ok: str
    warning: str
    critical: str
    unknown: str
    idle: str
    above: str
    below: str
    bar: str
    rest: str
    rule: str
    dash: str
    done: str
    minus: str
    dot: str
    more: str


UNICODE = Signs(
    ok="●",
    warning="▲",
    critical="■",
    unknown="?",
    idle="○",
    above="↑",
    below="↓",
    bar="█",
    rest="░",
    rule="─",
    dash="–",
    done="✓",
    minus="−",
    dot="·",
    more="…",
)
ASCII = Signs(
    ok="o",
    warning="!",
    critical="X",
    unknown="?",
    idle=".",
    above="^",
    below="v",
    bar="#",
    rest=".",
    rule="-",
    dash="-",
    done="+",
    minus="-",
    dot="-",
    more="...",
)

HEALTH_STYLE = {
    Health.CRITICAL: "bold red",
    Health.WARNING: "bold yellow",
    Health.UNKNOWN: "magenta",
    Health.OK: "green",
    Health.IDLE: "dim",
}
"""Worst first: also the order of the service table."""
HEALTH_ORDER = {health: place for place, health in enumerate(HEALTH_STYLE)}


def signs_for(console: Console) -> Signs:
    """Signs the console's encoding can show."""
    return ASCII if console.options.ascii_only else UNICODE


_ASCII = str.maketrans("…×→−–µ", "~x>--u")


def to_ascii(text: str) -> str:
    """`text` for a terminal that has nothing else, of the same length."""
    return text.translate(_ASCII).encode("ascii", "replace").decode()


def health_sign(signs: Signs, health: Health) -> str:
    """The shape for a state of health."""
    sign: str = getattr(signs, health.value)
    return sign


def clock(at: Millis) -> str:
    """`14:31:15`, UTC."""
    return f"{to_datetime(at):%H:%M:%S}"


def lasting(seconds: float) -> str:
    """`42 s`, `3 min 10 s`, `2 h 5 min`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        minutes, rest = divmod(whole, 60)
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, rest = divmod(whole // 60, 60)
    return f"{hours} h {rest} min" if rest else f"{hours} h"


def percent(ratio: float) -> str:
    """`0%`, `0.4%`, `12%`."""
    value = ratio * 100
    return f"{value:.1f}%" if 0 < abs(value) < 9.95 else f"{value:.0f}%"


def quantity(value: float) -> str:
    """A number in at most five characters: `0`, `0.25`, `41`, `1.2k`, `3.4G`."""
    size = abs(value)
    if size >= 999.5:
        power = min(5, int(math.log10(size * 1.0005) // 3))
        scaled = value / 1000**power
        return f"{scaled:.1f}{' kMGTP'[power]}" if abs(scaled) < 99.95 else (
            f"{scaled:.0f}{' kMGTP'[power]}"
        )  # fmt: skip
    if size >= 9.95 or value == int(value):
        return f"{value:.0f}"
    return f"{value:.1f}" if size >= 0.95 else f"{value:.2f}"


def duration(seconds: float) -> str:
    """A latency: `850µs`, `120ms`, `1.10s`, `95s`."""
    if abs(seconds) < 0.0009995:
        return f"{seconds * 1e6:.0f}µs"
    if abs(seconds) < 0.9995:
        return f"{seconds * 1e3:.0f}ms"
    return f"{seconds:.2f}s" if abs(seconds) < 9.995 else f"{seconds:.0f}s"


def in_unit(value: float, unit: str) -> str:
    """A value as short as it can be said in its unit."""
    if not math.isfinite(value):
        return "?"
    if unit == "ratio":
        return percent(value)
    if unit == "seconds":
        return duration(value)
    return quantity(value) + ("B" if unit == "bytes" else "/s" if unit == "1/s" else "")


def reading(status: ServiceStatus, role: Role, *words: str) -> SeriesReading | None:
    """The reading of `role` whose metric's name has the first possible one of `words` in it.

    Among several the most abnormal one.
    """
    found = [one for one in status.readings if one.role is role]
    for word in words:
        named = [one for one in found if word in one.metric.lower()]
        if named:
            return max(named, key=lambda one: one.score or 0.0)
    return None


def service_score(status: ServiceStatus) -> float | None:
    """The highest anomaly score among the service's series; None while all warm up."""
    return max((one.score for one in status.readings if one.score is not None), default=None)


def safe(text: str, style: str = "") -> Text:
    """Text from the watched system: no control characters, no markup."""
    return Text(plain(text), style=style, no_wrap=True, overflow="ellipsis")


def row(parts: Sequence[tuple[Text, int, bool]], gap: int = 1) -> Text:
    """Cells side by side: text, width, and whether it is flush right."""
    line = Text(no_wrap=True)
    for index, (cell, width, right) in enumerate(parts):
        fitted = cell.copy()
        fitted.truncate(width, overflow="ellipsis")
        padding = max(0, width - fitted.cell_len)
        if index:
            line.append(" " * gap)
        if right:
            line.append(" " * padding)
        line.append_text(fitted)
        if not right and index < len(parts) - 1:
            line.append(" " * padding)
    return line


def bar(signs: Signs, share: float, width: int, style: str) -> Text:
    """A horizontal bar for a share from 0 to 1."""
    filled = round(min(1.0, max(0.0, share)) * width)
    text = Text().append(signs.bar * filled, style=style)
    text.append(signs.rest * (width - filled), style="dim")
    return text


def rule(title: str, signs: Signs, width: int) -> Text:
    """A heading with a line through the rest of the row."""
    line = Text(f"{signs.rule * 2} ", style="dim")
    line.append(title, style="not dim bold")
    line.append(f" {signs.rule * max(0, width - len(title) - 4)}")
    return line
