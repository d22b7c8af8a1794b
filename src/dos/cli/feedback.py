"""`dos feedback`: labels and planned work, given to the running DOS over its API."""

from __future__ import annotations

import getpass
import json as jsons
import sys
from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dos.cli.client import UrlOption, ask
from dos.cli.output import out, parse_seconds, plain
from dos.cli.serve import ConfigOption

if TYPE_CHECKING:
    from dos.kit.clock import Millis
    from dos.model.feedback import Feedback

app = typer.Typer(
    no_args_is_help=True,
    help="Say what was right, wrong or missed, and plan work. DOS has to be running.",
)
_PATH = "/api/v1/feedback"


class Kind(StrEnum):
    """What can be said."""

    FALSE = "false"
    CONFIRMED = "confirmed"
    MISSED = "missed"
    MAINTENANCE = "maintenance"


AuthorOption = Annotated[
    str | None, typer.Option("--author", metavar="NAME", help="Who says it. Default: you.")
]
NoteOption = Annotated[str, typer.Option("--note", metavar="TEXT", help="Why.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


@app.command("add")
def add(  # noqa: PLR0913  each parameter is an option of the command line
    kind: Annotated[
        Kind,
        typer.Argument(
            metavar="KIND",
            help="false (nothing was wrong), confirmed (it was right), missed (nobody was told), "
            "or maintenance (open no incidents).",
        ),
    ],
    *,
    incident: Annotated[str | None, typer.Option(metavar="ID", help="The incident.")] = None,
    anomaly: Annotated[str | None, typer.Option(metavar="ID", help="The anomaly.")] = None,
    entity: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="An entity; for maintenance also a pattern (`shop/*`)."),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option("--from", metavar="TIME", help="RFC 3339, `now`, `-2h` or `+30m`."),
    ] = None,
    end: Annotated[str | None, typer.Option("--to", metavar="TIME", help="As `--from`.")] = None,
    note: NoteOption = "",
    author: AuthorOption = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Only show what it would have changed in the past."),
    ] = False,
    since: Annotated[
        float,
        typer.Option(parser=parse_seconds, metavar="TIME", help="With --dry-run: how far back."),
    ] = 7 * 86_400.0,
    url: UrlOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Say something about an incident, an anomaly, or entities in a stretch of time.

    Labels change the thresholds of the series they are about; `--dry-run` shows on recorded
    history which pages that would have changed. Whatever was said can be undone.
    """
    body: dict[str, Any] = {
        "kind": kind.value,
        "author": author or getpass.getuser(),
        "note": note,
        "incident_id": incident,
        "anomaly_id": anomaly,
        "entities": entity or [],
        "start": _time(start, "--from"),
        "end": _time(end, "--to"),
    }
    asked = {"dry_run": "true"} if dry_run else {}
    answer = ask("POST", _PATH, url, config, params=asked, body=body)
    if dry_run:
        _try(answer, since, config, json=json)
    elif json:
        sys.stdout.write(jsons.dumps(answer, indent=2) + "\n")
    else:
        out().print(plain(f"{_line(answer)}"), markup=False)


@app.command("list")
def show(
    *,
    kind: Annotated[Kind | None, typer.Option(help="Only of this kind.")] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Also what was undone, with who and why.")
    ] = False,
    url: UrlOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Show what was said, newest first."""
    params = {"limit": "1000"} if everything else {"limit": "1000", "holds": "true"}
    if kind is not None:
        params["kind"] = kind.value
    answer = ask("GET", _PATH, url, config, params=params)
    if json:
        sys.stdout.write(jsons.dumps(answer["items"], indent=2) + "\n")
        return
    for one in answer["items"]:
        out().print(plain(_line(one)), markup=False)
    if not answer["items"]:
        out().print("nothing was said", style="dim")


@app.command("undo")
def undo(
    name: Annotated[str, typer.Argument(metavar="ID", help="As `dos feedback list` shows it.")],
    *,
    note: NoteOption = "",
    author: AuthorOption = None,
    url: UrlOption = None,
    config: ConfigOption = None,
) -> None:
    """Take something back: from the next step on it is as if it had not been said."""
    params = {"author": author or getpass.getuser(), "note": note}
    answer = ask("DELETE", f"{_PATH}/{name}", url, config, params=params)
    out().print(plain(_line(answer)), markup=False)


def _try(answer: Any, since: float, config: Any, *, json: bool) -> None:
    """Run the past with and without it, and show the difference."""
    from dos.cli.backtest import progress, the_past
    from dos.evaluate.backtest.compare import BACKTEST, backtest
    from dos.kit import log

    log.configure("warning")
    said = _feedback(answer)
    with (
        the_past(None, config, None, since=since, learn=86_400.0) as (past, settings),
        progress(past, quiet=json) as shown,
    ):
        told = replace(past, labels=(*past.labels, said))
        report = backtest(past, settings, other_past=told, progress=shown)
    if json:
        sys.stdout.write(BACKTEST.dump_json(report, indent=2).decode() + "\n")
        return
    from dos.cli.backtest_report import render

    out().print(render(report))


def _time(text: str | None, option: str) -> str | None:
    """A time as the API reads it; relative ones from the machine's present.

    Raises:
        typer.BadParameter: Not a time.
    """
    from dos.kit.clock import SECOND, SystemClock, from_rfc3339, to_rfc3339

    if text is None:
        return None
    try:
        if text == "now" or text[:1] in {"+", "-"}:
            away = parse_seconds(text[1:]) if text != "now" else 0.0
            signed = -away if text.startswith("-") else away
            return to_rfc3339(_millis(SystemClock().now() + round(signed * SECOND)))
        return to_rfc3339(from_rfc3339(text))
    except (ValueError, OverflowError):
        msg = f"{text!r} is not a time; write 2026-11-28T22:00:00Z, now, -2h or +30m"
        raise typer.BadParameter(msg, param_hint=option) from None


def _millis(value: int) -> Millis:
    from dos.kit.clock import Millis

    return Millis(value)


def _feedback(answer: Any) -> Feedback:
    """What the API shows, as the model's noun."""
    from pydantic import TypeAdapter

    from dos.kit.clock import from_rfc3339
    from dos.model.feedback import Feedback

    times = {key: from_rfc3339(answer[key]) for key in ("given_at", "start", "end")}
    signals = [{**one, "labels": sorted(one["labels"].items())} for one in answer["signals"]]
    return TypeAdapter(Feedback).validate_python({**answer, **times, "signals": signals})


def _line(one: Any) -> str:
    """`fb-…  false  by ann: shop/cart, 12:00 to 12:30 (a load test)`."""
    about = one["incident_id"] or one["anomaly_id"] or ", ".join(one["entities"])
    times = f"{one['start'][:19]}Z to {one['end'][:19]}Z"
    text = f"{one['id']}  {one['kind']}  {about}  {times}  by {one['author']}"
    if one["note"]:
        text += f": {one['note']}"
    if one["undone_at"]:
        why = f": {one['undone_note']}" if one["undone_note"] else ""
        text += f"  (undone by {one['undone_by']}{why})"
    return text
