"""The score card in Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from dos.evaluate.bench.card import Figure, ScoreCard, Unit
from dos.evaluate.bench.tables import TextTable, summary, tables


def markdown(card: ScoreCard) -> str:
    """A document with every table, and what each figure means."""
    parts = ["# Score card", f"DOS {card.version}. {summary(card)}."]
    for table in tables(card):
        parts += [f"## {table.title}", _table(table)]
        if table.note:
            parts.append(table.note)
    parts += ["## What the figures mean", "\n".join(_meaning(figure) for figure in Figure)]
    return "\n\n".join(parts) + "\n"


def _table(table: TextTable) -> str:
    rule = ["---", *("--:" for _ in table.header[1:])]
    return "\n".join(_line(row) for row in (table.header, rule, *table.rows))


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def _meaning(figure: Figure) -> str:
    seconds = ", seconds" if figure.unit is Unit.SECONDS else ""
    return f"- **{figure.label}**{seconds}: {figure.meaning}"
