"""`dos simulate record`: a stretch of a simulation as a recorded case, with the truth in it."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dos.cli.output import err, out, parse_seconds, plain
from dos.cli.simulate_options import (
    ChangesOption,
    Dicing,
    IncidentsMode,
    IncidentsOption,
    LogsOption,
    OnlyOption,
    ScenarioOption,
    SeedOption,
    ServicesOption,
    StartOption,
    StepOption,
    TracesOption,
    WorldOfStoryOption,
    build,
    fault_type,
    planned,
)

if TYPE_CHECKING:
    from dos.simulate.engine import Simulation
    from dos.simulate.faults import Fault
    from dos.simulate.record import Plan, Recorded
    from dos.simulate.signals import Amount

_LENGTH = 1800.0


class Form(StrEnum):
    """Of files of metrics."""

    CSV = "csv"
    PARQUET = "parquet"


FolderArgument = Annotated[
    Path, typer.Argument(metavar="FOLDER", help="Empty, or not there yet; the case's name.")
]
FaultOption = Annotated[
    str | None, typer.Option(metavar="TYPE", help="Break this; the case is about it.")
]
TargetOption = Annotated[str | None, typer.Option(help="What of: a service, node or zone.")]
SeverityOption = Annotated[float, typer.Option(help="Above 0, up to 1.", min=0.01, max=1.0)]
LastingOption = Annotated[
    float, typer.Option(parser=parse_seconds, metavar="TIME", help="Of the fault.")
]
AfterOption = Annotated[
    float, typer.Option(parser=parse_seconds, metavar="TIME", help="Into the case, until it.")
]
LengthOption = Annotated[
    float | None,
    typer.Option(
        parser=parse_seconds,
        metavar="TIME",
        help="Of the case. Default: that of the scenario, else 30m.",
    ),
]
NormalOption = Annotated[
    float,
    typer.Option(
        parser=parse_seconds, metavar="TIME", help="Healthy past before it, in files of its own."
    ),
]
FormOption = Annotated[Form, typer.Option("--format", help="Of the metrics.")]


def record(  # noqa: PLR0913  each parameter is an option of the command line
    folder: FolderArgument,
    *,
    fault: FaultOption = None,
    target: TargetOption = None,
    severity: SeverityOption = 0.7,
    lasting: LastingOption = 300.0,
    after: AfterOption = 600.0,
    duration: LengthOption = None,
    normal: NormalOption = 3600.0,
    step: StepOption = 15.0,
    start: StartOption = None,
    form: FormOption = Form.CSV,
    traces: TracesOption = 10,
    logs: LogsOption = 200,
    world: WorldOfStoryOption = None,
    services: ServicesOption = 50,
    seed: SeedOption = 0,
    incidents: IncidentsOption = IncidentsMode.NONE,
    only: OnlyOption = None,
    scenario: ScenarioOption = None,
    changes_per_day: ChangesOption = 2.0,
) -> None:
    """Write metrics, traces, logs, changes and the truth, for `dos replay` and the benchmarks.

    What breaks is one fault (`--fault`), a timeline (`--scenario`) or chance (`--incidents`).
    """
    from dos.kit.clock import SECOND, Millis, SystemClock
    from dos.simulate.record import Plan
    from dos.simulate.signals import Amount

    wanted = _fault(fault, target, severity, lasting)
    begins = Millis((SystemClock().now() if start is None else start) // SECOND * SECOND)
    case = Millis(begins + round(normal / step) * round(step * SECOND))
    dicing = Dicing(incidents, quiet=600.0, only=tuple(only or ()))
    there, breaks, length = planned(
        world, services=services, seed=seed, start=case, dicing=dicing, scenario=scenario
    )
    simulation = build(there, seed, step, begins, breaks, changes_per_day)
    lasts = duration if duration is not None else length or max(_LENGTH, after + lasting)
    plan = Plan(
        duration=lasts, normal=normal, fault=wanted, after=min(after, lasts), form=form.value
    )
    _tell(_record(simulation, folder, plan, seed, Amount(traces=traces, logs=logs)))


def _fault(kind: str | None, target: str | None, severity: float, duration: float) -> Fault | None:
    if kind is None and target is None:
        return None
    if kind is None or target is None:
        msg = "write both --fault TYPE and --target NAME, or neither"
        raise typer.BadParameter(msg, param_hint="--fault")
    from dos.simulate.control import FaultRequest

    asked = FaultRequest(type=fault_type(kind), target=target, severity=severity, duration=duration)
    return asked.build()


def _record(
    simulation: Simulation, folder: Path, plan: Plan, seed: int, amount: Amount
) -> Recorded:
    """Record, with a bar where there is a terminal."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from dos.simulate.record import record as write

    console = err()
    bar = Progress(
        TextColumn("recording"),
        BarColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with bar:
        task = bar.add_task("recording", total=1.0)
        return write(
            simulation,
            folder,
            plan,
            seed=seed,
            amount=amount,
            progress=lambda share: bar.update(task, completed=share),
        )


def _tell(written: Recorded) -> None:
    from dos.kit.clock import to_datetime

    console = out()
    console.print(
        plain(
            f"{written.folder}: {written.samples:,} samples, {written.spans:,} spans,"
            f" {written.lines:,} log lines"
        ),
        markup=False,
    )
    truth = written.truth
    about = "nothing went wrong"
    if truth is not None:
        about = f"{truth.fault.label} of {truth.target} at {to_datetime(truth.start):%H:%M:%S}"
        about += f" UTC, {len(truth.affected)} services affected"
    console.print(plain(f"about: {about}"), markup=False)
    console.print(plain(f"play it with: dos replay {written.folder}"), markup=False)
