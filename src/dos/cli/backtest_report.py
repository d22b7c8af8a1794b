"""What `dos backtest` says, for people."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from dos.cli.view_format import safe
from dos.evaluate.backtest.compare import BacktestReport, Difference
from dos.evaluate.backtest.run import Flight, Page
from dos.kit.clock import SECOND, Millis, to_datetime
from dos.kit.duration import format_duration

_STYLE = {
    Difference.NEW: "bold yellow",
    Difference.GONE: "bold cyan",
    Difference.EARLIER: "green",
    Difference.LATER: "red",
}
_SIGN = {
    Difference.NEW: "+",
    Difference.GONE: "-",
    Difference.EARLIER: "<",
    Difference.LATER: ">",
}
_MOST = 200


def render(report: BacktestReport) -> RenderableType:
    """The pages; or with another configuration, what it changes."""
    flight = report.present
    lines: list[RenderableType] = [_head(report.past, flight)]
    if report.other is None:
        lines += [_tally("pages", flight), *_pages(flight)]
        return Group(*lines)
    lines += [_tally("present", flight), _tally("other", report.other)]
    if not report.changes:
        lines.append(Text("no page would be different"))
    for change in report.changes[:_MOST]:
        style = _STYLE[change.difference]
        by = f" by {format_duration(change.seconds)}" if change.seconds else ""
        mark = Text(f"{_SIGN[change.difference]} {change.difference.value}{by}: ", style=style)
        lines.append(mark.append_text(_line(change.page)))
    if len(report.changes) > _MOST:
        lines.append(Text(f"… and {len(report.changes) - _MOST} more", style="dim"))
    return Group(*lines)


def _head(name: str, flight: Flight) -> Text:
    head = safe(name, "bold")
    return head.append(
        f": {_time(flight.since)} to {_time(flight.until)}, {flight.series:,} series, "
        f"{flight.samples:,} samples, {flight.wall_seconds:.1f} s",
        style="dim",
    )


def _tally(title: str, flight: Flight) -> Text:
    """How many pages, and what they are worth as far as anybody knows."""
    tally = flight.tally
    text = Text(f"{title}: ", style="bold")
    text.append(f"{tally.pages} page{'s' if tally.pages != 1 else ''}")
    judged = [
        (tally.right, "right", "green"),
        (tally.false, "labelled false", "red"),
        (tally.unjudged, "nobody judged", "dim"),
    ]
    for count, what, style in judged:
        if count:
            text.append(f", {count} {what}", style=style)
    text.append(f"; {flight.incidents} incidents, {flight.anomalies} anomalies", style="dim")
    if tally.known:
        delay = "" if tally.mean_delay is None else f", {tally.mean_delay:g} s after it began"
        text.append(f"; found {tally.found} of {tally.known} that were real{delay}")
    return text


def _pages(flight: Flight) -> list[RenderableType]:
    lines: list[RenderableType] = []
    for page in flight.pages[:_MOST]:
        line = _line(page)
        severity = page.severity.value if page.severity else "no severity"
        line.append(f"; {severity}, lasted {_lasted(page)}, cause ", style="dim")
        lines.append(line.append_text(safe(page.root or "unknown")))
    if len(flight.pages) > _MOST:
        lines.append(Text(f"… and {len(flight.pages) - _MOST} more", style="dim"))
    return lines


def _line(page: Page) -> Text:
    line = Text(f"{_time(page.told_at)} ")
    line.append_text(safe(page.title))
    verdict = _verdict(page)
    return line.append(f" ({verdict})", style="dim") if verdict else line


def _verdict(page: Page) -> str:
    return "right" if page.about is not None else "false" if page.false else ""


def _lasted(page: Page) -> str:
    if page.resolved_at is None:
        return "to the end"
    return format_duration(round((page.resolved_at - page.began_at) / SECOND))


def _time(at: Millis) -> str:
    return f"{to_datetime(at):%Y-%m-%d %H:%M:%S}"
