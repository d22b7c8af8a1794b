"""`dos oncall`: who is on call, now and later, by the configuration."""

from __future__ import annotations

import json as jsons
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from dos.cli.output import USAGE, err, out, plain
from dos.cli.serve import ConfigOption

if TYPE_CHECKING:
    from dos.alerting.oncall import Schedule, Shift
    from dos.kit.clock import Millis

app = typer.Typer(
    no_args_is_help=True, help="Who is on call, by the configuration; DOS need not run."
)
NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="Of the schedule, as in the list.")
]
FromOption = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="TIME",
        help="From when: 2026-11-28T09:00, by the schedule's clock. Default: now.",
    ),
]
FormatOption = Annotated[
    Literal["table", "json"], typer.Option("--output", "-o", help="How to print.")
]
_MOST_DAYS = 3 * 366


@app.command("list")
def list_schedules(*, config: ConfigOption = None, output: FormatOption = "table") -> None:
    """Show each schedule with who is on call now."""
    from dos.kit.clock import SystemClock

    now = SystemClock().now()
    schedules = _schedules(config)
    if output == "json":
        found = [
            {"name": one.name, "on_call": _as_json(one, one.current(now))} for one in schedules
        ]
        sys.stdout.write(jsons.dumps(found, indent=2) + "\n")
        return
    for one in schedules:
        shifts = one.current(now)
        for shift in shifts:
            line = f"{one.name}  {shift.person}  until {_local(one, shift.end)}  ({shift.why})"
            out().print(plain(line), markup=False)
        if not shifts:
            out().print(plain(f"{one.name}  nobody"), style="yellow", markup=False)
    if not schedules:
        out().print("no schedule: add one to `alerting.schedules`", style="dim")


@app.command("show")
def show(
    name: NameArgument,
    *,
    since: FromOption = None,
    until: Annotated[
        str | None,
        typer.Option("--until", metavar="TIME", help="Until when. Default: 14 days later."),
    ] = None,
    config: ConfigOption = None,
    output: FormatOption = "table",
) -> None:
    """Show who is on call in a schedule, and when nobody is."""
    schedule = _schedule(name, config)
    start, end = _window(schedule, since, until, days=14)
    shifts = schedule.shifts(start, end)
    if output == "json":
        sys.stdout.write(jsons.dumps(_as_json(schedule, shifts), indent=2) + "\n")
        return
    seen = start
    for one in shifts:
        _gap(schedule, seen, one.start)
        times = f"{_local(schedule, one.start)}  {_local(schedule, one.end)}"
        out().print(plain(f"{times}  {one.person}  ({one.why})"), markup=False)
        seen = max(seen, one.end)
    _gap(schedule, seen, end)


@app.command("export")
def export(
    name: NameArgument,
    *,
    since: FromOption = None,
    days: Annotated[int, typer.Option(min=1, max=_MOST_DAYS, help="For how long.")] = 90,
    config: ConfigOption = None,
) -> None:
    """Print a schedule as an iCalendar file, which calendars such as Google's can import."""
    from dos.alerting.ical import written
    from dos.kit.clock import SystemClock

    schedule = _schedule(name, config)
    start, end = _window(schedule, since, None, days=days)
    shifts = schedule.shifts(start, end, whole=True)
    text = written(schedule.name, shifts, SystemClock().now())
    # As bytes: lines of iCalendar end in CR LF on every system.
    sys.stdout.flush()
    sys.stdout.buffer.write(text)


def _schedules(config: Path | None) -> Sequence[Schedule]:
    from dos.app import wiring
    from dos.app.settings_load import load

    settings = load(config).settings
    return list(wiring.schedules_of(settings, wiring.receivers_of(settings)).values())


def _schedule(name: str, config: Path | None) -> Schedule:
    schedules = {one.name: one for one in _schedules(config)}
    if name not in schedules:
        known = f"there are: {', '.join(schedules)}" if schedules else "there is none"
        err().print(plain(f"There is no schedule {name!r}; {known}."), style="red", markup=False)
        raise typer.Exit(USAGE)
    return schedules[name]


def _window(
    schedule: Schedule, since: str | None, until: str | None, days: int
) -> tuple[Millis, Millis]:
    """The time that is asked about."""
    from dos.kit.clock import DAY, Millis, SystemClock

    start = SystemClock().now() if since is None else _moment(schedule, since)
    end = Millis(start + days * DAY) if until is None else _moment(schedule, until)
    if not start < end <= start + _MOST_DAYS * DAY:
        msg = f"--until has to be later than --from, by at most {_MOST_DAYS} days"
        raise typer.BadParameter(msg)
    return start, end


def _moment(schedule: Schedule, text: str) -> Millis:
    from datetime import datetime

    from dos.alerting.ical import millis_of

    try:
        return millis_of(datetime.fromisoformat(text), schedule.zone)
    except (ValueError, OverflowError):
        msg = f"{text!r} is not a time; write 2026-11-28T22:00 or 2026-11-28"
        raise typer.BadParameter(msg) from None


def _gap(schedule: Schedule, start: Millis, end: Millis) -> None:
    if start < end:
        line = f"{_local(schedule, start)}  {_local(schedule, end)}  nobody"
        out().print(plain(line), style="yellow", markup=False)


def _local(schedule: Schedule, at: Millis) -> str:
    from dos.kit.clock import to_datetime

    return to_datetime(at).astimezone(schedule.zone).isoformat(timespec="minutes")


def _as_json(schedule: Schedule, shifts: Sequence[Shift]) -> list[dict[str, str]]:
    return [
        {
            "person": one.person,
            "start": _local(schedule, one.start),
            "end": _local(schedule, one.end),
            "why": one.why,
        }
        for one in shifts
    ]
