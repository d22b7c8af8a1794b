"""`dos simulate worlds|faults|scenario`: what there is to play, to break and to tell."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dos.cli.output import PROBLEM, err, out, plain, print_error
from dos.cli.simulate_options import SeedOption, ServicesOption, WorldOption, fault_type

if TYPE_CHECKING:
    from rich.table import Table

    from dos.simulate.kinds.base import Kind
    from dos.simulate.scenario import Scheduled
    from dos.simulate.scenario_file import Reading
    from dos.simulate.world import World

_NAMES_SHOWN = 3


def worlds(
    *,
    yaml: Annotated[
        str | None,
        typer.Option(
            metavar="WORLD", help="Print that world as YAML, to be changed and played by --world."
        ),
    ] = None,
    services: ServicesOption = 50,
    seed: SeedOption = 0,
) -> None:
    """List the worlds that come with DOS, or print one as YAML."""
    from dos.simulate.worlds import BUILT_IN, generate, world

    if yaml is not None:
        from dos.simulate.world_file import write

        sys.stdout.write(write(world(yaml, services=services, seed=seed)))
        return
    listed = table("world", "services", "calls", "depth", "machines", "enters at", "requests/s")
    examples = [build() for build in BUILT_IN.values()] + [generate(services, seed)]
    for one in examples:
        built_in = one.name in BUILT_IN
        listed.add_row(
            one.name if built_in else "generated",
            str(len(one.services)) + ("" if built_in else " (--services)"),
            str(len(one.calls)),
            str(1 + max(one.level(service.id) for service in one.services)),
            f"{len(one.nodes)} in {len(one.zones)} zones",
            _some(list(one.entries)),
            f"{sum(one.entries.values()):,.0f}",
        )
    out().print(listed)


def faults(
    kind: Annotated[
        str | None, typer.Argument(metavar="[TYPE]", help="Only this one, with all its targets.")
    ] = None,
    *,
    world: WorldOption = "shop",
    services: ServicesOption = 50,
    seed: SeedOption = 0,
) -> None:
    """List what can break, what only looks like it, and what each can hit in a world."""
    from dos.simulate.kinds import KINDS
    from dos.simulate.worlds import world as world_of

    there = world_of(world, services=services, seed=seed)
    if kind is not None:
        _describe(KINDS[fault_type(kind)], there)
        return
    listed = table("type", "what it is", "removed by", f"targets in {there.name}")
    for one in KINDS.values():
        targets = one.targets(there)
        name = f"{one.type} (harmless)" if one.harmless else one.type.value
        listed.add_row(name, meaning(one), _cures(one), f"{len(targets)}: {_some(targets)}")
    out().print(listed)


def _describe(kind: Kind, world: World) -> None:
    least, most = kind.duration
    targets = kind.targets(world)
    console = out()
    console.print(f"{kind.type.label} ({kind.type})", style="bold", markup=False)
    console.print(inspect.getdoc(kind) or "", markup=False)
    lines = {
        "harmless": "yes: nobody should be woken" if kind.harmless else "no",
        "lasts": f"{least} to {most} s in the random mode",
        "full strength": f"after {kind.ramp:g} s, usually",
        "recovers": f"within {kind.recovery:g} s, usually",
        "removed by": _cures(kind),
        f"targets in {world.name}": ", ".join(targets) or "none",
    }
    for name, text in lines.items():
        console.print(f"  {name}: {text}", markup=False)


def meaning(kind: Kind) -> str:
    """The first sentence of what a kind of fault says of itself."""
    return (inspect.getdoc(kind) or "").splitlines()[0]


def _cures(kind: Kind) -> str:
    return " or ".join(sorted(one.value for one in kind.cures)) or "time"


def scenario(
    which: Annotated[
        str | None, typer.Argument(metavar="[FILE|NAME]", help="What to show or check.")
    ] = None,
    *,
    listing: Annotated[
        bool, typer.Option("--list", help="List the scenarios that come with DOS.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Only say whether it can be played, and why not.")
    ] = False,
    world: Annotated[
        str | None, typer.Option(help="Play it in this world. Default: the one it names.")
    ] = None,
    services: ServicesOption = 50,
    seed: SeedOption = 0,
) -> None:
    """Show a timeline: what breaks when, and whom it can reach. Play it with `run --scenario`."""
    from dos.simulate.scenario_file import built_in, read
    from dos.simulate.worlds import world as world_of

    if which is None or listing:
        if which is None and not listing:
            err().print("Name a scenario or a YAML file; these come with DOS:", markup=False)
        _list([read(name) for name in built_in()])
        return
    story = read(which)
    there = world_of(world or story.content.world, services=services, seed=seed)
    misfits = story.misfits(there)
    for misfit in misfits:
        print_error(misfit)
    if misfits:
        raise typer.Exit(PROBLEM)
    if check:
        _console_line(f"{which}: {_size(story)}: can be played in {there.name}")
        return
    _show(story, there)


def _console_line(text: str) -> None:
    out().print(plain(text), markup=False)


def _list(stories: list[Reading]) -> None:
    listed = table("scenario", "world", "length", "faults", "actions", "what happens")
    for story in stories:
        faults_, actions = _counts(story)
        listed.add_row(
            Path(story.name).stem,
            story.content.world,
            _lasting(story.content.length),
            str(faults_),
            str(actions),
            story.content.title,
        )
    out().print(listed)


def _counts(story: Reading) -> tuple[int, int]:
    from dos.simulate.scenario import ScheduledFault

    faults_ = sum(isinstance(line, ScheduledFault) for line in story.timeline)
    return faults_, len(story.timeline) - faults_


def _size(story: Reading) -> str:
    faults_, actions = _counts(story)
    counted = f"{faults_} fault{'' if faults_ == 1 else 's'}"
    counted += f", {actions} action{'' if actions == 1 else 's'}"
    return f"{counted}, {_lasting(story.content.length)}"


def _show(story: Reading, world: World) -> None:
    content = story.content
    if content.title:
        out().print(plain(content.title), style="bold", markup=False)
    if content.description:
        _console_line(" ".join(content.description.split()))
    _console_line(f"In world {world.name}: {_size(story)}.")
    listed = table("at", "until", "what", "target", "severity", "can reach")
    for line in sorted(story.timeline, key=lambda one: one.at):
        listed.add_row(*(plain(cell) for cell in _row(line, world)))
    out().print(listed)


def _row(line: Scheduled, world: World) -> tuple[str, ...]:
    from dos.model.ids import EntityId
    from dos.simulate.faults import FaultType
    from dos.simulate.kinds import KINDS
    from dos.simulate.reach import reach
    from dos.simulate.scenario import ScheduledAction

    if isinstance(line, ScheduledAction):
        to = "" if line.replicas is None else f" to {line.replicas} replicas"
        what = f"→ {line.action.value.replace('_', ' ')}{to}"
        return _lasting(line.at), "", what, line.target, "", ""
    reached = reach(world, line.fault, EntityId(line.target))
    label = line.fault.label
    if KINDS[line.fault].harmless and line.fault is not FaultType.HARMLESS_DEPLOY:
        label += " (harmless)"
    others = [one for one in reached if one != line.target]
    return (
        _lasting(line.at),
        _lasting(line.at + line.duration),
        label,
        line.target,
        f"{line.severity:g}",
        _some(others) if others else "nobody else",
    )


def _lasting(seconds: float) -> str:
    from dos.kit.duration import format_duration

    return format_duration(seconds)


def _some(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    more = len(names) - _NAMES_SHOWN
    shown = ", ".join(names[:_NAMES_SHOWN]) or "none"
    return f"{shown} and {more} more" if more > 0 else shown


def table(*columns: str) -> Table:
    """An empty table with a line below its head."""
    from rich import box
    from rich.table import Table

    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        made.add_column(name, overflow="fold")
    return made
