"""The score card of `dos bench detect` as tables of text."""

from __future__ import annotations

from collections.abc import Sequence

from dos.evaluate.bench.card import Unit
from dos.evaluate.bench.resample import Estimate
from dos.evaluate.bench.tables import NONE, TextTable, number, show
from dos.evaluate.series.card import ALL, DetectCard, DetectorCard, Figures, Work
from dos.evaluate.series.events import GRACE


def tables(card: DetectCard, *, details: bool = False) -> tuple[TextTable, ...]:
    """Every table of `card`, the most important one first.

    Args:
        card: The score card.
        details: Whether every series is shown, and the events of each group.
    """
    chosen = [areas_table(card), events_table(card), costs_table(card), published_table(card)]
    chosen.append(shapes_table(card))
    if details:
        chosen += [groups_table(one) for one in card.detectors]
        chosen += [reliability_table(one) for one in card.detectors]
        chosen.append(series_table(card))
    return tuple(one for one in chosen if one.rows)


def areas_table(card: DetectCard) -> TextTable:
    """VUS-PR of all detectors."""
    return TextTable(
        title="VUS-PR",
        note="Means over series, with 95 % intervals by resampling series; `groups` is the mean "
        "of the groups' means. The window of a series is its main period, as in TSB-AD.",
        header=("", ALL, "groups", *card.groups, "VUS-ROC", "AUC-PR"),
        rows=tuple(_areas_row(card, one) for one in card.detectors),
    )


def events_table(card: DetectCard) -> TextTable:
    """What the alarms were worth."""
    return TextTable(
        title="Alarms at the detectors' own thresholds",
        note=f"By anomalies, behind the prefix; an alarm counts that begins up to {GRACE} points "
        "before or after one. False alarms per series and day; delays in points; time on is the "
        "share of the time away from anomalies with an alarm on.",
        header=("", "recall", "precision", "false/day", "delay", "p90", "time on"),
        rows=tuple((one.name, *_event_cells(one.of(ALL))) for one in card.detectors),
    )


def costs_table(card: DetectCard) -> TextTable:
    """False alarms at equal recall, and speed."""
    rows = []
    for one in card.detectors:
        point = one.at_recall
        rows.append(
            (
                one.name,
                number(point.false_per_day, Unit.SHARE) if point else NONE,
                f"{point.threshold:.4g}" if point else NONE,
                f"{one.work.cpu_seconds:.1f}",
                _speed(one.work),
                _causal(card, one),
            )
        )
    return TextTable(
        title=f"At equal recall ({card.recall:g}), and cost",
        note="One threshold on the score, the same for all series, that finds this share of the "
        "anomalies, and the false alarms per series and day that it costs.",
        header=("", "false/day", "threshold", "CPU s", "points/s", "causal"),
        rows=tuple(rows),
    )


def published_table(card: DetectCard) -> TextTable:
    """What others published for the same series."""
    return TextTable(
        title="Published VUS-PR on these series",
        note="By the authors of the benchmark; methods that may look at the whole series.",
        header=("", "series", ALL, *card.groups),
        rows=tuple(
            (
                row.method,
                str(row.series),
                f"{row.mean:.3f}",
                *(f"{row.groups[one]:.3f}" if one in row.groups else NONE for one in card.groups),
            )
            for row in card.published
        ),
    )


def shapes_table(card: DetectCard) -> TextTable:
    """Which injected shapes were found."""
    shapes = card.detectors[0].shapes if card.detectors else ()
    return TextTable(
        title="Injected anomalies found, by shape",
        note="By the detectors' own alarms.",
        header=("", "injected", *(one.name for one in card.detectors)),
        rows=tuple(
            (
                row.shape,
                str(row.injected),
                *(_share(one, row.shape) for one in card.detectors),
            )
            for row in shapes
        ),
    )


def groups_table(detector: DetectorCard) -> TextTable:
    """One detector's alarms in each group."""
    return TextTable(
        title=f"Alarms of {detector.name} by group",
        note="",
        header=(
            "",
            "series",
            "anomalies",
            "recall",
            "precision",
            "false/day",
            "delay",
            "p90",
            "on",
        ),
        rows=tuple(
            (one.group, str(one.series), str(one.anomalies), *_event_cells(one))
            for one in detector.figures
        ),
    )


def reliability_table(detector: DetectorCard) -> TextTable:
    """How often healthy points were as rare as one detector said."""
    claims = list(dict.fromkeys(row.claim.claimed for row in detector.reliability))
    groups = list(dict.fromkeys(row.group for row in detector.reliability))
    by_group = {
        group: [row.claim for row in detector.reliability if row.group == group] for group in groups
    }
    return TextTable(
        title=f"Rarity as {detector.name} claims it, and as it was",
        note="Share of healthy points, behind the prefixes and away from anomalies, that were said "
        "to be as rare as this or rarer; were the claim true, it would be the column's head.",
        header=("", "points", *(f"{one:g}" for one in claims)),
        rows=tuple(
            (group, f"{rows[0].samples:,}", *(f"{one.seen:.2g}" for one in rows))
            for group, rows in by_group.items()
        ),
    )


def series_table(card: DetectCard) -> TextTable:
    """VUS-PR of every series."""
    by_name = [{row.series: row for row in one.series} for one in card.detectors]
    names = list(dict.fromkeys(name for rows in by_name for name in rows))
    return TextTable(
        title="VUS-PR of each series",
        note="",
        header=("", *(one.name for one in card.detectors)),
        rows=tuple(
            (name, *(_three(rows[name].vus_pr if name in rows else None) for rows in by_name))
            for name in names
        ),
    )


def summary(card: DetectCard) -> str:
    """One line on what was measured, and one on what was taken for granted."""
    partial = "" if card.complete else " (partial: interrupted)"
    steps = ", ".join(
        f"{group} {' or '.join(f'{one:g}' for one in known)}" for group, known in card.steps.items()
    )
    about = f"{card.series} series{partial} of {card.about}; {card.points:,} points"
    lines = [
        f"{about}, {card.days:.0f} series-days behind the prefixes",
        f"Seconds between samples: {steps}.",
    ]
    if card.assumed_prefix:
        lines.append(
            f"{card.assumed_prefix} series do not say what may be used for fitting: their first "
            "15 %."
        )
    return "\n".join(lines)


def _areas_row(card: DetectCard, one: DetectorCard) -> tuple[str, ...]:
    known = {figures.group: figures for figures in one.figures}
    groups = [known[group].vus_pr if group in known else None for group in card.groups]
    return (
        one.name,
        _interval(one.of(ALL).vus_pr),
        _three(one.group_mean),
        *(_three(estimate.value if estimate else None) for estimate in groups),
        _three(one.of(ALL).vus_roc.value),
        _three(one.of(ALL).auc_pr.value),
    )


def _event_cells(figures: Figures) -> tuple[str, ...]:
    return (
        show(figures.recall, Unit.SHARE),
        show(figures.precision, Unit.SHARE),
        _interval(figures.false_per_day),
        show(figures.delay, Unit.SECONDS, interval=False),
        show(figures.delay_p90, Unit.SECONDS, interval=False),
        _three(figures.time_on.value),
    )


def _interval(estimate: Estimate) -> str:
    """Three digits: scores of detectors differ in the third."""
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return _three(estimate.value)
    return f"{estimate.value:.3f} ({estimate.low:.3f}–{estimate.high:.3f})"


def _three(value: float | None) -> str:
    return NONE if value is None else f"{value:.3f}"


def _speed(work: Work) -> str:
    """Nothing where the time was too short to be measured."""
    if work.cpu_seconds < 0.05:
        return NONE
    return f"{work.speed / 1e6:.1f}M" if work.speed >= 1e6 else f"{work.speed / 1e3:.1f}k"


def _causal(card: DetectCard, one: DetectorCard) -> str:
    if not card.checked:
        return NONE
    return "yes" if not one.leaks else f"no ({len(one.leaks)})"


def _share(detector: DetectorCard, shape: str) -> str:
    rows: Sequence[tuple[int, int]] = [
        (row.found, row.injected) for row in detector.shapes if row.shape == shape
    ]
    return f"{rows[0][0] / rows[0][1]:.2f}" if rows and rows[0][1] else NONE
