"""`dos bench sim`: the whole pipeline on held-out simulations, and its score card.

`dos bench detect` and `dos bench rca` have files of their own.
"""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dos.cli.bench_detect import detect
from dos.cli.bench_rca import rca
from dos.cli.output import INTERRUPTED, err, out
from dos.cli.progress import progress_bars

if TYPE_CHECKING:
    from dos.evaluate.bench.card import ScoreCard
    from dos.evaluate.bench.flight import BenchOptions

app = typer.Typer(help="Measure DOS against known truth.", no_args_is_help=True)
app.command("detect")(detect)
app.command("rca")(rca)


class Seeds(StrEnum):
    """Which seeds are flown."""

    HELD_OUT = "held-out"
    DEV = "dev"


@app.callback()
def bench() -> None:
    """Measure DOS against known truth."""


@app.command("sim")
def sim(  # noqa: PLR0913  each parameter is an option of the command line
    *,
    worlds: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Worlds or YAML files, with commas; `generated:30` has a size.",
        ),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(help="Flights of each kind per world (2).", min=1, max=1000)
    ] = None,
    split: Annotated[
        Seeds, typer.Option(help="held-out: seeds from 10000 on; dev: from 0, to tune on.")
    ] = Seeds.HELD_OUT,
    quick: Annotated[
        bool, typer.Option("--quick", help="One seed, one world, hours instead of weeks.")
    ] = False,
    page_budget: Annotated[
        float, typer.Option(help="False pages per service-week to keep to.", min=0.01, max=1000)
    ] = 2.0,
    jobs: Annotated[
        int | None, typer.Option(help="Processes; as many as there are cores.", min=1, max=256)
    ] = None,
    json: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write JSON; - for standard output.")
    ] = None,
    markdown: Annotated[Path | None, typer.Option(metavar="FILE", help="Write Markdown.")] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a page with plots.")
    ] = None,
) -> None:
    """Fly simulations through the whole pipeline and print the score card.

    Each world is flown with each seed twice: hours in which every type of fault occurs, and a
    week in which nothing breaks. Two baselines read the same samples: fixed thresholds, and
    3-sigma. Ctrl-C ends it early, and prints what there is.
    """
    options = _options(worlds, seeds, split, jobs, page_budget=page_budget, quick=quick)
    for path in (json, markdown, html):
        # Found out now, and not after minutes of work.
        if path is not None and str(path) != "-" and not path.resolve().parent.is_dir():
            msg = f"there is no directory {path.resolve().parent}"
            raise typer.BadParameter(msg)
    card = _fly(options)
    _write(card, json, markdown, html)
    if json is None or str(json) != "-":
        from dos.cli.bench_report import render

        console = out()
        if not console.is_terminal:
            console.width = 100
        console.print(render(card), soft_wrap=False)
    if not card.complete:
        raise typer.Exit(INTERRUPTED)


def _options(
    worlds: str | None,
    seeds: int | None,
    split: Seeds,
    jobs: int | None,
    *,
    page_budget: float,
    quick: bool,
) -> BenchOptions:
    from dataclasses import replace

    from dos.evaluate.bench.flight import BenchOptions, Split
    from dos.evaluate.bench.flight import quick as quick_options

    processes = jobs if jobs is not None else os.cpu_count() or 1
    chosen = Split(split.value)
    options = (
        quick_options(chosen, processes) if quick else BenchOptions(split=chosen, jobs=processes)
    )
    options = replace(options, page_budget=page_budget)
    if worlds is not None:
        names = tuple(dict.fromkeys(one.strip() for one in worlds.split(",") if one.strip()))
        options = replace(options, worlds=names)
    return options if seeds is None else replace(options, seeds=seeds)


def _fly(options: BenchOptions) -> ScoreCard:
    """With a progress bar on standard error, where somebody looks; else a line per flight."""
    from dos.evaluate.bench.run import BenchProgress, run_bench

    console, told = err(), 0
    with progress_bars() as progress:
        task = progress.add_task("flying", total=1.0)

        def update(state: BenchProgress) -> None:
            nonlocal told
            text = f"{state.flown} of {state.planned} flights"
            progress.update(task, completed=state.share, description=text)
            if not console.is_terminal and state.flown > told:
                told = state.flown
                console.print(text)

        return run_bench(options, update)


def _write(card: ScoreCard, json: Path | None, markdown: Path | None, html: Path | None) -> None:
    if json is not None and str(json) == "-":
        sys.stdout.write(card.to_json().decode())
    elif json is not None:
        json.write_bytes(card.to_json())
    if markdown is not None:
        from dos.evaluate.bench.markdown import markdown as as_markdown

        markdown.write_text(as_markdown(card), encoding="utf-8")
    if html is not None:
        from dos.evaluate.bench.page import page

        html.write_text(page(card), encoding="utf-8")
