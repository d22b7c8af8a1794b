"""The score card of `dos bench rca` as tables of text, for the terminal and in Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from dos.evaluate.bench.card import Unit
from dos.evaluate.bench.resample import Estimate
from dos.evaluate.bench.tables import NONE, TextTable, show
from dos.evaluate.rca.card import CaseRow, ContenderCard, Figures, Gap, RcaCard, SetCard
from dos.evaluate.rca.contenders import Side
from dos.evaluate.rca.trust import SURE

_RESAMPLED = "Ties count at their worst place."


def tables(card: RcaCard, *, details: bool = False) -> tuple[TextTable, ...]:
    """Every table of `card`, the most important one first.

    Args:
        card: The score card.
        details: Whether the place of every case is shown.
    """
    if card.source.simulated:
        chosen = [simulated_table(card), variants_table(card), harmless_table(card)]
    else:
        chosen = [*accuracy_tables(card), gaps_table(card)]
    chosen += [trust_table(card), faults_table(card), times_table(card)]
    if details:
        chosen += cases_tables(card)
    return tuple(one for one in chosen if one.rows)


def accuracy_tables(card: RcaCard) -> Iterator[TextTable]:
    """AC@1, AC@3 and Avg@5 of all contenders on every set."""
    of: tuple[tuple[str, Callable[[Figures], Estimate], str], ...] = (
        ("AC@1", lambda one: one.ac1, "Share of cases whose cause is ranked first."),
        ("AC@3", lambda one: one.ac3, "Share of cases whose cause is among the first three."),
        ("Avg@5", lambda one: one.avg5, "Mean of AC@1 to AC@5."),
    )
    for title, figure, note in of:
        rows = []
        for one in card.contenders:
            sets = [one.of(name) for name in card.sets]
            cells = [_share(figure(found.figures)) if found else NONE for found in sets]
            rows.append((one.name, *cells, _share(figure(one.mean)) if one.mean else NONE))
        yield TextTable(
            title=title,
            note=f"{note} {_RESAMPLED} 95 % intervals by resampling cases; in the mean every "
            "set counts the same.",
            header=("", *_headed(card), "mean"),
            rows=tuple(rows),
        )


def gaps_table(card: RcaCard) -> TextTable:
    """By how much rankers are better than the best baseline."""
    rows = []
    for one in card.contenders:
        rows += [_gap_row(one.name, name, gap) for name, gap in one.gaps.items()]
        if one.mean_gap is not None and len(card.sets) > 1:
            rows.append(_gap_row(one.name, "mean, one baseline", one.mean_gap))
        if one.best_gap is not None and len(card.sets) > 1:
            rows.append(_gap_row(one.name, "mean, each set's best", one.best_gap))
    return TextTable(
        title="Difference to the best baseline",
        note="Paired: both on the same draws of cases. The best by AC@1, then by Avg@5; that it "
        "was chosen by the same cases favours it.",
        header=("", "set", "best baseline", "AC@1", "Avg@5"),
        rows=tuple(rows),
    )


def simulated_table(card: RcaCard) -> TextTable:
    """All contenders on the simulated cases as they are."""
    return TextTable(
        title="Simulated incidents",
        note=f"{_RESAMPLED} 95 % intervals by resampling voyages. Both of two: of the cases with "
        "two faults at work, those with a cause of each among the first three.",
        header=("", "cases", "AC@1", "AC@3", "Avg@5", "both of two", "of"),
        rows=tuple(_simulated_row(one, one.sets[0]) for one in card.contenders if one.sets),
    )


def variants_table(card: RcaCard) -> TextTable:
    """Rankers on the same cases with something amiss."""
    rows = []
    for one in card.contenders:
        plain = one.sets[0].figures.ac1.value if one.sets else None
        for found in one.sets[1:]:
            value = found.figures.ac1.value
            away = NONE if value is None or plain is None else f"{100 * (value - plain):+.1f}"
            rows.append(
                (
                    one.name,
                    found.name,
                    _share(found.figures.ac1),
                    away,
                    _share(found.figures.ac3),
                    _share(found.both_of_two),
                )
            )
    return TextTable(
        title="The same cases with something amiss",
        note="Points: AC@1 less that of the cases as they are, in hundredths.",
        header=("", "variant", "AC@1", "points", "AC@3", "both of two"),
        rows=tuple(rows),
    )


def harmless_table(card: RcaCard) -> TextTable:
    """Who was blamed although nothing was wrong, or nothing that the case knows."""
    return TextTable(
        title="Blamed for nothing",
        note="Share of such cases in which an entity was likelier than `none of these` and not "
        f"for its measurement alone, and in which such a one was given {SURE:g} or more.",
        header=("", "variant", "case", "n", "blamed", f"given {SURE:g}"),
        rows=tuple(
            (
                one.name,
                found.name,
                kind.what,
                f"{kind.blamed.count:.0f}",
                _share(kind.blamed),
                _share(kind.sure),
            )
            for one in card.contenders
            for found in one.sets
            for kind in found.harmless
        ),
    )


def trust_table(card: RcaCard) -> TextTable:
    """Whether probabilities came true."""
    rows = []
    for one in card.contenders:
        for found in one.sets:
            trust = found.trust
            if trust is None:
                continue
            sure = f"{_share(trust.sure)} of {trust.sure.count:.0f}" if trust.sure.count else NONE
            rows.append(
                (
                    one.name,
                    found.name,
                    _share(trust.calibration_error),
                    sure,
                    f"{_share(trust.covered)} for {trust.stated:.2f}",
                    f"{trust.set_size:.1f}",
                    _share(trust.abstained),
                    _share(trust.kind),
                )
            )
    return TextTable(
        title="What the probabilities are worth",
        note="ECE: expected calibration error of the first hypothesis, 10 bins. Sure: right among "
        f"those given {SURE:g} or more. Covered: the prediction set holds the cause, for what it "
        "states; its size in entities. Abstained: none of these was likelier, though there was a "
        "cause. Kind: of fault, where the entity is right and the kind is known.",
        header=("", "set", "ECE", "sure", "covered", "size", "abstained", "kind"),
        rows=tuple(rows),
    )


def faults_table(card: RcaCard) -> TextTable:
    """AC@1 by fault."""
    rows = []
    for name in card.sets[:1] if card.source.simulated else card.sets:
        sets = [one.of(name) for one in card.contenders]
        faults = dict.fromkeys(fault for one in sets if one for fault in one.faults)
        for fault in faults:
            known = [one.faults.get(fault) if one else None for one in sets]
            cases = max((one.cases for one in known if one), default=0)
            label = fault if card.source.simulated else f"{name}: {fault}"
            cells = (_two(one.ac1) if one else NONE for one in known)
            rows.append((label, str(cases), *cells))
    return TextTable(
        title="AC@1 by fault",
        note="A case with two faults counts for both, with the place of each.",
        header=("", "n", *(one.name.replace("_", " ") for one in card.contenders)),
        rows=tuple(rows),
    )


def times_table(card: RcaCard) -> TextTable:
    """Median time per case."""
    sets = card.sets[:1] if card.source.simulated else card.sets
    rows = []
    for one in card.contenders:
        found = [one.of(name) for name in sets]
        cells = (f"{1e3 * each.median_seconds:.1f}" if each else NONE for each in found)
        rows.append((one.name, *cells))
    return TextTable(
        title="Median time per case, ms",
        note="Of rankers with evidence. Times of processes that share a machine.",
        header=("", *sets),
        rows=tuple(rows),
    )


def cases_tables(card: RcaCard) -> Iterator[TextTable]:
    """The place of the cause in every case."""
    for name in card.sets:
        sets = [one for one in card.contenders if one.of(name)]
        places = [{row.case: row.place for row in _rows(one.of(name))} for one in sets]
        labels = {row.case: "+".join(row.faults) for one in sets for row in _rows(one.of(name))}
        yield TextTable(
            title=f"Place of the cause, {name}",
            note="",
            header=("", "fault", *(one.name for one in sets)),
            rows=tuple(
                (case, label or NONE, *(str(one.get(case) or NONE) for one in places))
                for case, label in labels.items()
            ),
        )


def summary(card: RcaCard) -> str:
    """One line on what was ranked."""
    source = card.source
    partial = "" if card.complete else f" (partial: interrupted, {source.planned} planned)"
    late = f", start reported {source.late_s:g} s late" if source.late_s else ""
    traces = "" if source.traces else ", without what traces say"
    return f"{card.cases} cases{partial} of {source.about}{late}{traces}"


def markdown(card: RcaCard, *, details: bool = False) -> str:
    """A document with every table."""
    parts = ["# Root causes", f"{summary(card)}."]
    for table in tables(card, details=details):
        rule = ["---", *("--:" for _ in table.header[1:])]
        lines = [_line(row) for row in (table.header, rule, *table.rows)]
        parts += [f"## {table.title}", "\n".join(lines)]
        if table.note:
            parts.append(table.note)
    return "\n\n".join(parts) + "\n"


def _headed(card: RcaCard) -> list[str]:
    """Names of the sets with their numbers of cases."""
    counts = dict.fromkeys(card.sets, 0)
    for one in card.contenders:
        for found in one.sets:
            counts[found.name] = max(counts[found.name], found.figures.cases)
    return [f"{name} ({cases})" for name, cases in counts.items()]


def _simulated_row(one: ContenderCard, found: SetCard) -> tuple[str, ...]:
    figures = found.figures
    return (
        one.name + (" (baseline)" if one.side is Side.BASELINE else ""),
        str(figures.cases),
        _share(figures.ac1),
        _share(figures.ac3),
        _share(figures.avg5),
        _share(found.both_of_two),
        f"{found.both_of_two.count:.0f}",
    )


def _gap_row(name: str, where: str, gap: Gap) -> tuple[str, ...]:
    return (name, where, gap.over, _signed(gap.ac1), _signed(gap.avg5))


def _signed(estimate: Estimate) -> str:
    if estimate.value is None:
        return NONE
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:+.2f}"
    return f"{estimate.value:+.2f} ({estimate.low:+.2f} to {estimate.high:+.2f})"


def _share(estimate: Estimate) -> str:
    return show(estimate, Unit.SHARE)


def _two(estimate: Estimate) -> str:
    return NONE if estimate.value is None else f"{estimate.value:.2f}"


def _rows(found: SetCard | None) -> Sequence[CaseRow]:
    return found.rows if found else ()


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"
