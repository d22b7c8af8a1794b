"""The score card as tables of text: the same for the terminal, Markdown and HTML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dos.evaluate.bench.card import (
    ContenderCard,
    Figure,
    ScoreCard,
    TypeFigure,
    TypeRow,
    Unit,
)
from dos.evaluate.bench.outcome import Contender
from dos.evaluate.bench.resample import Estimate

NONE = "—"
_TYPE_UNITS = {
    TypeFigure.DELAY_MEDIAN: Unit.SECONDS,
    TypeFigure.DELAY_P95: Unit.SECONDS,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TextTable:
    """A table of text; the first column is left-aligned, the others are figures."""

    title: str
    note: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def tables(card: ScoreCard, *, intervals: bool = True) -> tuple[TextTable, ...]:
    """Every table of `card`, the most important one first.

    Args:
        card: The score card.
        intervals: Whether the tables per type and per world show intervals; without them they
            fit into 100 columns.
    """
    chosen = [
        figures_table(card),
        types_table(card, intervals=intervals),
        worlds_table(card, intervals=intervals),
        harmless_table(card),
    ]
    return tuple(one for one in chosen if one.rows)


def figures_table(card: ScoreCard) -> TextTable:
    """All figures of all contenders."""
    rows = [
        (figure.label, *(show(one.figures[figure], figure.unit) for one in card.contenders))
        for figure in Figure
    ]
    counts = [
        ("faults found", [f"{one.found} of {one.faults}" for one in card.contenders]),
        ("missed inside another incident", [str(one.absorbed) for one in card.contenders]),
        ("missed without visible effect", [str(one.invisible) for one in card.contenders]),
        ("false incidents, busy hours", [str(one.false_busy) for one in card.contenders]),
        ("false incidents, quiet weeks", [str(one.false_quiet) for one in card.contenders]),
        ("further incidents of a fault", [str(one.duplicates) for one in card.contenders]),
        ("not resolved at the end", [str(one.open_at_end) for one in card.contenders]),
    ]
    rows += [(f"{label} (count)", *cells) for label, cells in counts]
    rows.append(("remediation actions right / wrong / useless", actions(card), NONE, NONE))
    return TextTable(
        title="Figures",
        note="95 % intervals by resampling whole flights. False incidents are per service-week.",
        header=("", *(one.label for one in card.contenders)),
        rows=tuple(rows),
    )


def types_table(card: ScoreCard, *, intervals: bool) -> TextTable:
    """DOS on every type of fault, with the F1 of the baselines."""
    pipeline = card.of(Contender.PIPELINE)
    others = [one for one in card.contenders if one is not pipeline]
    with_interval = set(TypeFigure) if intervals else {TypeFigure.RECALL}
    rows = tuple(
        (
            row.label,
            str(row.faults),
            *(
                show(row.figures[figure], _unit(figure), interval=figure in with_interval)
                for figure in TypeFigure
            ),
            *(_f1(other, row, intervals=intervals) for other in others),
        )
        for row in pipeline.types
    )
    return TextTable(
        title="By type of fault",
        note="Precision counts the false incidents that began during a fault of the type or in "
        "the ten minutes after. Delays in seconds. The last columns: F1 of the baselines.",
        header=("DOS", "n", "prec.", "recall", "F1", "med.", "p95", "AC@1", "AC@3", "Avg@5")
        + (("thr.", "3σ") if not intervals else ("F1 of thresholds", "F1 of 3-sigma")),
        rows=rows,
    )


def worlds_table(card: ScoreCard, *, intervals: bool) -> TextTable:
    """DOS in every world."""
    pipeline = card.of(Contender.PIPELINE)
    figures = tuple(pipeline.worlds[0].figures) if pipeline.worlds else ()
    return TextTable(
        title="By world",
        note="",
        header=("DOS", "services", "faults", *(figure.label for figure in figures)),
        rows=tuple(
            (
                row.world,
                f"{row.services:g}",
                str(row.faults),
                *(show(row.figures[figure], figure.unit, interval=intervals) for figure in figures),
            )
            for row in pipeline.worlds
        ),
    )


def harmless_table(card: ScoreCard) -> TextTable:
    """What contenders made of harmless events."""
    kinds = card.of(Contender.PIPELINE).harmless
    return TextTable(
        title="Harmless events",
        note="False incidents at their time and place, in all flights.",
        header=("", "events", *(one.label for one in card.contenders)),
        rows=tuple(
            (
                row.label,
                str(row.events),
                *(str(one.harmless[place].false) for one in card.contenders),
            )
            for place, row in enumerate(kinds)
        ),
    )


def actions(card: ScoreCard) -> str:
    """Remediation as it was: today's pipeline may take none."""
    taken = card.actions
    if not taken.right + taken.wrong + taken.useless:
        return "none taken"
    return f"{taken.right} / {taken.wrong} / {taken.useless}"


def summary(card: ScoreCard) -> str:
    """One line on what was flown."""
    options = card.options
    partial = "" if card.complete else f" (partial: {card.flown} of {card.planned})"
    last = options.split.first_seed + options.seeds - 1
    return (
        f"{card.flown} flights{partial}, {options.split} seeds {options.split.first_seed} to "
        f"{last} of {', '.join(options.worlds)}; {card.service_weeks_busy:.1f} service-weeks with "
        f"faults at {options.step:g} s, {card.service_weeks_quiet:.0f} without at "
        f"{options.quiet_step:g} s; {card.samples:,} samples"
    )


def show(estimate: Estimate, unit: Unit, *, interval: bool = True) -> str:
    """A figure, and its interval where there is one: `0.93 (0.90–0.96)`."""
    if estimate.value is None:
        return NONE
    text = number(estimate.value, unit)
    if not interval or estimate.low is None or estimate.high is None:
        return text
    return f"{text} ({number(estimate.low, unit)}–{number(estimate.high, unit)})"


def number(value: float, unit: Unit) -> str:
    """A number as precise as it deserves."""
    if unit is Unit.SECONDS:
        return f"{value:.0f}"
    if unit is Unit.SHARE or value < 10:
        return f"{value:.2f}"
    return f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def _unit(figure: TypeFigure) -> Unit:
    return _TYPE_UNITS.get(figure, Unit.SHARE)


def _f1(other: ContenderCard, row: TypeRow, *, intervals: bool) -> str:
    theirs: Sequence[TypeRow] = [one for one in other.types if one.type is row.type]
    estimate = theirs[0].figures[TypeFigure.F1]
    return show(estimate, Unit.SHARE, interval=intervals)
