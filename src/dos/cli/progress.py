"""Bars of progress, and the tables that stand at the end of a bench."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from dos.cli.output import err, out

if TYPE_CHECKING:
    from rich.progress import Progress

    from dos.evaluate.bench.tables import TextTable


def progress_bars() -> Progress:
    """A bar on standard error, where somebody looks."""
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = err()
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )


def print_tables(
    summary: str, tables: Iterable[TextTable], wall_seconds: float, *, width: int
) -> None:
    """What was measured, its tables with their notes, and how long it took.

    Args:
        summary: What was measured.
        tables: The most important one first.
        wall_seconds: How long it took.
        width: Columns where nobody looks.
    """
    from rich.text import Text

    from dos.cli.bench_report import table_of

    console = out()
    if not console.is_terminal:
        console.width = width
    console.print(Text(summary, style="dim"), soft_wrap=False)
    for table in tables:
        console.print()
        console.print(table_of(table), soft_wrap=False)
        if table.note:
            console.print(Text(table.note, style="dim"), soft_wrap=False)
    console.print(Text(f"\n{wall_seconds:.0f} s", style="dim"))
