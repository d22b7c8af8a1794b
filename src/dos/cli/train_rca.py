"""`dos train rca`: the graph network that ranks root causes, from simulated incidents."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dos.cli.output import out

if TYPE_CHECKING:
    from dos.rca.training import TrainedGraph

_VOYAGES = 800


def rca(  # noqa: PLR0913  each parameter is an option of the command line
    *,
    out_: Annotated[
        Path,
        typer.Option("--out", metavar="DIR", help="Folder of the model: ONNX, weights and card."),
    ],
    voyages: Annotated[
        int, typer.Option(help="Simulated worlds, a dozen incidents each.", min=3, max=9000)
    ] = _VOYAGES,
    cases: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="DIR",
            help="Recorded cases with a known cause, such as your own confirmed incidents; they "
            "are learned from besides the simulated ones. Repeat for more.",
        ),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="A model to go on from, by name or folder."),
    ] = None,
    epochs: Annotated[int, typer.Option(help="At most.", min=1, max=1000)] = 12,
    seed: Annotated[int, typer.Option(help="Of weights and order.", min=0)] = 0,
    jobs: Annotated[int, typer.Option(help="Processes that simulate.", min=1, max=256)] = 1,
    threads: Annotated[int, typer.Option(help="Of torch.", min=1, max=256)] = 1,
    device: Annotated[str, typer.Option(help="Where to train: cpu or cuda.")] = "cpu",
) -> None:
    """Train the graph network that ranks root causes.

    It learns from incidents of simulated worlds, each also as other systems would have measured
    it, and from nothing else unless --cases says so. Worlds that it did not learn from stop the
    training and calibrate what it says.
    """
    from dataclasses import replace

    from dos.cli.train import command_of, progress_bars, require_torch
    from dos.evaluate.rca.lessons import FIRST_SEED, RcaLessons, confirmed, rca_lessons
    from dos.kit.clock import SystemClock
    from dos.ml.card import find

    require_torch("torch_geometric")
    from dos.rca.training import GraphTraining, train_graph

    clock = SystemClock()
    began = clock.monotonic()
    own = [example for folder in cases or () for example in confirmed(folder)]
    with progress_bars() as bars:
        task = bars.add_task("incidents", total=1.0)
        lessons = rca_lessons(
            RcaLessons(voyages=voyages, jobs=jobs),
            lambda share: bars.update(task, completed=share),
        )
        hours = (clock.monotonic() - began) / 3600
        task = bars.add_task("training", total=1.0)
        options = GraphTraining(
            out=out_,
            base=find(base) if base else None,
            threads=threads,
            data=f"dos.evaluate.rca.lessons: {voyages} voyages from seed {FIRST_SEED}"
            + (f", and {len(own)} recorded cases" if own else ""),
            command=command_of(sys.argv[2:]),
        )
        trained = train_graph(
            [*own, *lessons],
            replace(options, fit=replace(options.fit, epochs=epochs, seed=seed, device=device)),
            lambda now: bars.update(
                task,
                completed=now.share,
                description=f"training, epoch {now.epoch}, loss {now.loss:.3f}",
            ),
            hours=hours,
        )
    _tell(trained, out_)


def _tell(trained: TrainedGraph, folder: Path) -> None:
    from rich.table import Table

    card = trained.card
    table = Table(box=None, show_header=False, pad_edge=False)
    losses = ", ".join(f"{loss:.3f}" for loss in trained.fitted.validation)
    for name, value in (
        ("model", f"{card.name}, {card.parameters:,} parameters, in {folder}"),
        ("examples", f"{card.training.examples:,} of {card.training.series:,} worlds"),
        ("held-out loss", f"{losses}; epoch {trained.fitted.best} was kept"),
        *((name.replace("_", " "), f"{value:.4g}") for name, value in card.figures.items()),
        *((name, f"{value:.4g}") for name, value in card.fitted.items()),
        ("time", f"{card.training.hours * 60:.1f} min"),
    ):
        table.add_row(name, value)
    out().print(table)
