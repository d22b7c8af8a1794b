"""`dos simulate testbed`: a small real system on loopback, broken for real."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dos.cli.output import parse_seconds
from dos.kit.errors import PermanentError

if TYPE_CHECKING:
    from dos.simulate.testbed.faults import Planned
    from dos.simulate.testbed.options import Options

RateOption = Annotated[
    float, typer.Option(help="Requests per second from outside.", min=0.1, max=200.0)
]
SeedOption = Annotated[int, typer.Option(help="Of arrivals and of which requests fail.")]
DurationOption = Annotated[
    float | None,
    typer.Option(parser=parse_seconds, metavar="TIME", help="End after it; else on Ctrl-C."),
]
FaultOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KIND:SERVICE@START/DURATION",
        help="Break something, such as cpu_burn:payment@60s/30s; *0.9 at the end sets the "
        "severity. May be repeated.",
    ),
]
ScenarioOption = Annotated[Path | None, typer.Option(help="YAML file with a timeline of faults.")]
PortOption = Annotated[
    int, typer.Option(help="Of the control endpoint; 0 takes a free one.", min=0, max=65535)
]
PrometheusOption = Annotated[
    bool, typer.Option("--prometheus", help="Start a Prometheus that scrapes it.")
]
IntervalOption = Annotated[
    float, typer.Option(parser=parse_seconds, metavar="TIME", help="Of the Prometheus.")
]
RedisOption = Annotated[bool, typer.Option("--redis/--no-redis", help="Use it if it is there.")]
TracesOption = Annotated[
    float, typer.Option(help="Share of requests that are traced.", min=0.0, max=1.0)
]
FolderOption = Annotated[
    Path | None,
    typer.Option(help="Keep logs, traces and volumes. Default: a temporary directory."),
]
WriteOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Write a prometheus.yml for it there too.")
]


def run_testbed(  # noqa: PLR0913, PLR0917  each parameter is an option of the command line
    rate: RateOption = 20.0,
    seed: SeedOption = 0,
    duration: DurationOption = None,
    fault: FaultOption = None,
    scenario: ScenarioOption = None,
    port: PortOption = 9400,
    prometheus: PrometheusOption = False,
    scrape_interval: IntervalOption = 5.0,
    redis: RedisOption = True,
    traces: TracesOption = 0.1,
    data_dir: FolderOption = None,
    write_prometheus: WriteOption = None,
) -> None:
    """Run eight real services that call each other, under load, and break them for real.

    Each is a process of its own, with metrics for Prometheus and OpenTelemetry spans. Nothing
    listens beyond this machine, and nothing is left running afterwards.
    """
    _need_extra()
    from dos.simulate.testbed.options import Options

    with ExitStack() as stack:
        if data_dir is None:
            made = tempfile.TemporaryDirectory(prefix="dos-testbed-", ignore_cleanup_errors=True)
            data_dir = Path(stack.enter_context(made))
        options = Options(
            folder=data_dir.resolve(),
            rate=rate,
            seed=seed,
            duration=duration,
            faults=_planned(fault or (), scenario),
            redis=redis,
            prometheus=prometheus,
            scrape_interval=scrape_interval,
            trace_ratio=traces,
        )
        _run(options, port, write_prometheus)


def _run(options: Options, port: int, write_prometheus: Path | None) -> None:
    from dos.kit import log
    from dos.kit.clock import SystemClock
    from dos.simulate.exporter import listen
    from dos.simulate.testbed import scrape
    from dos.simulate.testbed.control import serve
    from dos.simulate.testbed.supervisor import Testbed

    log.configure("warning")
    clock = SystemClock()
    with listen("127.0.0.1", port) as listener:
        if write_prometheus is not None:
            door = f"http://127.0.0.1:{listener.getsockname()[1]}"
            text = scrape.configuration(door, options.scrape_interval)
            write_prometheus.write_text(text, encoding="utf-8")
        asyncio.run(serve(Testbed(options, clock), listener, clock, _write))


def _planned(lines: Sequence[str], scenario: Path | None) -> Sequence[Planned]:
    """Faults from the command line and from a file, those of the line first."""
    from dos.simulate.testbed.faults import parse_planned, read_timeline

    return [*map(parse_planned, lines), *(read_timeline(scenario) if scenario else ())]


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
