"""What `dos rca` prints: a ranking with its evidence, and what would change it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pydantic import TypeAdapter
from rich.console import Group, RenderableType
from rich.text import Text

from dos.cli.output import plain
from dos.cli.view_format import Signs, bar, clock, safe
from dos.kit.clock import Millis
from dos.model.ids import EntityId, IncidentId
from dos.model.rootcause import Hypothesis, RootCause, Stance
from dos.rca.missing import Missing

_BAR = 20
_WORTH = 0.02
"""Probability at stake below which it is not worth a line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreLine:
    """One entity and the ranker's number for it."""

    entity: EntityId
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TrueCause:
    """What really was the cause, where a case says so."""

    entity: EntityId
    metric: str | None
    fault: str | None
    place: int | None
    """Its place in the ranking from 1, ties at their worst; None: it is not among the entities."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RankReport:
    """`dos rca rank`: a recorded case, ranked."""

    case: str
    ranker: str
    start: Millis
    """When the trouble was said to have begun."""
    late_seconds: float
    """By how much that was made too late."""
    root_cause: RootCause
    scores: tuple[ScoreLine, ...]
    """Every entity, most suspect first."""
    truth: TrueCause | None
    missing: tuple[Missing, ...]
    seconds: float
    """Time to rank."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resting:
    """A kind of information without which something else would be said."""

    without: str
    leader: EntityId | None
    probability: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainReport:
    """`dos rca explain`: a stored incident, ranked again."""

    incident: IncidentId
    title: str
    ranker: str
    began_at: Millis
    at: Millis
    """Samples up to then were looked at."""
    entities: int
    series: int
    told: RootCause | None
    """What was said at the time."""
    root_cause: RootCause
    """What is said now."""
    same: bool | None
    """Whether the same cause leads; None where none was told."""
    missing: tuple[Missing, ...]
    rests_on: tuple[Resting, ...]


RANK_REPORT: TypeAdapter[RankReport] = TypeAdapter(RankReport)
EXPLAIN_REPORT: TypeAdapter[ExplainReport] = TypeAdapter(ExplainReport)


def render_rank(report: RankReport, signs: Signs) -> RenderableType:
    """The ranking, with the true cause beside it."""
    cause = report.root_cause
    late = f", told {report.late_seconds:g} s late" if report.late_seconds else ""
    parts: list[Text] = [
        safe(report.case, "bold"),
        Text(
            f"ranked by {report.ranker} in {report.seconds * 1000:.0f} ms; the trouble began at "
            f"{clock(cause.onset)}, as far as can be seen (said: {clock(report.start)}{late})",
            style="dim",
        ),
        Text(),
        *_ranking(cause, signs, report.truth.entity if report.truth else None),
    ]
    if report.truth is not None:
        parts += [Text(), _truth(report.truth)]
    parts += list(_wanted(report.missing, signs))
    return Group(*parts)


def render_explain(report: ExplainReport, signs: Signs) -> RenderableType:
    """The ranking, what was told, and what would change it."""
    parts: list[Text] = [
        safe(f"{report.incident}  {report.title}", "bold"),
        Text(
            f"ranked by {report.ranker} over {report.entities} entities, {report.series} series, "
            f"from what was known at {clock(report.at)}",
            style="dim",
        ),
        _told(report),
        Text(),
        *_ranking(report.root_cause, signs, None),
        *_wanted(report.missing, signs),
    ]
    parts += [Text(), Text("What it rests on", style="bold")]
    parts += [Text(plain(f"  {signs.dot} {one.text}")) for one in report.rests_on]
    if not report.rests_on:
        parts.append(Text("  nothing alone: it would be the same without any one kind of data"))
    return Group(*parts)


def _ranking(cause: RootCause, signs: Signs, true: EntityId | None) -> Iterator[Text]:
    if cause.top is None:
        text = f"The cause is not known: likelier than any is that it is none ({cause.nobody:.0%})."
        yield Text(text, style="yellow")
    for place, one in enumerate(cause.ranked, 1):
        yield _hypothesis(place, one, signs, true=one.entity == true)
        yield from _evidence(one, signs)
    yield Text(f"    {cause.unknown:>4.0%}  another cause", style="dim")


def _hypothesis(place: int, one: Hypothesis, signs: Signs, *, true: bool) -> Text:
    line = Text(f"{place:>2}. {one.probability:>4.0%}  ", style="bold" if place == 1 else "")
    line.append_text(bar(signs, one.probability, _BAR, "red"))
    line.append("  ")
    line.append_text(safe(one.entity, "bold green" if true else "bold"))
    if one.metric:
        line.append_text(safe(f"  {one.metric}", "dim"))
    if one.kind is not None:
        line.append(f"  ({one.kind.value})", style="dim")
    if true:
        line.append("  (true cause)", style="green")
    return line


def _evidence(one: Hypothesis, signs: Signs) -> Iterator[Text]:
    for evidence in one.evidence:
        speaks_for = evidence.stance is Stance.FOR
        sign, style = ("+", "green") if speaks_for else (signs.minus, "yellow")
        line = Text(f"      {sign} ", style=style)
        line.append(plain(evidence.text), style="default")
        yield line


def _truth(truth: TrueCause) -> Text:
    about = ", ".join(part for part in (truth.fault, truth.metric) if part)
    what = f"{truth.entity} ({about})" if about else truth.entity
    if truth.place is None:
        return Text.assemble(("true cause: ", "yellow"), safe(what), ", not among the entities")
    style = "green" if truth.place == 1 else "yellow"
    return Text.assemble((f"true cause at place {truth.place}: ", style), safe(what))


def _told(report: ExplainReport) -> Text:
    if report.told is None or report.same is None:
        return Text("nothing was told of its cause at the time", style="dim")
    top = report.told.top
    told = f"{top.entity} with {top.probability:.0%}" if top else "that the cause is not known"
    if report.same:
        return safe(f"as told at the time: {told}, by {report.told.method}", "green")
    return safe(f"other than told at the time: {told}, by {report.told.method}", "yellow")


def _wanted(missing: Sequence[Missing], signs: Signs) -> Iterator[Text]:
    worth = [one for one in missing if one.stake >= _WORTH]
    yield Text()
    yield Text("What would change it", style="bold")
    for one in worth:
        yield Text(plain(f"  {signs.dot} {one.text}"))
    if not worth:
        yield Text("  nothing that is missing is likely to", style="dim")
