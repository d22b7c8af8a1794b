"""`dos forecasts`: what runs out, and when."""

from __future__ import annotations

import json as jsons
import sys
from typing import Annotated, Any

import typer

from dos.cli.client import UrlOption, ask
from dos.cli.output import OK, PROBLEM, out, plain
from dos.cli.serve import ConfigOption

_PATH = "/api/v1/forecasts"


def forecasts(
    *,
    alarms: Annotated[
        bool, typer.Option("--alarms", help="Only those with an alarm; exit code 1 if any.")
    ] = False,
    entity: Annotated[str | None, typer.Option(metavar="NAME", help="Only of this entity.")] = None,
    url: UrlOption = None,
    config: ConfigOption = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Show what runs out, and when: disks, memory, certificates, quotas. DOS has to be running."""
    params = {"limit": "1000"}
    if alarms:
        params["alarms"] = "true"
    if entity is not None:
        params["entity"] = entity
    found = ask("GET", _PATH, url, config, params=params)["items"]
    if json:
        sys.stdout.write(jsons.dumps(found, indent=2) + "\n")
    else:
        for one in found:
            _print(one)
        if not found:
            out().print("nothing runs out", style="dim")
    raise typer.Exit(PROBLEM if alarms and found else OK)


def _print(one: Any) -> None:
    """The state, what happens when, and below it what was seen."""
    style = {"critical": "bold red", "warning": "yellow"}.get(one["state"], "dim")
    out().print(plain(f"{one['state']:8}  {one['title']}"), style=style, markup=False)
    out().print(plain(f"          {one['evidence']}"), style="dim", markup=False)
