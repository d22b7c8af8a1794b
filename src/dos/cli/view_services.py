"""The service table of the terminal view: a row for each service, the worst first."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from dos.app.demo_types import ViewState
from dos.cli.view_format import (
    HEALTH_ORDER,
    HEALTH_STYLE,
    Signs,
    health_sign,
    in_unit,
    reading,
    row,
    safe,
    service_score,
)
from dos.model.overview import Health, SeriesReading, ServiceStatus
from dos.model.telemetry import Role

# One cell behind each number is kept for the arrow of an abnormal one.
_COLUMNS = (("health", 8), ("rate ", 7), ("errors ", 7), ("p95 ", 7), ("cpu ", 6), ("memory ", 7))
_SCORE = 5


def service_rows(state: ViewState, signs: Signs, width: int) -> list[Text]:
    """The heading and a row for each service, the worst first."""
    longest = max((len(_name(one)) for one in state.services), default=0)
    name_width = width - sum(size + 1 for _, size in _COLUMNS) - _SCORE - 3
    name_width = min(name_width, max(26, longest + 2))  # numbers stay close to their names
    heads = [(Text(label, style="dim"), size, label != "health") for label, size in _COLUMNS]
    title = (Text("service", style="dim"), name_width, False)
    lines = [row([(Text(" "), 1, False), title, *heads, (Text("score", style="dim"), 5, True)])]
    return lines + [_service(status, signs, name_width) for status in _ordered(state)]


def _ordered(state: ViewState) -> list[ServiceStatus]:
    """The worst first."""
    return sorted(
        state.services,
        key=lambda one: (
            (HEALTH_ORDER[one.health], -(service_score(one) or 0.0), one.entity.id)
            if one.health in {Health.CRITICAL, Health.WARNING}
            else (HEALTH_ORDER[one.health], 0.0, one.entity.id)
        ),
    )


def _name(status: ServiceStatus) -> str:
    return status.entity.name or status.entity.id


def _service(status: ServiceStatus, signs: Signs, name_width: int) -> Text:
    style = HEALTH_STYLE[status.health]
    word = status.health.value.upper() if status.health is Health.CRITICAL else status.health.value
    shown = (
        reading(status, Role.TRAFFIC, "rate", ""),
        reading(status, Role.ERRORS, "rate", "ratio", ""),
        reading(status, Role.LATENCY, "p95", "p99", "p90", ""),
        reading(status, Role.SATURATION, "cpu"),
        reading(status, Role.SATURATION, "mem"),
    )
    cells = [
        (Text(health_sign(signs, status.health), style=style), 1, False),
        (
            safe(_name(status), "bold" if status.health is Health.CRITICAL else ""),
            name_width,
            False,
        ),
        (Text(word, style=style), _COLUMNS[0][1], False),
    ]
    sizes = [size for _, size in _COLUMNS[1:]]
    # What a silent service said last is not what it says now.
    calm = "dim" if status.health in {Health.UNKNOWN, Health.IDLE} else ""
    cells += [
        (_value(one, signs, calm), size, True) for one, size in zip(shown, sizes, strict=True)
    ]
    score = service_score(status)
    text = signs.dash if score is None else f"{score:.2f}"
    heat = "dim" if score is None or score < 0.5 else "yellow" if score < 0.75 else "bold red"
    return row([*cells, (Text(text, style=heat), _SCORE, True)])


def _value(one: SeriesReading | None, signs: Signs, calm: str) -> Text:
    """The newest value; an abnormal one with an arrow for the side it strays to."""
    if one is None:
        return Text(f"{signs.dash} ", style="dim")
    text = in_unit(one.value, one.unit)
    if not one.abnormal:
        return Text(f"{text} ", style=calm)
    up = one.expected is None or one.value >= one.expected
    return Text(f"{text}{signs.above if up else signs.below}", style="bold red")


def fit_services(lines: list[Text], state: ViewState, signs: Signs, height: int) -> Sequence[Text]:
    """As many rows as fit; a last one counts those that do not."""
    if len(lines) <= height:
        return lines
    kept = lines[: max(1, height - 1)]
    hidden = _ordered(state)[len(kept) - 1 :]
    counts = [
        f"{sum(one.health is health for one in hidden)} {health.value}"
        for health in HEALTH_ORDER
        if any(one.health is health for one in hidden)
    ]
    text = f"{signs.more} {len(hidden)} more: {', '.join(counts)}"
    return [*kept, Text(f"  {text}", style="dim")]
