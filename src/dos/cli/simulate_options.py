"""Options that several of the simulator's commands share, and the simulation they describe."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dos.cli.output import parse_seconds

if TYPE_CHECKING:
    from dos.kit.clock import Millis
    from dos.simulate.engine import Simulation
    from dos.simulate.faults import FaultType
    from dos.simulate.scenario import Incidents
    from dos.simulate.world import World


def parse_start(text: str) -> int:
    """A time option: `2026-11-23T14:30:00Z`, as milliseconds since the epoch."""
    from dos.kit.clock import from_rfc3339

    try:
        return from_rfc3339(text)
    except ValueError:
        msg = f"{text!r} is not a time; write for example 2026-11-23T14:30:00Z"
        raise typer.BadParameter(msg) from None


def report_path(text: str) -> Path:
    """A file for records: its ending says in which form they are written."""
    path = Path(text)
    if path.suffix not in {".jsonl", ".md"}:
        msg = f"{text!r} must end in .jsonl or .md"
        raise typer.BadParameter(msg)
    return path


class IncidentsMode(StrEnum):
    """Whether things break by themselves."""

    NONE = "none"
    RANDOM = "random"


WorldOption = Annotated[
    str, typer.Option(help="Name of a world, or a YAML file with one; see `dos simulate worlds`.")
]
WorldOfStoryOption = Annotated[
    str | None,
    typer.Option(
        help="Name of a world, or a YAML file with one; see `dos simulate worlds`. Default: that"
        " of the scenario, else shop."
    ),
]
DurationOption = Annotated[
    float | None,
    typer.Option(
        parser=parse_seconds,
        metavar="TIME",
        help="Simulated time. Default: that of the scenario, else no end.",
    ),
]
SpeedOption = Annotated[
    float, typer.Option(help="Simulated seconds per second; 0: as fast as possible.", min=0.0)
]
PaceOption = Annotated[float, typer.Option(help="Simulated seconds per second.", min=0.1, max=60.0)]
StepOption = Annotated[
    float, typer.Option(parser=parse_seconds, metavar="TIME", help="Length of a cycle.")
]
StartOption = Annotated[
    int | None,
    typer.Option(parser=parse_start, metavar="TIME", help="When it begins. Default: now."),
]
ReportOption = Annotated[
    Path | None,
    typer.Option(
        parser=report_path,
        metavar="FILE",
        help="Write the record of each incident there, .jsonl or .md.",
    ),
]
TokenOption = Annotated[
    Path | None,
    typer.Option(
        help="File with the bearer token that the control endpoint asks for; needed off loopback."
    ),
]
TracesOption = Annotated[
    int, typer.Option(help="Traces sampled in each second; 0 for none.", min=0, max=1000)
]
LogsOption = Annotated[
    int, typer.Option(help="Log lines kept of each second, about; 0: none.", min=0, max=10_000)
]
ServicesOption = Annotated[int, typer.Option(help="Size of a generated world.", min=4, max=10_000)]
SeedOption = Annotated[int, typer.Option(help="Of all randomness.")]
IncidentsOption = Annotated[IncidentsMode, typer.Option(help="Do things break by themselves?")]
ChanceOption = Annotated[
    float, typer.Option(help="Of an incident in each cycle in which none runs.", min=0.0, max=1.0)
]
QuietOption = Annotated[
    float,
    typer.Option(parser=parse_seconds, metavar="TIME", help="After an incident, at least."),
]
AtOnceOption = Annotated[
    int, typer.Option(help="Random incidents that may run at once.", min=1, max=20)
]
OnlyOption = Annotated[
    list[str] | None,
    typer.Option(metavar="TYPE", help="Random incidents of this type only. May be repeated."),
]
ScenarioOption = Annotated[
    str | None,
    typer.Option(
        metavar="FILE|NAME",
        help="A timeline of faults and actions instead; see `dos simulate scenario`.",
    ),
]
ChangesOption = Annotated[
    float, typer.Option(help="Harmless changes a day, over the whole system.", min=0.0, max=1000.0)
]


@dataclass(frozen=True, slots=True)
class Dicing:
    """How random incidents come up."""

    mode: IncidentsMode
    chance: float = 0.1
    quiet: float = 0.0
    at_once: int = 1
    only: tuple[str, ...] = ()

    def incidents(self, world: World, seed: int, since: Millis) -> Incidents | None:
        """The dice for one world; None when nothing breaks by itself."""
        if self.mode is IncidentsMode.NONE:
            return None
        from dos.simulate.scenario import Dice, RandomIncidents

        weights = {fault_type(name): 1.0 for name in self.only} or None
        dice = Dice(chance=self.chance, quiet=self.quiet, at_once=self.at_once, weights=weights)
        return RandomIncidents(world, seed, since=since, dice=dice)


def fault_type(name: str) -> FaultType:
    """The kind of incident called `name`, with `-` or `_`.

    Raises:
        BadParameter: There is none.
    """
    import difflib

    from dos.simulate.faults import FaultType

    plain = name.lower().replace("-", "_")
    try:
        return FaultType(plain)
    except ValueError:
        close = difflib.get_close_matches(plain, [one.value for one in FaultType], n=1)
        hint = f"did you mean {close[0]}?" if close else "`dos simulate faults` lists them"
        msg = f"{name!r} is no kind of incident; {hint}"
        raise typer.BadParameter(msg) from None


def planned(
    world: str | None,
    *,
    services: int,
    seed: int,
    start: Millis,
    dicing: Dicing,
    scenario: str | None,
) -> tuple[World, Incidents | None, float | None]:
    """The world, what breaks in it, and for how long there is something to see."""
    from dos.simulate.worlds import world as world_of

    if scenario is None:
        there = world_of(world or "shop", services=services, seed=seed)
        return there, dicing.incidents(there, seed, start), None
    from dos.simulate.scenario import Scenario
    from dos.simulate.scenario_file import read

    story = read(scenario)
    there = world_of(world or story.content.world, services=services, seed=seed)
    story.check(there)
    return there, Scenario(story.timeline, there, start), story.content.length


def build(
    world: World,
    seed: int,
    step: float,
    start: Millis,
    incidents: Incidents | None,
    changes_per_day: float,
) -> Simulation:
    """A simulation of `world`."""
    from dos.simulate.engine import Simulation

    return Simulation(
        world,
        seed=seed,
        step_seconds=step,
        start=start,
        incidents=incidents,
        changes_per_day=changes_per_day,
    )


def read_token(path: Path) -> str:
    """The bearer token in a file.

    Raises:
        BadParameter: The file cannot be read, or there is nothing in it.
    """
    try:
        token = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{path} cannot be read: {error}"
        raise typer.BadParameter(msg, param_hint="--token-file") from None
    if not token:
        msg = f"{path} is empty"
        raise typer.BadParameter(msg, param_hint="--token-file")
    return token


def base_url(host: str, port: int) -> str:
    """Where something listens."""
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
