"""The report at the end of `dos demo`, for people."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from dos.app.demo_types import DemoReport, InjectedFault
from dos.cli.output import plain
from dos.cli.view_format import Signs, lasting, safe


def render(report: DemoReport, signs: Signs) -> RenderableType:
    """Each fault beside what DOS made of it, then false incidents and alerts."""
    run = (
        f"{lasting(report.duration)} of {report.world} with seed {report.seed}, "
        f"{report.ticks:,} steps and {report.samples:,} samples in {report.wall_seconds:.1f} s"
    )
    parts: list[RenderableType] = [safe(run, "dim"), Text()]
    if report.faults:
        parts += [_faults(report, signs), Text(), _summary(report, signs)]
    else:
        parts.append(Text("nothing was injected"))
    false = ", ".join(report.false_incidents) or "none"
    style = "bold yellow" if report.false_incidents else ""
    parts.append(Text.assemble("false incidents: ", safe(false, style)))
    for count in report.alerts:
        failed = f", {count.failed} failed" if count.failed else ""
        line = safe(f"alerts to {count.receiver}: ")
        line.append(f"{count.fired} fired, {count.resolved} resolved{failed}")
        parts.append(line)
    return Group(*parts)


def _faults(report: DemoReport, signs: Signs) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for title in ("", "injected", "found after", "first cause", "true cause is"):
        table.add_column(title)
    for fault in report.faults:
        found = fault.detection is not None
        sign = Text(signs.done if found else signs.warning, style="green" if found else "red")
        what = Text(plain(f"{fault.fault} in {fault.target}"))
        table.add_row(sign, what, *_outcome(fault, signs))
    return table


def _outcome(fault: InjectedFault, signs: Signs) -> tuple[Text, Text, Text]:
    detection = fault.detection
    if detection is None:
        return Text("missed", style="bold red"), Text(signs.dash), Text(signs.dash)
    first = Text("none named")
    if detection.ranked and detection.ranked[0].probability > detection.unknown:
        top = detection.ranked[0]
        first = Text(plain(f"{top.entity} {top.probability:.0%}"))
    place = detection.correct_rank
    style = "green" if place == 1 else "yellow"
    rank = Text(f"number {place}" if place is not None else "not ranked", style=style)
    return Text(lasting(detection.delay)), first, rank


def _summary(report: DemoReport, signs: Signs) -> Text:
    good = report.first_ranked == len(report.faults)
    line = Text(f"{signs.done if good else signs.warning} ", style="green" if good else "yellow")
    line.append(
        f"{report.detected} of {len(report.faults)} found, "
        f"{report.first_ranked} with the true cause ranked first",
        style="bold",
    )
    return line
