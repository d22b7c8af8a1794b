"""`dos train`: networks and the vote, from series to a model's folder with a card."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dos.cli.output import out
from dos.cli.progress import progress_bars
from dos.cli.train_door import command_of, require_torch
from dos.cli.train_rca import rca

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.progress import Progress, TaskID

    from dos.detect.training import Trained, TrainProgress
    from dos.evaluate.training import TrainedVote, VoteProgress
    from dos.model.telemetry import Float64Array

app = typer.Typer(name="train", help="Train the networks.", no_args_is_help=True)
app.command("rca")(rca)


_FAMILIES, _WORLDS = 260, 14
"""Series of each synthetic family, and simulated worlds, at size 1."""
_EPOCHS_OF_VOTE = 8
_SAMPLES_EACH = 20
"""Samples of one's own history to each window that is learned from."""


class Model(StrEnum):
    """Networks of detection."""

    TEMPORAL = "temporal"
    FAST = "temporal_fast"
    CARRIED = "temporal_carried"


class Device(StrEnum):
    """Where torch computes."""

    CPU = "cpu"
    CUDA = "cuda"


Out = Annotated[
    Path, typer.Option("--out", metavar="DIR", help="Folder of the model: ONNX, weights and card.")
]
VoteOut = Annotated[
    Path, typer.Option("--out", metavar="DIR", help="Folder of the vote: weights and card.")
]
History = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Your own history: a data directory of DOS, or recordings (metrics.parquet or .csv). "
        "Without: synthetic and simulated series, as for the model that comes with DOS.",
    ),
]
Base = Annotated[
    str | None,
    typer.Option(
        metavar="MODEL",
        help="A model to go on from, by name or folder; with --history that of DOS itself, "
        "`none` to start afresh.",
    ),
]


@app.callback()
def train() -> None:
    """Train the networks of detection and of root cause analysis."""


@app.command("detect")
def detect(  # noqa: PLR0913  each parameter is an option of the command line
    *,
    out_: Out,
    model: Annotated[Model, typer.Option(help="Which network.")] = Model.TEMPORAL,
    history: History = None,
    base: Base = None,
    seed: Annotated[int, typer.Option(help="Of all that is random.", min=0)] = 0,
    device: Annotated[Device, typer.Option(help="Where to train.")] = Device.CPU,
    epochs: Annotated[
        int | None, typer.Option(help="At most; by default as the network needs.", min=1, max=1000)
    ] = None,
    windows: Annotated[
        int | None, typer.Option(help="Examples; fewer for less history by default.", min=100)
    ] = None,
    size: Annotated[
        float, typer.Option(help="Of the corpus, against the usual.", min=0.01, max=100)
    ] = 1.0,
    threads: Annotated[int, typer.Option(help="Of torch.", min=1, max=256)] = 1,
) -> None:
    """Train a network that finds anomalies in a window of samples.

    It learns from series in which hardly anything is wrong, by anomalies that are put into them.
    Training stops early when held-out series get no better. The folder then holds `model.onnx`,
    which serving needs, `weights.safetensors`, from which training can go on, and `card.json`.
    """
    require_torch()
    from dos.detect.temporal_examples import WindowOptions
    from dos.detect.training import TrainOptions, shape_of, train
    from dos.ml.card import find
    from dos.ml.trainer import FitOptions

    if base is None and history is not None:
        base = model.value
    with progress_bars() as progress:
        report = _reporter(progress)
        series, data = _series(history, seed, size, report)
        trained = train(
            series,
            TrainOptions(
                out=out_,
                name=model.value,
                windows=WindowOptions(
                    windows=windows or _windows(model, series, history, size), seed=seed
                ),
                fit=FitOptions(
                    epochs=epochs or shape_of(model.value).epochs,
                    batch=shape_of(model.value).batch,
                    rate=1.5e-3 if base in {None, "none"} else 3e-4,
                    seed=seed,
                    device=device.value,
                ),
                base=None if base in {None, "none"} else find(str(base)),
                threads=threads,
                data=data,
                command=command_of(sys.argv[2:]),
            ),
            report,
        )
    _tell(trained, out_)


@app.command("vote")
def vote(
    *,
    out_: VoteOut,
    seed: Annotated[int, typer.Option(help="Of all that is random.", min=0)] = 0,
    units: Annotated[int, typer.Option(help="Of the hidden layer.", min=1, max=1024)] = 48,
    epochs: Annotated[int, typer.Option(help="At most.", min=1, max=1000)] = _EPOCHS_OF_VOTE,
    size: Annotated[
        float, typer.Option(help="Share of the usual series.", min=0.01, max=1.0)
    ] = 1.0,
) -> None:
    """Train the committee's vote: what its statistics of a sample amount to.

    It learns from synthetic and simulated series with anomalies that were put into them. Training
    stops early when held-out series get no better. The folder then holds `vote.npz` and
    `card.json`.
    """
    require_torch()
    from dataclasses import replace

    from dos.evaluate.lessons import LessonOptions, series_to_learn_from
    from dos.evaluate.training import VoteOptions, VoteProgress, train_vote

    lessons = LessonOptions(seed=seed, size=size)
    options = VoteOptions(out=out_, units=units, lessons=lessons)
    with progress_bars() as progress:
        report = _reporter(progress)
        report(VoteProgress(stage="series", share=0.0))
        learned = series_to_learn_from(lessons)
        trained = train_vote(
            learned,
            replace(
                options,
                fit=replace(options.fit, epochs=epochs, seed=seed),
                data=_about_series(seed, size),
                command=command_of(sys.argv[2:]),
            ),
            report,
        )
    _tell(trained, out_)


def _about_series(seed: int, size: float) -> str:
    """What the vote is trained on, in words."""
    share = "" if size == 1 else f", {size:g} of the usual size"
    return (
        f"dos.evaluate.lessons, seed {seed}{share}: synthetic and simulated series, with anomalies "
        "that were put in"
    )


def _series(
    history: Path | None, seed: int, size: float, report: Callable[[TrainProgress], None]
) -> tuple[list[Float64Array], str]:
    """The series to learn from, and what they are in words."""
    from dos.detect.training import TrainProgress

    if history is not None:
        from dos.app.past import read_past

        report(TrainProgress(stage="reading", share=0.0))
        series = read_past(history)
        return series, f"{len(series)} stretches of one's own history"
    from dos.evaluate.corpus import CorpusOptions, corpus

    options = CorpusOptions(
        seed=seed, families=max(1, round(_FAMILIES * size)), worlds=max(1, round(_WORLDS * size))
    )
    series = corpus(options, lambda share: report(TrainProgress(stage="series", share=share)))
    about = (
        f"dos.evaluate.corpus, seed {seed}: {options.families} of each synthetic family, "
        f"{options.worlds} healthy simulated worlds"
    )
    return series, about


def _windows(model: Model, series: list[Float64Array], history: Path | None, size: float) -> int:
    """Examples to draw where nobody said how many."""
    from dos.detect.training import shape_of

    usual = shape_of(model.value).windows
    if history is None:
        return max(200, round(usual * size))
    samples = sum(len(one) for one in series)
    return min(usual, max(200, round(samples / _SAMPLES_EACH * usual / 400_000)))


def _reporter(progress: Progress) -> Callable[[TrainProgress | VoteProgress], None]:
    """Shows each stage in a bar of its own."""
    tasks: dict[str, TaskID] = {}

    def report(now: TrainProgress | VoteProgress) -> None:
        if now.stage not in tasks:
            for task in tasks.values():
                progress.update(task, completed=1.0)
            tasks[now.stage] = progress.add_task(now.stage, total=1.0)
        words = now.stage
        if now.fit is not None:
            words += f", epoch {now.fit.epoch}, loss {now.fit.loss:.3f}"
            if now.fit.validation is not None:
                words += f", held out {now.fit.validation:.3f}"
        progress.update(tasks[now.stage], completed=now.share, description=words)

    return report


def _tell(trained: Trained | TrainedVote, folder: Path) -> None:
    """What came of it."""
    from rich.table import Table

    card, fitted = trained.card, trained.fitted
    table = Table(box=None, show_header=False, pad_edge=False)
    losses = ", ".join(f"{loss:.3f}" for loss in fitted.validation)
    for name, value in (
        ("model", f"{card.name}, {card.parameters:,} parameters, in {folder}"),
        ("examples", f"{card.training.examples:,} from {card.training.series:,} series"),
        ("held-out loss", f"{losses}; epoch {fitted.best} was kept"),
        *((name.replace("_", " "), f"{value:.4g}") for name, value in card.figures.items()),
        ("time", f"{card.training.hours * 60:.1f} min"),
    ):
        table.add_row(name, value)
    out().print(table)
