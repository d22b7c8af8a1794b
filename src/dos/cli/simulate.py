"""`dos simulate …`: the simulator told in lines, as a Prometheus exporter, and what there is in it.

The commands on worlds, kinds of fault and scenarios are in `simulate_catalogue`, those that break
and mend a running simulation in `simulate_live`.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Annotated

import typer

from dos.cli import (
    simulate_catalogue,
    simulate_live,
    simulate_record,
    simulate_signals,
    simulate_testbed,
)
from dos.cli.output import INTERRUPTED, err, out
from dos.cli.simulate_options import (
    AtOnceOption,
    ChanceOption,
    ChangesOption,
    Dicing,
    DurationOption,
    IncidentsMode,
    IncidentsOption,
    OnlyOption,
    PaceOption,
    QuietOption,
    ReportOption,
    ScenarioOption,
    SeedOption,
    ServicesOption,
    SpeedOption,
    StartOption,
    StepOption,
    TokenOption,
    WorldOfStoryOption,
    WorldOption,
    base_url,
    build,
    planned,
    read_token,
)

app = typer.Typer(
    invoke_without_command=True,
    help="Play a microservice system in which things go wrong, with known truth.",
)

HostOption = Annotated[str, typer.Option(help="Address to listen on.")]


@app.callback()
def simulate(
    context: typer.Context,
    export: Annotated[
        str | None,
        typer.Option(metavar="[HOST]:PORT", help="Export to Prometheus there, as `export` does."),
    ] = None,
    world: WorldOption = "shop",
    seed: SeedOption = 0,
    speed: PaceOption = 1.0,
    incidents: IncidentsOption = IncidentsMode.NONE,
) -> None:
    """Play a simulated system, as lines for people or as a Prometheus exporter."""
    if context.invoked_subcommand is not None:
        return
    if export is None:
        out().print(context.get_help(), markup=False)
        return
    host, _, port = export.rpartition(":")
    if not port.isdecimal() or int(port) > 65535:
        msg = f"{export!r} is not [HOST]:PORT; write for example :9100"
        raise typer.BadParameter(msg, param_hint="--export")
    export_metrics(
        port=int(port),
        host=host.strip("[]") or "127.0.0.1",
        world=world,
        seed=seed,
        speed=speed,
        incidents=incidents,
    )


@app.command("run")
def run(  # noqa: PLR0913  each parameter is an option of the command line
    *,
    world: WorldOfStoryOption = None,
    services: ServicesOption = 50,
    seed: SeedOption = 0,
    duration: DurationOption = None,
    speed: SpeedOption = 1.0,
    step: StepOption = 1.0,
    start: StartOption = None,
    incidents: IncidentsOption = IncidentsMode.RANDOM,
    chance: ChanceOption = 0.1,
    quiet: QuietOption = 0.0,
    at_once: AtOnceOption = 1,
    only: OnlyOption = None,
    scenario: ScenarioOption = None,
    changes_per_day: ChangesOption = 0.0,
    report: ReportOption = None,
) -> None:
    """Tell in lines what happens: one cycle a second, a 10 % chance of an incident in each."""
    from dos.cli.simulate_report import report_file
    from dos.kit.clock import Millis, ScaledClock, SystemClock
    from dos.simulate.narration import tell

    begins = SystemClock().now() if start is None else Millis(start)
    dicing = Dicing(incidents, chance, quiet, at_once, tuple(only or ()))
    there, breaks, length = planned(
        world, services=services, seed=seed, start=begins, dicing=dicing, scenario=scenario
    )
    simulation = build(there, seed, step, begins, breaks, changes_per_day)
    clock = ScaledClock(begins, speed) if speed > 0 else None
    lasting = length if duration is None else duration
    try:
        with report_file(report) as keep:
            asyncio.run(tell(simulation, clock, _write, lasting, keep=keep))
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    except BrokenPipeError:  # whoever read the lines has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _write(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


@app.command("export")
def export_metrics(  # noqa: PLR0913  each parameter is an option of the command line
    *,
    port: Annotated[int, typer.Option(help="0 takes a free one.", min=0, max=65535)] = 9100,
    host: HostOption = "127.0.0.1",
    world: WorldOfStoryOption = None,
    services: ServicesOption = 50,
    seed: SeedOption = 0,
    speed: PaceOption = 1.0,
    incidents: IncidentsOption = IncidentsMode.NONE,
    chance: ChanceOption = 0.1,
    quiet: QuietOption = 0.0,
    at_once: AtOnceOption = 1,
    only: OnlyOption = None,
    scenario: ScenarioOption = None,
    changes_per_day: ChangesOption = 0.0,
    token_file: TokenOption = None,
) -> None:
    """Be a Prometheus exporter: `/targets` (http_sd), `/metrics`, and `/faults` to break things."""
    from dos.kit.clock import SystemClock
    from dos.kit.secret import Secret
    from dos.simulate.exporter import Exporter, is_loopback, listen, serve

    clock = SystemClock()
    dicing = Dicing(incidents, chance, quiet, at_once, tuple(only or ()))
    start = clock.now()
    there, breaks, _ = planned(
        world, services=services, seed=seed, start=start, dicing=dicing, scenario=scenario
    )
    simulation = build(there, seed, speed, start, breaks, changes_per_day)
    if token_file is not None:
        secret = Secret(read_token(token_file))
        exporter = Exporter(simulation, clock, seed=seed, control=secret)
    else:
        anybody = is_loopback(host)
        exporter = Exporter(
            simulation, clock, seed=seed, control="anybody" if anybody else "nobody"
        )
    with listen(host, port) as listener:
        where = base_url(host, listener.getsockname()[1])
        count = len(simulation.physics.services)
        err().print(
            f"{count} services of {simulation.world.name}: {where}/targets {where}/metrics; "
            f"break things with POST {where}/faults",
            markup=False,
        )
        try:
            asyncio.run(serve(exporter, listener))
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None


app.command("record")(simulate_record.record)
app.command("otlp")(simulate_signals.otlp)
app.command("worlds")(simulate_catalogue.worlds)
app.command("faults")(simulate_catalogue.faults)
app.command("scenario")(simulate_catalogue.scenario)
app.command("inject")(simulate_live.inject)
app.command("act")(simulate_live.act)
app.command("clear")(simulate_live.clear)
app.command("truth")(simulate_live.truth)
app.command("testbed")(simulate_testbed.run_testbed)
