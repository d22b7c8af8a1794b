"""One screen: what is wrong, why, who was told, as lines that fit the terminal exactly.

Every section makes lines of one row each; the screen gives each section its share of the height,
the incidents before the healthy services.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment
from rich.text import Text

from dos.app.demo_types import NoticeKind, TruthNote, ViewState
from dos.cli.output import plain
from dos.cli.view_format import (
    Signs,
    bar,
    clock,
    lasting,
    percent,
    quantity,
    rule,
    safe,
    signs_for,
    to_ascii,
)
from dos.cli.view_incidents import incident_rows
from dos.cli.view_services import fit_services, service_rows
from dos.ingest.base import SourceHealth, SourceStatus
from dos.kit.clock import SECOND
from dos.model.incident import IncidentState
from dos.model.overview import Health

_ALERTS = 3
"""Rows for alerts that are kept free however much else there is."""
_NOTICE_STYLE = {
    NoticeKind.FIRING: "bold red",
    NoticeKind.RESOLVED: "green",
    NoticeKind.FAILED: "bold yellow",
}


@dataclass(frozen=True, slots=True)
class Screen:
    """A `ViewState` as a Rich renderable that fills the terminal it is shown on."""

    state: ViewState

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width, height = options.max_width, options.height or console.height
        for number, line in enumerate(self.lines(signs_for(console), width, height)):
            if number:
                yield Segment.line()
            line.truncate(width, overflow="ellipsis")
            if options.ascii_only:
                line.plain = to_ascii(line.plain)
            line.end = ""
            yield line

    def lines(self, signs: Signs, width: int, height: int) -> list[Text]:
        """At most `height` lines of at most `width` cells."""
        state = self.state
        head = [_header(state, signs)]
        foot = [*_sources(state, signs), *_truths(state, signs), _progress(state, signs, width)]
        room = height - len(head) - len(foot)
        alerts = _alerts(state, signs, width)
        incidents = list(incident_rows(state, signs, width, detail=room > 24))
        services = service_rows(state, signs, width)
        # The table shrinks to what is wrong, but not below four rows; incidents get the rest.
        for_alerts = min(len(alerts), _ALERTS)
        least = min(len(services), 5)
        for_incidents = min(len(incidents), max(0, room - for_alerts - least))
        for_services = min(len(services), room - for_alerts - for_incidents)
        for_alerts = min(len(alerts), room - for_services - for_incidents)
        body = [
            *fit_services(services, state, signs, for_services),
            *_cut(incidents, for_incidents, signs),
            *([alerts[0], *alerts[1:][-(for_alerts - 1) :]] if for_alerts > 1 else []),
        ]
        padding = [Text() for _ in range(room - len(body))]
        return [*head, *body, *padding, *foot][:height]


def _header(state: ViewState, signs: Signs) -> Text:
    opened = [one for one in state.incidents if one.state is IncidentState.OPEN]
    line = Text()
    line.append(" DOS ", style="bold reverse")
    line.append(f"  {clock(state.now)} UTC  ")
    if opened:
        noun = "incident" if len(opened) == 1 else "incidents"
        line.append(f"{signs.critical} {len(opened)} {noun} open", style="bold red")
    else:
        abnormal = sum(s.health is Health.WARNING for s in state.services)
        silent = sum(s.health is Health.UNKNOWN for s in state.services)
        if abnormal:
            line.append(f"{signs.warning} no incident, {abnormal} abnormal", style="bold yellow")
        elif silent:
            line.append(f"{signs.unknown} no incident, {silent} silent", style="magenta")
        elif state.services:
            line.append(f"{signs.ok} all is well", style="green")
        else:
            line.append(f"{signs.idle} waiting for telemetry", style="dim")
    facts = [f"{len(state.services)} services", f"{quantity(state.samples_per_second)} samples/s"]
    if state.phase:
        facts.append(plain(state.phase))
    line.append(f"  {f' {signs.dot} '.join(facts)}", style="dim")
    return line


def _cut(lines: list[Text], height: int, signs: Signs) -> list[Text]:
    if len(lines) <= height:
        return lines
    return [*lines[: max(0, height - 1)], Text(f"  {signs.more}", style="dim")][:height]


def _alerts(state: ViewState, signs: Signs, width: int) -> list[Text]:
    if not state.notices:
        return []
    lines = [rule("alerts", signs, width)]
    for notice in state.notices[-20:]:
        line = Text(f"  {clock(notice.at)} ", style="dim")
        line.append(f"{notice.kind.value:<8} ", style=f"not dim {_NOTICE_STYLE[notice.kind]}")
        line.append_text(safe(notice.text, "not dim"))
        lines.append(line)
    return lines


def _sources(state: ViewState, signs: Signs) -> Iterator[Text]:
    """One line for the sources that work, and one for each that does not."""
    fine = {SourceHealth.OK, SourceHealth.STARTING, SourceHealth.FINISHED}
    working = [one for one in state.sources if one.health in fine]
    if working:
        line = Text("sources ", style="dim")
        for index, one in enumerate(working):
            line.append(f" {signs.dot} " if index else "")
            line.append_text(safe(one.name, "not dim"))
            line.append(f" {one.health.value}", style="not dim green" if _is_ok(one) else "")
        yield line
    for one in state.sources:
        if one.health not in fine:
            yield _failing(one, state, signs)


def _is_ok(source: SourceStatus) -> bool:
    return source.health is SourceHealth.OK


def _failing(source: SourceStatus, state: ViewState, signs: Signs) -> Text:
    line = Text(f"{signs.warning} source ", style="bold yellow")
    line.append_text(safe(source.name))
    line.append(f" {source.health.value}")
    if source.retry_at is not None:
        wait = max(0.0, (source.retry_at - state.now) / SECOND)
        line.append(f", next try in {lasting(wait)}")
    if source.error:
        line.append_text(safe(f": {source.error}", "not bold"))
    return line


def _truths(state: ViewState, signs: Signs) -> Iterator[Text]:
    """The newest faults the simulator injected: those that last, else the last one."""
    active = [one for one in state.truths if one.ended_at is None]
    for truth in active[-2:] or state.truths[-1:]:
        line = Text("injected ", style="dim")
        line.append_text(safe(truth_text(truth), "not dim"))
        found = truth.found_after is not None
        line.append(
            f" {signs.done if found else signs.more}",
            style=f"not dim {'green' if found else 'yellow'}",
        )
        yield line


def truth_text(truth: TruthNote) -> str:
    """`CPU spike in payment-service (found after 12 s)`."""
    if truth.found_after is not None:
        known = f"found after {lasting(truth.found_after)}"
    else:
        known = "so far unseen" if truth.ended_at is None else "over, so far unseen"
    over = "" if truth.ended_at is None or truth.found_after is None else ", over"
    return f"{truth.fault} in {truth.target} ({known}{over})"


def _progress(state: ViewState, signs: Signs, width: int) -> Text:
    tail = f"  {state.address}" if state.address else ""
    if state.progress is None:
        taken = f"{quantity(state.samples)} samples so far {signs.dot} Ctrl-C ends"
        return safe(f"{taken}{tail}", "dim")
    left = f", {lasting(state.remaining)} left" if state.remaining is not None else ""
    text = f" {percent(state.progress)}{left}{tail}"
    line = bar(signs, state.progress, max(8, min(40, width - len(text))), "cyan")
    line.append_text(safe(text))
    return line
