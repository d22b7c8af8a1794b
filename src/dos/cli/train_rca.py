"""`dos train rca`: the graph network that ranks root causes, from simulated incidents."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dos.cli.output import out
from dos.cli.progress import progress_bars
from dos.cli.train_door import command_of, require_torch

if TYPE_CHECKING:
    from dos.evaluate.rca.lessons import RcaLessons
    from dos.ml.trainer import FitProgress
    from dos.rca.examples import Example
    from dos.rca.training import GraphTraining, TrainedGraph

_VOYAGES = 640


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
    epochs: Annotated[int, typer.Option(help="At most.", min=1, max=1000)] = 8,
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
    require_torch("torch_geometric")
    from dos.evaluate.rca.lessons import RcaLessons, confirmed
    from dos.ml.card import find
    from dos.ml.trainer import FitOptions
    from dos.rca.training import GraphTraining, usual_fit

    usual = usual_fit()
    fit = FitOptions(
        epochs=epochs,
        batch=usual.batch,
        rate=usual.rate,
        decay=usual.decay,
        patience=usual.patience,
        seed=seed,
        device=device,
    )
    own = [example for folder in cases or () for example in confirmed(folder)]
    options = GraphTraining(
        out=out_,
        base=find(base) if base else None,
        threads=threads,
        fit=fit,
        data=f"dos.evaluate.rca.lessons: {voyages} voyages"
        + (f", and {len(own)} recorded cases" if own else ""),
        command=command_of(sys.argv[2:]),
    )
    _tell(_trained(RcaLessons(voyages=voyages, jobs=jobs), own, options), out_)


def _trained(lessons: RcaLessons, own: list[Example], options: GraphTraining) -> TrainedGraph:
    """Simulate and train, with bars."""
    from dos.evaluate.rca.lessons import rca_lessons
    from dos.kit.clock import SystemClock
    from dos.rca.training import train_graph

    clock = SystemClock()
    began = clock.monotonic()
    with progress_bars() as bars:
        incidents = bars.add_task("incidents", total=1.0)
        learned = rca_lessons(lessons, lambda share: bars.update(incidents, completed=share))
        hours = (clock.monotonic() - began) / 3600
        training = bars.add_task("training", total=1.0)

        def report(now: FitProgress) -> None:
            words = f"training, epoch {now.epoch}, loss {now.loss:.3f}"
            bars.update(training, completed=now.share, description=words)

        return train_graph([*own, *learned], options, report, hours=hours)


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
        *(
            (name.replace("_", " "), f"{value:.4g}")
            for name, value in card.fitted.items()
            if not name.startswith("usual_")
        ),
        ("time", f"{card.training.hours * 60:.1f} min"),
    ):
        table.add_row(name, value)
    out().print(table)
