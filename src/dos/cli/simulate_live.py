"""`dos simulate inject|act|clear|truth`: break and mend a simulation that runs elsewhere.

It runs behind an exporter (`dos simulate export`), in the testbed, or as a source of DOS itself
(`dos serve`, `dos demo`); which of these answers is found out by asking.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dos.cli.output import out, parse_seconds, plain
from dos.cli.simulate_options import read_token

if TYPE_CHECKING:
    from dos.cli.simulate_door import Door, Happened

UrlOption = Annotated[
    str | None,
    typer.Option(
        help="Of the exporter or of DOS. Default: 127.0.0.1, port 9100, then port 8000.",
    ),
]
TokenFileOption = Annotated[
    Path | None, typer.Option(help="File with the bearer token that it asks for.")
]
SourceOption = Annotated[
    str | None, typer.Option(help="Name of the simulator, where DOS has several.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]
_Seconds = typer.Option(parser=parse_seconds, metavar="TIME")


def inject(  # noqa: PLR0913  each parameter is an option of the command line
    kind: Annotated[
        str, typer.Argument(metavar="TYPE", help="What breaks; see `dos simulate faults`.")
    ],
    target: Annotated[str, typer.Argument(help="A service, node or zone.")],
    *,
    severity: Annotated[float, typer.Option(help="Above 0, up to 1.", min=0.01, max=1.0)] = 0.7,
    duration: Annotated[float, _Seconds] = 180.0,
    ramp: Annotated[float | None, _Seconds] = None,
    recovery: Annotated[float | None, _Seconds] = None,
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    source: SourceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Break something in a running simulation: behind an exporter, or inside DOS."""
    wanted: dict[str, Any] = {
        "type": kind.lower().replace("-", "_"),
        "target": target,
        "severity": severity,
        "duration": duration,
        "ramp": ramp,
        "recovery": recovery,
    }
    with _door(url, token_file) as door:
        made = door.inject(wanted, source)
        if as_json:
            _print_json(made)
            return
        until = f"severity {severity:g}, {duration:g} s, from {made.get('start', 'now')}"
        _say(f"{made['type']} of {_target(made)}: {until} ({door.described})")


def act(
    kind: Annotated[
        str,
        typer.Argument(
            metavar="KIND", help="scale, restart, rollback, flag_off, failover or drain."
        ),
    ],
    target: Annotated[str, typer.Argument(help="A service; for `drain` a node.")],
    *,
    replicas: Annotated[int | None, typer.Option(help="Wanted of `scale`.", min=1)] = None,
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    source: SourceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take a remediation in a running simulation; `truth` tells what came of it."""
    wanted = {"kind": kind.lower().replace("-", "_"), "target": target, "replicas": replicas}
    with _door(url, token_file) as door:
        made = door.act(wanted, source)
        if as_json:
            _print_json(made)
            return
        cured = made["cured"]
        effect = f"removes the cause of {len(cured)} fault" if cured else "removes no cause"
        _say(f"{made['kind']} of {made['target']}: {effect} ({door.described})")


def clear(
    *,
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    source: SourceOption = None,
) -> None:
    """Let every fault of a running simulation recover now."""
    with _door(url, token_file) as door:
        running = door.clear(source)
        _say(f"faults that recover now: {running} ({door.described})")


def truth(
    *,
    url: UrlOption = None,
    token_file: TokenFileOption = None,
    source: SourceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell what really went wrong in a running simulation so far, and what was done about it."""
    with _door(url, token_file) as door:
        happened = door.happened(source)
    if as_json:
        _print_json({"faults": list(happened.faults), "actions": list(happened.actions)})
        return
    _show(happened)


def _door(url: str | None, token_file: Path | None) -> Door:
    from dos.cli.simulate_door import open_door

    return open_door(url, None if token_file is None else read_token(token_file))


def _show(happened: Happened) -> None:
    from dos.cli.simulate_catalogue import table

    faults = table("began", "ended", "what", "target", "severity", "affected")
    for one in sorted(happened.faults, key=lambda one: str(one.get("start"))):
        harmless = " (harmless)" if one.get("harmless") else ""
        affected = one.get("affected") or []
        faults.add_row(
            _time(one.get("start")),
            _time(one.get("end")) or "running",
            f"{one['type']}{harmless}",
            plain(_target(one)),
            f"{one.get('severity', '')}",
            plain(", ".join(affected)) or "nobody",
        )
    console = out()
    console.print(faults if happened.faults else "nothing went wrong so far", markup=False)
    if not happened.actions:
        return
    actions = table("at", "action", "target", "removed a cause", "helped", "suffered", "without")
    words = {True: "yes", False: "made it worse", None: "no clear difference"}
    for one in sorted(happened.actions, key=lambda one: str(one["at"])):
        actions.add_row(
            _time(one["at"]),
            one["kind"],
            plain(one["target"]),
            "yes" if one["cured"] else "no",
            words[one["helped"]],
            f"{one['suffered']:,.0f}",
            f"{one['suffered_without']:,.0f}",
        )
    console.print(actions)


def _target(fault: dict[str, Any]) -> str:
    return str(fault.get("target") or fault.get("service") or "")


def _time(text: object) -> str:
    """The time of day of an RFC 3339 text."""
    return str(text)[11:19] if text else ""


def _say(text: str) -> None:
    out().print(plain(text), markup=False)


def _print_json(value: object) -> None:
    sys.stdout.write(json.dumps(value, indent=2) + "\n")
