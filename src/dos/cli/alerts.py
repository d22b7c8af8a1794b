"""`dos alerts`: what fires, and why somebody was told of it or was not."""

from __future__ import annotations

import getpass
import json as jsons
import sys
from typing import Annotated, Any

import typer

from dos.cli.client import UrlOption, ask
from dos.cli.output import out, plain
from dos.cli.serve import ConfigOption

app = typer.Typer(
    no_args_is_help=True,
    help="Alerts, and why somebody was told of them or was not. DOS has to be running.",
)
_PATH = "/api/v1/alerts"
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


@app.command("list")
def list_alerts(
    *,
    everything: Annotated[
        bool, typer.Option("--all", help="Also those that are over; the newest hundred.")
    ] = False,
    url: UrlOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Show alerts, newest first."""
    params = {"limit": "100"} if everything else {"state": "firing", "limit": "1000"}
    found = ask("GET", _PATH, url, config, params=params)["items"]
    if json:
        sys.stdout.write(jsons.dumps(found, indent=2) + "\n")
        return
    for one in found:
        style = "dim" if one["state"] == "resolved" else "bold"
        by = f"  ({one['acknowledged']['by']} is on it)" if one["acknowledged"] else ""
        head = f"{one['id']}  {one['severity']}  {one['status']:13}  {_title(one)}{by}"
        out().print(plain(head), style=style, markup=False)
    if not found:
        out().print("no alert" if everything else "nothing fires", style="dim")


@app.command("explain")
def explain(
    alert: Annotated[str, typer.Argument(metavar="ID", help="Of the alert, as in the list.")],
    *,
    url: UrlOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Say who was told of an alert and who was not, and why, oldest first."""
    found = ask("GET", f"{_PATH}/{alert}", url, config, params={})
    if json:
        sys.stdout.write(jsons.dumps(found, indent=2) + "\n")
        return
    out().print(plain(f"{found['id']}  {found['state']}  {_title(found)}"), markup=False)
    for one in found["decisions"]:
        times = f" ({one['count']} times, until {one['until']})" if one["count"] > 1 else ""
        who = f"{one['receiver']}: " if one["receiver"] else ""
        out().print(plain(f"  {one['at']}  {who}{one['sentence']}{times}"), markup=False)
    if not found["decisions"]:
        out().print("  It ended too long ago: why is no longer known.", style="dim")
    for one in found["notifications"]:
        said = f": {one['last_error']}" if one["last_error"] else ""
        line = f"  {one['created_at']}  {one['receiver']}: {one['alert_state']} {one['state']}"
        tries = f" after {one['attempts']} tries" if one["attempts"] > 1 else ""
        out().print(plain(f"{line}{tries}{said}"), style="dim", markup=False)


@app.command("inhibit-rules")
def inhibit_rules(*, url: UrlOption = None, config: ConfigOption = None) -> None:
    """Print the dependency graph as `inhibit_rules` for an Alertmanager."""
    import yaml

    from dos.alerting.dependents import inhibit_rules as rules
    from dos.model.entity import Entity
    from dos.model.graph import Edge, GraphSnapshot
    from dos.model.ids import EntityId

    found = ask("GET", "/api/v1/graph", url, config, params={})
    graph = GraphSnapshot(
        entities=tuple(Entity(id=EntityId(one["id"])) for one in found["entities"]),
        edges=tuple(
            Edge(caller=EntityId(one["caller"]), callee=EntityId(one["callee"]))
            for one in found["edges"]
        ),
    )
    sys.stdout.write(yaml.safe_dump({"inhibit_rules": rules(graph)}, sort_keys=False))


@app.command("ack")
def ack(
    alert: Annotated[str, typer.Argument(metavar="ID", help="Of the alert, as in the list.")],
    *,
    note: Annotated[str, typer.Option(metavar="TEXT", help="What is being done.")] = "",
    phase: Annotated[
        str,
        typer.Option(metavar="PHASE", help="acknowledged, investigating or mitigating."),
    ] = "acknowledged",
    author: Annotated[
        str | None, typer.Option(metavar="NAME", help="Who is on it. Default: you.")
    ] = None,
    url: UrlOption = None,
    config: ConfigOption = None,
) -> None:
    """Say that somebody is on an alert: it is not repeated, nor told to anybody further."""
    body = {"author": author or getpass.getuser(), "note": note, "phase": phase}
    said = ask("POST", f"{_PATH}/{alert}/acknowledge", url, config, params={}, body=body)
    out().print(plain(f"{alert}: {said['phase']}, by {said['by']}"), markup=False)


def _title(alert: Any) -> str:
    labels = alert["labels"]
    name = alert["annotations"].get("summary") or labels.get("alertname", "")
    service = labels.get("service", "")
    return f"{name} [{service}]" if service and service not in name else name
