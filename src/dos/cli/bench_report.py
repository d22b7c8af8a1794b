"""The score card on the terminal, in 100 columns."""

from __future__ import annotations

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from dos.evaluate.bench.card import ScoreCard
from dos.evaluate.bench.tables import TextTable, summary, tables


def render(card: ScoreCard) -> RenderableType:
    """What was flown, and every table."""
    parts: list[RenderableType] = [Text(summary(card), style="dim")]
    if not card.complete:
        left = f"Interrupted: figures of {card.flown} of {card.planned} flights."
        parts.append(Text(left, style="bold yellow"))
    for table in tables(card, intervals=False):
        parts += [Text(), table_of(table)]
        if table.note:
            parts.append(Text(table.note, style="dim"))
    timing = card.timing
    parts += [
        Text(),
        Text(f"{timing.wall_seconds:.0f} s, {timing.cpu_seconds:.0f} CPU-seconds", style="dim"),
    ]
    return Group(*parts)


def table_of(table: TextTable) -> Table:
    """A table for the terminal."""
    shown = Table(
        box=box.SIMPLE_HEAD,
        title=table.title,
        title_justify="left",
        title_style="bold",
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    for place, name in enumerate(table.header):
        shown.add_column(name, justify="left" if place == 0 else "right", no_wrap=place == 0)
    for row in table.rows:
        shown.add_row(*(Text(cell) for cell in row))
    return shown
