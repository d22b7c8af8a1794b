"""The score card as one HTML page that needs nothing beside itself."""

from __future__ import annotations

from html import escape

from dos.evaluate.bench.card import ContenderCard, Figure, ScoreCard, TypeFigure, Unit
from dos.evaluate.bench.outcome import Contender
from dos.evaluate.bench.plot import Curve, Dot, Line, curves, forest, reliability
from dos.evaluate.bench.resample import Estimate
from dos.evaluate.bench.tables import TextTable, summary, tables

_WITHIN = 300.0
"""Seconds shown of the time to detect."""
_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --dim: #667; --rule: #d5d9e0; --paper: #fff;
  --c0: #2563c9; --c1: #b8621b; --c2: #6b7280; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e8eb; --dim: #9aa3ad; --rule: #3a4048; --paper: #14171a;
    --c0: #6ea8ff; --c1: #f0a35e; --c2: #a3abb5; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 76rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
p.note, figcaption, dd { color: var(--dim); }
p.partial { color: var(--c1); font-weight: 600; }
div.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem; }
th, td { padding: .2rem .7rem; text-align: right; border-bottom: 1px solid var(--rule);
  white-space: nowrap; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
figure { margin: 1.5rem 0; } svg { max-width: 100%; height: auto; }
svg text { font: 12px system-ui, sans-serif; fill: var(--ink); }
svg .grid { stroke: var(--rule); } svg .frame { fill: none; stroke: var(--rule); }
svg .rule { stroke: var(--dim); stroke-dasharray: 4 4; }
svg .whisker { stroke-width: 2; opacity: .55; } svg .line { fill: none; stroke-width: 2; }
svg circle { fill-opacity: .85; }
dt { font-weight: 600; } dd { margin: 0 0 .4rem 1.2rem; }
"""


def page(card: ScoreCard) -> str:
    """The whole page."""
    body = [
        "<h1>Score card</h1>",
        f"<p>Dependency Ops Sentinel {escape(card.version)}. {escape(summary(card))}.</p>",
    ]
    if not card.complete:
        body.append(f'<p class="partial">Interrupted: {card.flown} of {card.planned} flights.</p>')
    first, *rest = tables(card)
    body += [_table(first), *_plots(card), *(_table(one) for one in rest), _meanings()]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>DOS score card</title><style>{_STYLE}</style></head>\n"
        f"<body>\n{chr(10).join(body)}\n</body></html>\n"
    )


def _plots(card: ScoreCard) -> list[str]:
    names = [one.label for one in card.contenders]
    plots = [
        (
            "Detection: F1 by type of fault",
            forest("F1 by type", _lines(card, TypeFigure.F1), names),
        ),
        (
            "Detection: recall by type of fault",
            forest("Recall by type", _lines(card, TypeFigure.RECALL), names),
        ),
        (
            "Root cause: true cause ranked first, of the faults found",
            forest("AC@1 by type", _lines(card, TypeFigure.AC1), names),
        ),
        (
            f"Time to detect: share of all faults found within {_WITHIN:g} s of their start",
            curves(
                "Time to detect",
                [_delays(one) for one in card.contenders],
                most=_WITHIN,
                unit=" s",
            ),
        ),
    ]
    bins = card.of(Contender.PIPELINE).reliability
    if bins:
        dots = [Dot(given=one.given, right=one.right, count=one.claims) for one in bins]
        plots.append(
            (
                "Calibration: how often the first hypothesis was right, by its probability",
                reliability("Reliability of the first hypothesis", dots),
            )
        )
    return [f"<h2>{escape(title)}</h2><figure>{svg}</figure>" for title, svg in plots if svg]


def _lines(card: ScoreCard, figure: TypeFigure) -> list[Line]:
    """One line for each type of fault."""
    return [
        Line(
            label=row.label,
            estimates=tuple(_of(one, place, figure) for one in card.contenders),
        )
        for place, row in enumerate(card.contenders[0].types)
    ]


def _of(contender: ContenderCard, place: int, figure: TypeFigure) -> Estimate:
    return contender.types[place].figures[figure]


def _delays(contender: ContenderCard) -> Curve:
    faults = max(contender.faults, 1)
    return Curve(
        name=contender.label,
        points=tuple((delay, (place + 1) / faults) for place, delay in enumerate(contender.delays)),
    )


def _table(table: TextTable) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in table.header)
    rows = "".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in table.rows
    )
    note = f'<p class="note">{escape(table.note)}</p>' if table.note else ""
    return (
        f'<h2>{escape(table.title)}</h2><div class="wide"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>{note}"
    )


def _meanings() -> str:
    parts = []
    for figure in Figure:
        seconds = ", seconds" if figure.unit is Unit.SECONDS else ""
        parts.append(f"<dt>{escape(figure.label)}{seconds}</dt><dd>{escape(figure.meaning)}</dd>")
    return f"<h2>What the figures mean</h2><dl>{''.join(parts)}</dl>"
