"""`dos models`: candidates, what runs in shadow, promotion with its rule, and rollback."""

from __future__ import annotations

import getpass
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dos.cli.backtest import LearnOption, PrometheusOption, SinceOption, progress, the_past
from dos.cli.output import PROBLEM, out, plain
from dos.cli.serve import ConfigOption

if TYPE_CHECKING:
    from dos.app.models import ModelBook
    from dos.app.settings import Settings
    from dos.detect.promotion import Verdict
    from dos.evaluate.backtest.compare import BacktestReport

app = typer.Typer(
    no_args_is_help=True,
    help="Try other models of detection beside the live one, and promote what is better.",
)

ByOption = Annotated[
    str | None, typer.Option("--by", metavar="NAME", help="Who does it. Default: you.")
]
NoteOption = Annotated[str, typer.Option("--note", metavar="TEXT", help="Why.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Of the candidate.")]


@app.command("list")
def show(*, config: ConfigOption = None, json: JsonOption = False) -> None:
    """Show what decides, what runs beside it, the candidates, and who changed what."""
    from pydantic import TypeAdapter

    from dos.kit.clock import to_rfc3339
    from dos.model.candidate import ModelsStatus

    book, _ = _book(config)
    status = ModelsStatus(
        live=book.live,
        running=None,
        shadow=None,
        candidates=tuple(book.candidates()),
        log=tuple(book.log),
    )
    if json:
        text = TypeAdapter(ModelsStatus).dump_json(status, indent=2).decode()
        sys.stdout.write(text + "\n")
        return
    out().print(plain(f"live: {status.live or 'what the configuration says'}"), markup=False)
    out().print(plain(f"in shadow: {book.shadow or 'nothing'}"), markup=False)
    for one in status.candidates:
        kind = "network" if one.has_network else "configuration"
        out().print(plain(f"  {one.name}: {kind} from {one.origin}"), markup=False)
    for change in status.log:
        text = f"{to_rfc3339(change.at)} {change.by} {change.action.value} {change.name or '-'}"
        out().print(plain(f"{text}{': ' if change.note else ''}{change.note}"), style="dim")


@app.command("shadow")
def shadow(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Of the candidate; none: stop.")
    ] = None,
    *,
    source: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="PATH",
            help="Make the candidate: from a configuration file (its `detect` section), or from "
            "a folder that `dos train detect` wrote.",
        ),
    ] = None,
    by: ByOption = None,
    note: NoteOption = "",
    config: ConfigOption = None,
) -> None:
    """Let a candidate run beside the live model, without effect; a running DOS begins by itself.

    What it would have decided is shown by `GET /api/v1/models` and counted in `/metrics`.
    """
    from dos.kit.clock import SystemClock

    book, settings = _book(config)
    now = SystemClock().now()
    if source is not None:
        if name is None:
            raise typer.BadParameter("give the candidate a name", param_hint="NAME")
        book.add(name, source, settings, now)
    book.run_beside(name, by=by or getpass.getuser(), now=now, note=note)
    out().print(plain(f"in shadow: {name or 'nothing'}"), markup=False)


@app.command("promote")
def promote(  # noqa: PLR0913  each parameter is an option of the command line
    name: NameArgument,
    *,
    since: SinceOption = 7 * 86_400.0,
    learn: LearnOption = 86_400.0,
    prometheus: PrometheusOption = None,
    recording: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Compare on this recording instead.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the faults that are put into the past.")] = 0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only compare.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Promote whatever the comparison says.")
    ] = False,
    by: ByOption = None,
    note: NoteOption = "",
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Let a candidate decide, if it is better on the past.

    Both run over your history, with faults put into it and with what was labelled as the truth.
    The candidate is promoted when it sends no more false pages, finds at least as much, and is
    better in one of these or earlier. It decides from the next start of DOS on; `dos models
    rollback` undoes it. Exit code 1 when it is not promoted.
    """
    from dos.kit import log
    from dos.kit.clock import SystemClock

    log.configure("warning")
    book, present = _book(config)
    candidate = book.settings_of(name, present)
    asked = _Past(path=recording, since=since, learn=learn, prometheus=prometheus)
    report, verdict = _compare(asked, config, present, candidate, seed=seed, quiet=json)
    _tell(report, verdict, json=json)
    if dry_run:
        return
    if not verdict.better and not force:
        raise typer.Exit(PROBLEM)
    forced = "" if verdict.better else "forced although "
    said = f"{note}; " if note else ""
    book.promote(
        name,
        by=by or getpass.getuser(),
        now=SystemClock().now(),
        note=f"{said}{forced}{', '.join(verdict.reasons)}",
    )
    if not json:
        out().print(plain(f"{name} decides from the next start of DOS on"), markup=False)


@app.command("rollback")
def rollback(*, by: ByOption = None, note: NoteOption = "", config: ConfigOption = None) -> None:
    """Undo the last promotion: what decided before decides again, from the next start on."""
    from dos.kit.clock import SystemClock

    book, _ = _book(config)
    live = book.roll_back(by=by or getpass.getuser(), now=SystemClock().now(), note=note)
    out().print(plain(f"live: {live or 'what the configuration says'}"), markup=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Past:
    """Which past was asked for."""

    path: Path | None
    since: float
    learn: float
    prometheus: str | None


def _book(config: Path | None) -> tuple[ModelBook, Settings]:
    """The models of the configured data directory, and the settings in effect.

    Raises:
        PermanentError: The configuration keeps nothing.
    """
    from dos.app import wiring
    from dos.app.models import ModelBook
    from dos.app.settings_load import load
    from dos.kit.errors import PermanentError

    settings = load(config).settings
    directory = wiring.data_directory(settings)
    if directory is None:
        msg = "This configuration keeps nothing, so it has no models."
        raise PermanentError(msg, remedy="Name one with a data_dir: --config FILE.")
    book = ModelBook(directory)
    return book, book.applied(settings)


def _compare(
    asked: _Past,
    config: Path | None,
    present: Settings,
    candidate: Settings,
    *,
    seed: int,
    quiet: bool,
) -> tuple[BacktestReport, Verdict]:
    """Both models over the same past with the same faults in it, and what the rule says."""
    from dos.detect.promotion import judge
    from dos.evaluate.backtest.compare import backtest, figures
    from dos.evaluate.backtest.inject import injected

    with (
        the_past(asked.path, config, asked.prometheus, since=asked.since, learn=asked.learn) as (
            past,
            _,
        ),
        progress(past, quiet=quiet) as shown,
    ):
        if asked.path is not None and past.settings is not None:
            # Everything but the models is as it was when it was recorded.
            candidate = past.settings.model_copy(update={"detect": candidate.detect})
            present = past.settings.model_copy(update={"detect": present.detect})
        report = backtest(injected(past, seed=seed), present, candidate, progress=shown)
    if report.other is None:
        msg = "a comparison has two sides"
        raise AssertionError(msg)
    return report, judge(figures(report.present), figures(report.other))


def _tell(report: BacktestReport, verdict: Verdict, *, json: bool) -> None:
    if json:
        from dos.evaluate.backtest.compare import BACKTEST

        sys.stdout.write(BACKTEST.dump_json(report, indent=2).decode() + "\n")
        return
    from dos.cli.backtest_report import render

    out().print(render(report))
    word, style = ("better", "bold green") if verdict.better else ("not better", "bold yellow")
    out().print(plain(f"{word}: {'; '.join(verdict.reasons)}"), style=style, markup=False)
