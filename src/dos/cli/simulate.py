"""`dos simulate …`: the simulator told in lines, as a Prometheus exporter, and its worlds."""

from __future__ import annotations

import asyncio
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dos.cli import simulate_testbed
from dos.cli.output import INTERRUPTED, err, out, parse_seconds

if TYPE_CHECKING:
    from dos.kit.clock import Millis
    from dos.simulate.engine import Simulation

app = typer.Typer(
    invoke_without_command=True,
    help="Play a microservice system in which things go wrong, with known truth.",
)

app.command("testbed")(simulate_testbed.run_testbed)


class IncidentsMode(StrEnum):
    """Whether things break by themselves."""

    NONE = "none"
    RANDOM = "random"


WorldOption = Annotated[str, typer.Option(help="shop, sketch or generated; see `worlds`.")]
ServicesOption = Annotated[int, typer.Option(help="Size of a generated world.", min=4, max=10_000)]
SeedOption = Annotated[int, typer.Option(help="Of all randomness.")]
HostOption = Annotated[str, typer.Option(help="Address to listen on.")]
TokenOption = Annotated[
    Path | None,
    typer.Option(
        help="File with the bearer token that the control endpoint asks for; needed off loopback."
    ),
]


@app.callback()
def simulate(
    context: typer.Context,
    export: Annotated[
        str | None,
        typer.Option(metavar="[HOST]:PORT", help="Export to Prometheus there, as `export` does."),
    ] = None,
    world: WorldOption = "shop",
    seed: SeedOption = 0,
    speed: Annotated[
        float, typer.Option(help="Simulated seconds per second.", min=0.1, max=60.0)
    ] = 1.0,
    incidents: Annotated[IncidentsMode, typer.Option(help="Break things?")] = IncidentsMode.NONE,
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
def run(
    *,
    world: WorldOption = "shop",
    services: ServicesOption = 50,
    seed: SeedOption = 0,
    duration: Annotated[
        float | None,
        typer.Option(parser=parse_seconds, metavar="TIME", help="Simulated time; else no end."),
    ] = None,
    speed: Annotated[
        float, typer.Option(help="Simulated seconds per second; 0: as fast as possible.", min=0.0)
    ] = 1.0,
    step: Annotated[
        float, typer.Option(parser=parse_seconds, metavar="TIME", help="Length of a cycle.")
    ] = 1.0,
    incidents: Annotated[IncidentsMode, typer.Option(help="Break things?")] = IncidentsMode.RANDOM,
    scenario: Annotated[
        Path | None, typer.Option(help="YAML file with a timeline of faults, instead.")
    ] = None,
) -> None:
    """Tell in lines what happens: one cycle a second, a 10 % chance of an incident in each."""
    from dos.kit.clock import ScaledClock, SystemClock
    from dos.simulate.narration import tell

    start = SystemClock().now()
    simulation = _simulation(
        world,
        services=services,
        seed=seed,
        step=step,
        start=start,
        incidents=incidents,
        scenario=scenario,
    )
    clock = ScaledClock(start, speed) if speed > 0 else None

    def write(line: str) -> None:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    try:
        asyncio.run(tell(simulation, clock, write, duration))
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


@app.command("export")
def export_metrics(
    *,
    port: Annotated[int, typer.Option(help="0 takes a free one.", min=0, max=65535)] = 9100,
    host: HostOption = "127.0.0.1",
    world: WorldOption = "shop",
    services: ServicesOption = 50,
    seed: SeedOption = 0,
    speed: Annotated[
        float, typer.Option(help="Simulated seconds per second.", min=0.1, max=60.0)
    ] = 1.0,
    incidents: Annotated[IncidentsMode, typer.Option(help="Break things?")] = IncidentsMode.NONE,
    token_file: TokenOption = None,
) -> None:
    """Be a Prometheus exporter: `/targets` (http_sd), `/metrics`, and `/faults` to break things."""
    from dos.kit.clock import SystemClock
    from dos.kit.secret import Secret
    from dos.simulate.exporter import Exporter, is_loopback, listen, serve

    clock = SystemClock()
    simulation = _simulation(
        world, services=services, seed=seed, step=speed, start=clock.now(), incidents=incidents
    )
    if token_file is not None:
        token = token_file.read_text(encoding="utf-8").strip()
        if not token:
            msg = f"{token_file} is empty"
            raise typer.BadParameter(msg, param_hint="--token-file")
        exporter = Exporter(simulation, clock, seed=seed, control=Secret(token))
    else:
        anybody = is_loopback(host)
        exporter = Exporter(
            simulation, clock, seed=seed, control="anybody" if anybody else "nobody"
        )
    with listen(host, port) as listener:
        where = f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"
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


@app.command("worlds")
def worlds() -> None:
    """List the worlds."""
    from rich.table import Table

    from dos.simulate.worlds import BUILT_IN, generate

    table = Table("world", "services", "calls", "depth", "enters at", "requests/s")
    examples = [build() for build in BUILT_IN.values()] + [generate(50)]
    for world in examples:
        name = "generated" if world.name not in BUILT_IN else world.name
        table.add_row(
            name,
            str(len(world.services)) + (" (--services)" if name == "generated" else ""),
            str(len(world.calls)),
            str(1 + max(world.level(service.id) for service in world.services)),
            ", ".join(world.entries),
            f"{sum(world.entries.values()):g}",
        )
    out().print(table)


def _simulation(
    world: str,
    *,
    services: int,
    seed: int,
    step: float,
    start: Millis,
    incidents: IncidentsMode,
    scenario: Path | None = None,
) -> Simulation:
    from dos.simulate.engine import Simulation
    from dos.simulate.scenario import Incidents, RandomIncidents, Scenario
    from dos.simulate.scenario_file import read_scenario
    from dos.simulate.worlds import world as world_of

    there = world_of(world, services=services, seed=seed)
    breaks: Incidents | None = None
    if scenario is not None:
        breaks = Scenario(read_scenario(scenario), there, start)
    elif incidents is IncidentsMode.RANDOM:
        breaks = RandomIncidents(there, seed)
    return Simulation(there, seed=seed, step_seconds=step, start=start, incidents=breaks)
