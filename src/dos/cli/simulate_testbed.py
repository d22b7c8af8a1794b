"""`dos simulate testbed`: a small real system on loopback, broken for real."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from dos.cli.output import parse_seconds
from dos.kit.errors import PermanentError


def run_testbed(  # noqa: PLR0913, PLR0917  each parameter is an option of the command line
    rate: Annotated[
        float, typer.Option(help="Requests per second from outside.", min=0.1, max=200.0)
    ] = 20.0,
    seed: Annotated[int, typer.Option(help="Of arrivals and of which requests fail.")] = 0,
    duration: Annotated[
        float | None,
        typer.Option(parser=parse_seconds, metavar="TIME", help="End after it; else on Ctrl-C."),
    ] = None,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND:SERVICE@START/DURATION",
            help="Break something, such as cpu_burn:payment@60s/30s; *0.9 at the end sets the "
            "severity. May be repeated.",
        ),
    ] = None,
    scenario: Annotated[
        Path | None, typer.Option(help="YAML file with a timeline of faults.")
    ] = None,
    port: Annotated[int, typer.Option(help="0 takes a free one.", min=0, max=65535)] = 9400,
    prometheus: Annotated[
        bool, typer.Option("--prometheus", help="Start a Prometheus that scrapes it.")
    ] = False,
    scrape_interval: Annotated[
        float, typer.Option(parser=parse_seconds, metavar="TIME", help="Of that Prometheus.")
    ] = 5.0,
    redis: Annotated[bool, typer.Option("--redis/--no-redis", help="If it is there.")] = True,
    traces: Annotated[
        float, typer.Option(help="Share of requests that are traced.", min=0.0, max=1.0)
    ] = 0.1,
    data_dir: Annotated[
        Path | None,
        typer.Option(help="Keep logs, traces and volumes. Default: a temporary directory."),
    ] = None,
    write_prometheus: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a prometheus.yml for it there too.")
    ] = None,
) -> None:
    """Run eight real services that call each other, under load, and break them for real.

    Each is a process of its own, with metrics for Prometheus and OpenTelemetry spans. Nothing
    listens beyond this machine, and nothing is left running afterwards.
    """
    _need_extra()
    from dos.kit import log
    from dos.kit.clock import SystemClock
    from dos.simulate.exporter import listen
    from dos.simulate.testbed import scrape
    from dos.simulate.testbed.control import serve
    from dos.simulate.testbed.faults import parse_planned, read_timeline
    from dos.simulate.testbed.options import Options
    from dos.simulate.testbed.supervisor import Testbed

    planned = [parse_planned(text) for text in fault or ()]
    if scenario is not None:
        planned += read_timeline(scenario)
    log.configure("warning")
    clock = SystemClock()
    with ExitStack() as stack:
        folder = data_dir
        if folder is None:
            temporary = tempfile.TemporaryDirectory(
                prefix="dos-testbed-", ignore_cleanup_errors=True
            )
            folder = Path(stack.enter_context(temporary))
        listener = stack.enter_context(listen("127.0.0.1", port))
        if write_prometheus is not None:
            door = f"http://127.0.0.1:{listener.getsockname()[1]}"
            text = scrape.configuration(door, scrape_interval)
            write_prometheus.write_text(text, encoding="utf-8")
        options = Options(
            folder=folder.resolve(),
            rate=rate,
            seed=seed,
            duration=duration,
            faults=planned,
            redis=redis,
            prometheus=prometheus,
            scrape_interval=scrape_interval,
            trace_ratio=traces,
        )
        asyncio.run(serve(Testbed(options, clock), listener, clock, _write))


def _need_extra() -> None:
    """See that the libraries of the extra are there.

    Raises:
        PermanentError: They are not; says how to get them.
    """
    missing = [name for name in ("redis", "opentelemetry.sdk") if not _found(name)]
    if missing:
        msg = f"The testbed needs {' and '.join(missing)}."
        remedy = "Install the extra: pip install 'dependency-ops-sentinel[testbed]'."
        raise PermanentError(msg, remedy=remedy)


def _found(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # its parent package is missing
        return False


def _write(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
