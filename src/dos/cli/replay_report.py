"""What `dos replay` says about one recording or case, for people."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from dos.app.replay_types import ReplayKind, ReplayReport
from dos.cli.view_format import Signs, safe

_SHOWN = 5


def render(report: ReplayReport, signs: Signs) -> RenderableType:
    """A verdict, the figures, and for a case the ranking beside the truth."""
    figures = (
        f"    {report.inputs:,} inputs, {report.samples:,} samples, "
        f"{report.decisions:,} decisions, {report.incidents} incidents, "
        f"{report.wall_seconds:.1f} s"
    )
    lines: list[RenderableType] = [_verdict(report, signs), Text(figures, style="dim")]
    if report.difference:
        lines.append(safe(f"    first difference: {report.difference}", "yellow"))
    for place, cause in enumerate(report.ranked[:_SHOWN], 1):
        true = cause.entity in report.truth
        metric = f"  {cause.metric}" if cause.metric else ""
        line = Text(f"    {place}. {cause.probability:>4.0%}  ")
        line.append_text(safe(f"{cause.entity}{metric}", "bold green" if true else ""))
        line.append("  (true cause)" if true else "", style="green")
        lines.append(line)
    if report.unknown is not None:
        lines.append(Text(f"        {report.unknown:.0%} another cause", style="dim"))
    return Group(*lines)


def _verdict(report: ReplayReport, signs: Signs) -> Text:
    name = safe(str(report.path), "bold")
    if report.kind is ReplayKind.RECORDING:
        if report.identical is None:
            return Text.assemble((f"{signs.dash} ", ""), name, ": no decisions recorded to compare")
        if report.identical:
            return Text.assemble((f"{signs.done} ", "green"), name, ": identical decisions")
        return Text.assemble((f"{signs.critical} ", "bold red"), name, ": DIFFERENT decisions")
    if not report.truth:
        return Text.assemble((f"{signs.dash} ", ""), name, ": the true cause is not known")
    truth = safe(", ".join(report.truth))
    if report.correct_rank is None:
        return Text.assemble((f"{signs.warning} ", "yellow"), name, ": not ranked: ", truth)
    style = "green" if report.correct_rank == 1 else "yellow"
    sign = signs.done if report.correct_rank == 1 else signs.warning
    return Text.assemble(
        (f"{sign} ", style), name, f": true cause at place {report.correct_rank}: ", truth
    )
