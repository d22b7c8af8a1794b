"""One screen: what is wrong, why, who was told, as lines that fit the terminal exactly.

Every section makes lines of one row each; the screen gives each section its share of the height,
the incidents before the healthy services.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment
from rich.text import Text

from dos.app.demo_types import NoticeKind, TruthNote, ViewState
from dos.cli.output import plain
from dos.cli.view_format import (
    HEALTH_ORDER,
    HEALTH_STYLE,
    Signs,
    bar,
    clock,
    health_sign,
    in_unit,
    lasting,
    percent,
    quantity,
    reading,
    row,
    safe,
    service_score,
    signs_for,
    to_ascii,
)
from dos.ingest.base import SourceHealth, SourceStatus
from dos.kit.clock import SECOND
from dos.model.incident import Incident, IncidentState
from dos.model.overview import Health, SeriesReading, ServiceStatus
from dos.model.rootcause import Hypothesis, Stance
from dos.model.telemetry import Role

# One cell behind each number is kept for the arrow of an abnormal one.
_COLUMNS = (("health", 8), ("rate ", 7), ("errors ", 7), ("p95 ", 7), ("cpu ", 6), ("memory ", 7))
_SCORE = 5
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
        incidents = list(_incidents(state, signs, width, detail=room > 24))
        services = _services(state, signs, width)
        # The table shrinks to what is wrong, but not below four rows; incidents get the rest.
        for_alerts = min(len(alerts), _ALERTS)
        least = min(len(services), 5)
        for_incidents = min(len(incidents), max(0, room - for_alerts - least))
        for_services = min(len(services), room - for_alerts - for_incidents)
        for_alerts = min(len(alerts), room - for_services - for_incidents)
        body = [
            *_fit_services(services, state, signs, for_services),
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


def _rule(title: str, signs: Signs, width: int) -> Text:
    line = Text(f"{signs.rule * 2} ", style="dim")
    line.append(title, style="not dim bold")
    line.append(f" {signs.rule * max(0, width - len(title) - 4)}")
    return line


def _services(state: ViewState, signs: Signs, width: int) -> list[Text]:
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


def _fit_services(lines: list[Text], state: ViewState, signs: Signs, height: int) -> Sequence[Text]:
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


def _cut(lines: list[Text], height: int, signs: Signs) -> list[Text]:
    if len(lines) <= height:
        return lines
    return [*lines[: max(0, height - 1)], Text(f"  {signs.more}", style="dim")][:height]


def _incidents(state: ViewState, signs: Signs, width: int, *, detail: bool) -> Iterator[Text]:
    ordered = sorted(
        state.incidents, key=lambda one: (one.state is not IncidentState.OPEN, -one.opened_at)
    )
    if ordered:
        yield _rule("incidents", signs, width)
    for incident in ordered:
        yield _incident_title(incident, state, signs, width)
        if incident.state is IncidentState.OPEN:
            yield from _causes(incident, signs, width, detail=detail)


def _incident_title(incident: Incident, state: ViewState, signs: Signs, width: int) -> Text:
    """Sign, severity and title; how long and the id stay readable when the title is cut."""
    is_open = incident.state is IncidentState.OPEN
    sign = Text(signs.critical if is_open else signs.done, style="bold red" if is_open else "green")
    if is_open:
        tail = f"open for {lasting((state.now - incident.began_at) / SECOND)}"
    else:
        ended = incident.resolved_at if incident.resolved_at is not None else incident.updated_at
        tail = f"{incident.reason.value} after {lasting((ended - incident.began_at) / SECOND)}"
    end = Text(f"{tail}  {incident.id}", style="dim")
    severity = f"{incident.impact.severity.value.upper()} " if incident.impact else ""
    title = safe(severity, "bold red" if is_open else "dim")
    title.append_text(safe(incident.title, "bold" if is_open else ""))
    room = max(10, width - end.cell_len - 4)
    return row([(sign, 1, False), (title, min(room, title.cell_len), False), (Text(), 0, False),
                (end, end.cell_len, False)])  # fmt: skip


def _causes(incident: Incident, signs: Signs, width: int, *, detail: bool) -> Iterator[Text]:
    cause = incident.root_cause
    if cause is None:
        yield Text("    cause: not ranked yet", style="dim")
        return
    if cause.top is None:
        text = f"    cause unknown ({cause.unknown:.0%}); candidates:"
        yield Text(text, style="yellow")
    ranked = cause.ranked[: 3 if detail else 2]
    for place, hypothesis in enumerate(ranked, 1):
        yield _hypothesis(hypothesis, place, signs, width)
        limit = (3 if detail else 2) if place == 1 else (1 if detail else 0)
        for evidence in hypothesis.evidence[:limit]:
            speaks_for = evidence.stance is Stance.FOR
            sign, style = ("+", "green") if speaks_for else (signs.minus, "yellow")
            line = Text(f"     {sign} ", style=style)
            line.append_text(safe(evidence.text, "default"))
            yield line
    if cause.top is not None and detail:
        yield Text(f"    another cause: {cause.unknown:.0%}", style="dim")
    if incident.impact is not None and detail:
        abnormal = sum(one.abnormal for one in incident.impact.affected)
        risk = len(incident.impact.affected) - abnormal
        text = f"    impact: {abnormal} abnormal, {risk} at risk, "
        text += f"{percent(incident.impact.score)} of the business weight"
        line = Text(text, style="dim")
        if incident.impact.entry_points:
            line.append_text(safe(f"; users come in at {', '.join(incident.impact.entry_points)}"))
        yield line


def _hypothesis(hypothesis: Hypothesis, place: int, signs: Signs, width: int) -> Text:
    meter = bar(signs, hypothesis.probability, max(10, min(30, width // 6)), "red")
    name = safe(hypothesis.entity, "bold" if place == 1 else "")
    if hypothesis.metric:
        name.append(f"  {safe(hypothesis.metric).plain}", style="not bold dim")
    share = Text(f"{hypothesis.probability:.0%}", style="bold" if place == 1 else "")
    number = Text(f"{place}.", style="dim")
    return row([
        (Text(), 1, False), (number, 2, True), (share, 5, True),
        (meter, meter.cell_len, False), (name, width - meter.cell_len - 12, False),
    ])  # fmt: skip


def _alerts(state: ViewState, signs: Signs, width: int) -> list[Text]:
    if not state.notices:
        return []
    lines = [_rule("alerts", signs, width)]
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
