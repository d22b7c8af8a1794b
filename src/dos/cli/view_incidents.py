"""The incidents of the terminal view: what is wrong, the ranked causes, and the evidence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.text import Text

from dos.app.demo_types import ViewState
from dos.cli.view_format import (
    Signs,
    bar,
    lasting,
    percent,
    row,
    rule,
    safe,
)
from dos.kit.clock import SECOND
from dos.model.impact import Impact, Standing
from dos.model.incident import Incident, IncidentState
from dos.model.rootcause import Evidence, Hypothesis, Stance

_WORTH_NAMING = 0.2
"""Chance of following from which on an entity is named."""


def incident_rows(state: ViewState, signs: Signs, width: int, *, detail: bool) -> Iterator[Text]:
    """Open incidents with causes and evidence, then those that are over."""
    ordered = sorted(
        state.incidents, key=lambda one: (one.state is not IncidentState.OPEN, -one.opened_at)
    )
    if ordered:
        yield rule("incidents", signs, width)
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
        for evidence in _varied(hypothesis.evidence, limit):
            speaks_for = evidence.stance is Stance.FOR
            sign, style = ("+", "green") if speaks_for else (signs.minus, "yellow")
            line = Text(f"     {sign} ", style=style)
            line.append_text(safe(evidence.text, "default"))
            yield line
    if cause.top is not None and detail:
        yield Text(f"    another cause: {cause.unknown:.0%}", style="dim")
    if incident.impact is not None and detail:
        abnormal = sum(one.abnormal for one in incident.impact.affected)
        less = sum(one.standing is Standing.ASKED_LESS for one in incident.impact.affected)
        risk = len(incident.impact.affected) - abnormal - less
        text = f"    impact: {abnormal} abnormal, {risk} at risk, "
        text += f"{less} asked for less, " if less else ""
        text += f"{percent(incident.impact.score)} of the business weight"
        line = Text(text, style="dim")
        if incident.impact.entry_points:
            line.append_text(safe(f"; users come in at {', '.join(incident.impact.entry_points)}"))
        yield line
        yield from _cost(incident.impact)


def _cost(impact: Impact) -> Iterator[Text]:
    """What users met, who will probably follow, and error budgets that burn."""
    met = ((impact.failed, "failed"), (impact.slowed, "were slow"))
    said = [
        f"{one.value:,.0f} ({one.low:,.0f} to {one.high:,.0f}) {what}"
        for one, what in met
        if one is not None
    ]
    if said:
        yield Text(f"    requests because of it: {', '.join(said)}", style="dim")
    ahead = sorted(
        (one for one in impact.affected if (one.risk or 0.0) >= _WORTH_NAMING),
        key=lambda one: (-(one.risk or 0.0), one.entity),
    )
    if ahead:
        names = ", ".join(f"{one.entity} {one.risk:.0%}" for one in ahead[:3])
        yield safe(f"    may follow if nothing is done: {names}", "dim")
    for slo in impact.slos:
        if slo.limit > 0:
            left = f", nothing left in {lasting(slo.exhausted_in)}" if slo.exhausted_in else ""
            used = percent(slo.burned) if slo.burned is not None else "?"
            text = f"    {slo.name}: error budget burns, {used} used{left}"
            yield safe(text, "yellow")


def _varied(evidence: Sequence[Evidence], limit: int) -> Sequence[Evidence]:
    """The strongest piece of each kind before a second of any: three percentiles say one thing."""
    first = {one.kind: one for one in reversed(evidence)}.values()
    strongest = [one for one in evidence if one in first]
    return [*strongest, *(one for one in evidence if one not in strongest)][:limit]


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
