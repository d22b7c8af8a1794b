"""`dos demo`: the whole of DOS against the simulator, with a live view and a report."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from dos.cli.output import out, parse_seconds

if TYPE_CHECKING:
    from dos.app.demo_types import DemoOptions, DemoReport


class ReportFormat(StrEnum):
    """How the report at the end is printed."""

    TEXT = "text"
    JSON = "json"


def demo(  # noqa: PLR0913, PLR0917  each parameter is an option of the command line
    duration: Annotated[
        float | None,
        typer.Option(
            parser=parse_seconds,
            metavar="DURATION",
            help="Simulated time to play, such as 120s or 24h. Default: until Ctrl-C.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Same seed, same run.")] = 7,
    speed: Annotated[
        float, typer.Option(min=0, help="Times real time; 0: as fast as it goes.")
    ] = 1.0,
    world: Annotated[
        str, typer.Option(help="Simulated system; see `dos simulate worlds`.")
    ] = "shop",
    report: Annotated[
        ReportFormat, typer.Option(help="Form of the report on standard output.")
    ] = ReportFormat.TEXT,
    host: Annotated[str, typer.Option(help="Address of the API.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the API.")] = 8000,
    api: Annotated[bool, typer.Option("--api/--no-api", help="Serve the API meanwhile.")] = True,
    data_dir: Annotated[
        Path | None, typer.Option(help="Keep the run here. Default: a temporary directory.")
    ] = None,
    record: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Record the run, for `dos replay`.")
    ] = None,
    webhook: Annotated[
        str | None, typer.Option(metavar="URL", help="Post the alerts there too.")
    ] = None,
) -> None:
    """Watch a simulated system in which things go wrong.

    Shows services, incidents with ranked causes and alerts while it runs (plain lines when not
    on a terminal), then prints a report: each injected fault beside what DOS made of it.
    """
    from dos.app.demo_types import DemoOptions

    chosen = DemoOptions(
        duration=duration,
        seed=seed,
        speed=speed,
        world=world,
        api=api,
        host=host,
        port=port,
        data_dir=data_dir,
        record=record,
        webhook=webhook,
    )
    _print(_run(chosen, report), report)


def _run(chosen: DemoOptions, form: ReportFormat) -> DemoReport:
    from dos.app.demo import run_demo
    from dos.cli.view import open_view
    from dos.kit import log

    # With JSON asked for, standard output holds that one document and nothing else.
    console = Console(file=sys.stderr) if form is ReportFormat.JSON else Console()
    # The live screen shows failing sources itself; log lines would only be painted over.
    log.configure("error" if console.is_terminal else "warning")
    with open_view(console) as view:
        return run_demo(chosen, view)


def _print(report: DemoReport, form: ReportFormat) -> None:
    if form is ReportFormat.JSON:
        sys.stdout.write(report.to_json().decode() + "\n")
        return
    from dos.cli.demo_report import render
    from dos.cli.view_format import signs_for

    console = out()
    console.print(render(report, signs_for(console)))
