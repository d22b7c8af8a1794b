"""`dos bench rca`: rankers of root causes, beside published methods, on cases with known causes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dos.cli.output import INTERRUPTED, out
from dos.cli.progress import print_tables, progress_bars

if TYPE_CHECKING:
    from dos.evaluate.rca.card import RcaCard
    from dos.evaluate.rca.run import Names, RcaOptions, RcaProgress

WIDTH = 150
"""Columns where nobody looks: a table has a column for each set or contender."""
NO_ONE = "none"
"""Instead of a baseline."""


class Voyages(StrEnum):
    """Which simulated voyages are ranked."""

    HELD_OUT = "held-out"
    DEV = "dev"


Cases = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="DIR",
        help="Recorded cases: a set, a folder of sets, or one case; may be given several times.",
    ),
]
Rankers = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME", help="Rankers of DOS; several times for several. Without: the default one."
    ),
]
Baselines = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="Published methods; without, all. `none` for none."),
]
Late = Annotated[
    float, typer.Option(help="Seconds by which the start is reported too late.", min=0.0)
]
NoTraces = Annotated[
    bool, typer.Option("--no-traces", help="Leave out what traces say, where there are any.")
]
Simulated = Annotated[
    int | None,
    typer.Option(metavar="N", help="Instead of recorded cases, N of the simulator.", min=1),
]
Jobs = Annotated[
    int | None, typer.Option(help="Processes; as many as there are cores.", min=1, max=256)
]
Json = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Write JSON; - for standard output.")
]
Markdown = Annotated[Path | None, typer.Option(metavar="FILE", help="Write Markdown.")]
Details = Annotated[bool, typer.Option("--details", help="The place of the cause in every case.")]
Listed = Annotated[bool, typer.Option("--list", help="Show who can be measured.")]


def rca(  # noqa: PLR0913  each parameter is an option of the command line
    *,
    cases: Cases = None,
    ranker: Rankers = None,
    baseline: Baselines = None,
    late: Late = 0.0,
    no_traces: NoTraces = False,
    simulated: Simulated = None,
    split: Annotated[
        Voyages, typer.Option(help="held-out: seeds from 10000 on; dev: from 0, to tune on.")
    ] = Voyages.HELD_OUT,
    jobs: Jobs = None,
    json: Json = None,
    markdown: Markdown = None,
    details: Details = False,
    listed: Listed = False,
) -> None:
    """Rank cases with known causes and print how often the cause is found, set by set.

    Every contender has the same settings on all sets, and never sees the truth. Simulated cases
    are ranked once as they are and again with something amiss. Ctrl-C ends it early, and prints
    what there is.
    """
    if listed:
        _list()
        return
    if not cases and simulated is None:
        raise typer.BadParameter("name cases with --cases DIR, or use --simulated N")
    if cases and simulated is not None:
        raise typer.BadParameter("--cases and --simulated exclude each other")
    if (late or no_traces) and simulated is not None:
        raise typer.BadParameter("--late and --no-traces are for recorded cases")
    for path in (json, markdown):
        # Found out now, and not after minutes of work.
        if path is not None and str(path) != "-" and not path.resolve().parent.is_dir():
            raise typer.BadParameter(f"there is no directory {path.resolve().parent}")
    from dos.evaluate.rca.run import RcaOptions

    options = RcaOptions(
        contenders=_contenders(ranker, baseline),
        jobs=jobs if jobs is not None else os.cpu_count() or 1,
        late_s=late,
        traces=not no_traces,
    )
    card = _measure(cases or [], simulated, split, options)
    _tell(card, json, markdown, details=details)
    if not card.complete:
        raise typer.Exit(INTERRUPTED)


def _list() -> None:
    from dos.evaluate.rca.contenders import BASELINES, rankers

    for name in rankers():
        out().print(f"{name:24}ranker of DOS", markup=False)
    for name, one in BASELINES.items():
        out().print(f"{name:24}baseline: {one.about}", markup=False)


def _contenders(ranker: list[str] | None, baseline: list[str] | None) -> Names:
    from dos.app.settings import RcaSettings
    from dos.evaluate.rca.contenders import BASELINES, Side

    rankers = ranker or [RcaSettings().ranker.type]
    baselines = baseline or list(BASELINES)
    named = [(Side.RANKER, name) for name in rankers]
    named += [(Side.BASELINE, name) for name in baselines if name != NO_ONE]
    return tuple(dict.fromkeys(named))


def _measure(
    cases: list[Path], simulated: int | None, split: Voyages, options: RcaOptions
) -> RcaCard:
    """With a progress bar on standard error, where somebody looks."""
    from dos.evaluate.rca.run import Split, run_recorded, run_simulated

    with progress_bars() as progress:
        task = progress.add_task("ranking", total=None)

        def update(state: RcaProgress) -> None:
            text = f"{state.done} of {state.planned} cases"
            progress.update(task, completed=state.done, total=state.planned, description=text)

        tell: Callable[[RcaProgress], None] = update
        if simulated is not None:
            return run_simulated(simulated, Split(split.value), options, tell)
        return run_recorded(cases, options, tell)


def _tell(card: RcaCard, json: Path | None, markdown: Path | None, *, details: bool) -> None:
    if markdown is not None:
        from dos.evaluate.rca.tables import markdown as as_markdown

        markdown.write_text(as_markdown(card, details=details), encoding="utf-8")
    if json is not None and str(json) == "-":
        sys.stdout.write(card.to_json().decode())
        return
    if json is not None:
        json.write_bytes(card.to_json())
    from dos.evaluate.rca.tables import summary, tables

    print_tables(summary(card), tables(card, details=details), card.wall_seconds, width=WIDTH)
