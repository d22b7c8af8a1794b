"""`dos bench detect`: detectors on labelled series, point by point and alarm by alarm."""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dos.cli.output import INTERRUPTED, PROBLEM, err, out
from dos.cli.progress import print_tables, progress_bars

if TYPE_CHECKING:
    from dos.evaluate.series.card import DetectCard
    from dos.evaluate.series.files import LabelledSeries
    from dos.evaluate.series.run import DetectOptions


WIDTH = 132
"""Columns where nobody looks: a table has a column for each group of series."""


class Half(StrEnum):
    """Which half of the development set."""

    DEVELOP = "develop"
    VALIDATE = "validate"


Series = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="DIR",
        help="Labelled series, CSV or .csv.gz with Data,Label; may be given several times.",
    ),
]
Detectors = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="What to measure; several times for several. Without: DOS and the peers that come "
        "with it. See --list.",
    ),
]
Develop = Annotated[
    bool,
    typer.Option(
        "--develop",
        help="Not the series themselves but anomalies injected into their clean prefixes, "
        "simulated and synthetic series: the set to tune on.",
    ),
]
Size = Annotated[
    float, typer.Option(help="Of the development set: 2 for twice as many.", min=0.01, max=100)
]
Cache = Annotated[Path | None, typer.Option(metavar="DIR", help="Keeps development sets.")]
Step = Annotated[
    float | None,
    typer.Option(help="Seconds between samples; by default what is known of the group."),
]
Recall = Annotated[
    float, typer.Option(help="Of anomalies, at which false alarms are compared.", min=0.01, max=1)
]
CheckCausal = Annotated[
    bool, typer.Option("--check-causal", help="Score again with the series cut short, and compare.")
]
Jobs = Annotated[
    int | None, typer.Option(help="Processes; as many as there are cores.", min=1, max=256)
]
Json = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Write JSON; - for standard output.")
]
Scores = Annotated[Path | None, typer.Option(metavar="DIR", help="Write the score of every point.")]
Details = Annotated[bool, typer.Option("--details", help="Each group's alarms and every series.")]
Listed = Annotated[bool, typer.Option("--list", help="Show what can be measured.")]


def detect(  # noqa: PLR0913  each parameter is an option of the command line
    *,
    series: Series = None,
    detector: Detectors = None,
    develop: Develop = False,
    half: Annotated[Half, typer.Option(help="Half of the development set.")] = Half.DEVELOP,
    seed: Annotated[int, typer.Option(help="Of the development set.", min=0)] = 0,
    size: Size = 1.0,
    cache: Cache = None,
    step: Step = None,
    recall: Recall = 0.6,
    check_causal: CheckCausal = False,
    jobs: Jobs = None,
    json: Json = None,
    scores: Scores = None,
    details: Details = False,
    listed: Listed = False,
) -> None:
    """Score labelled series with one configuration and print how good the scores are.

    Each detector may fit on the prefix of a series that its name declares clean (`tr_N`; else the
    first 15 %), and scores each point by what came before. Ctrl-C ends it early, and prints what
    there is.
    """
    from dos.evaluate.series.candidates import about, default, known
    from dos.evaluate.series.run import DetectOptions

    if listed:
        for name in known():
            out().print(f"{name:24}{about(name)}", markup=False)
        return
    if not series and not develop:
        raise typer.BadParameter("name series with --series DIR, or use --develop")
    if json is not None and str(json) != "-" and not json.resolve().parent.is_dir():
        raise typer.BadParameter(f"there is no directory {json.resolve().parent}")
    options = DetectOptions(
        detectors=tuple(dict.fromkeys(detector or default())),
        jobs=jobs if jobs is not None else os.cpu_count() or 1,
        recall=recall,
        check_causal=check_causal,
        scores=scores,
    )
    paths, labelled = _read(series or [], step)
    if develop:
        card = _measure(_development_set(labelled, half, seed, size, cache), options, [])
    else:
        card = _measure(labelled, options, paths)
    _tell(card, json, details=details)
    if not card.complete:
        raise typer.Exit(INTERRUPTED)
    if any(one.leaks for one in card.detectors):
        raise typer.Exit(PROBLEM)


def _read(folders: list[Path], step: float | None) -> tuple[list[Path], list[LabelledSeries]]:
    from dos.evaluate.series.files import discover, read_all

    paths = discover(folders) if folders else []
    return paths, read_all(paths, step)


def _development_set(
    labelled: list[LabelledSeries], half: Half, seed: int, size: float, cache: Path | None
) -> list[LabelledSeries]:
    from dos.evaluate.series import develop

    options = develop.DevelopOptions(seed=seed, half=develop.Half(half.value), size=size)
    with err().status("making series") as status:
        if not err().is_terminal:
            status.stop()
        return develop.development_set(options, labelled, cache)


def _measure(series: list[LabelledSeries], options: DetectOptions, paths: list[Path]) -> DetectCard:
    """With a progress bar on standard error, where somebody looks."""
    from dos.evaluate.series.files import published
    from dos.evaluate.series.run import DetectProgress, run_detect

    folders = list(dict.fromkeys(path.parent.name for path in paths))
    source = ", ".join(folders) if folders else "the development set"
    with progress_bars() as progress:
        task = progress.add_task("scoring", total=1.0)

        def update(state: DetectProgress) -> None:
            progress.update(task, completed=state.share, description=state.detector)

        return run_detect(series, options, source, published(paths), update)


def _tell(card: DetectCard, json: Path | None, *, details: bool) -> None:
    if json is not None and str(json) == "-":
        sys.stdout.write(card.to_json().decode())
        return
    if json is not None:
        json.write_bytes(card.to_json())
    from dos.evaluate.series.tables import summary, tables

    print_tables(summary(card), tables(card, details=details), card.wall_seconds, width=WIDTH)
