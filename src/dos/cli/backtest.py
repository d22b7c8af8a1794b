"""`dos backtest`: what would have fired, and what another configuration would change."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dos.cli.output import err, out, parse_seconds

if TYPE_CHECKING:
    from dos.app.settings import Settings
    from dos.evaluate.backtest.past import Past
    from dos.evaluate.backtest.run import Progress

SinceOption = Annotated[
    float,
    typer.Option(parser=parse_seconds, metavar="TIME", help="How far back to judge: 7d, 12h."),
]
LearnOption = Annotated[
    float,
    typer.Option(
        parser=parse_seconds, metavar="TIME", help="Before that: the baseline learns from it."
    ),
]
PrometheusOption = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="Take the past from this Prometheus, with the keys of the configured source.",
    ),
]
PresentOption = Annotated[
    Path | None,
    typer.Option(
        "--present",
        metavar="FILE",
        help="Present configuration. Default: $DOS_CONFIG, else ./config.yaml, else none; "
        "for a recording the one it was made with.",
    ),
]


def backtest(
    path: Annotated[
        Path | None,
        typer.Argument(
            metavar="[PATH]", help="A recording or a case. Default: the history in data_dir."
        ),
    ] = None,
    *,
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", metavar="FILE", help="A configuration to be tried."),
    ] = None,
    since: SinceOption = 7 * 86_400.0,
    learn: LearnOption = 86_400.0,
    prometheus: PrometheusOption = None,
    present: PresentOption = None,
    feedback: Annotated[
        bool, typer.Option("--feedback/--without-feedback", help="Whether labels take effect.")
    ] = True,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Run recorded history through the pipeline and print the pages it would have sent.

    With `--config` it runs twice, and says which pages would be new, gone, earlier or later.
    Nothing is sent, and nothing of the running DOS is changed. The sections that decide count:
    topology, detect, calendars, feedback, incidents, rca, impact and alerting.
    """
    from dos.app.settings_load import load
    from dos.evaluate.backtest.compare import BACKTEST
    from dos.evaluate.backtest.compare import backtest as run
    from dos.kit import log

    log.configure("warning")
    other = None if config is None else load(config).settings
    with (
        the_past(path, present, prometheus, since=since, learn=learn) as (there, settings),
        progress(there, quiet=json) as shown,
    ):
        past = there if feedback else replace(there, labels=())
        report = run(past, settings, other, progress=shown)
    if json:
        sys.stdout.write(BACKTEST.dump_json(report, indent=2).decode() + "\n")
        return
    from dos.cli.backtest_report import render

    out().print(render(report))


@contextmanager
def the_past(
    path: Path | None,
    present: Path | None,
    prometheus: str | None,
    *,
    since: float,
    learn: float,
) -> Iterator[tuple[Past, Settings]]:
    """The past that was asked for, and the present configuration for it.

    Raises:
        PermanentError: There is no such past.
    """
    from dos.app import wiring
    from dos.app.models import ModelBook
    from dos.app.settings_load import load
    from dos.evaluate.backtest import past as pasts

    loaded = load(present).settings
    directory = wiring.data_directory(loaded)
    if directory is not None and directory.is_dir():
        loaded = ModelBook(directory).applied(loaded)
    if path is not None:
        there = pasts.of_path(path, since)
        yield there, loaded if present is not None or there.settings is None else there.settings
        return
    stretch = pasts.Stretch(since=since, learn=learn)
    if prometheus is None:
        yield asyncio.run(pasts.of_history(loaded, stretch)), loaded
        return
    from dos.evaluate.backtest.prometheus import fetched

    with fetched(prometheus, loaded, stretch) as there:
        yield there, loaded


@contextmanager
def progress(past: Past, *, quiet: bool) -> Iterator[Progress | None]:
    """A line that says how far the run is, where there is a terminal."""
    console = err()
    if quiet or not console.is_terminal:
        yield None
        return
    from dos.kit.clock import to_datetime

    with console.status(f"reading {past.name}") as status:
        yield lambda at: status.update(f"{past.name}: {to_datetime(at):%Y-%m-%d %H:%M}")
