"""`dos replay`: run recorded input again."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dos.cli.output import PROBLEM, out

if TYPE_CHECKING:
    from dos.app.replay_types import ReplayReport


def replay(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH…", help="Recordings, cases, or sets of cases.")
    ],
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Repeat recorded runs and cases through the same pipeline.

    A recording made by DOS must lead to the same decisions byte for byte: if it does not, the
    first difference is shown and the exit code is 1. For a case (see the documentation of the
    `file` source) the ranking is shown beside the known cause.
    """
    from dos.app.replay_types import REPLAY_REPORTS
    from dos.evaluate.replay import find, summary
    from dos.evaluate.replay import replay as run
    from dos.kit import log

    log.configure("warning")
    reports: list[ReplayReport] = []
    for path in [one for given in paths for one in find(given)]:
        reports.append(run(path))
        if not json:
            from dos.cli.replay_report import render
            from dos.cli.view_format import signs_for

            console = out()
            console.print(render(reports[-1], signs_for(console)))
    scores = summary(reports)
    if not json and len(reports) > 1 and scores.sets:
        out().print(scores.table())
    if json:
        sys.stdout.write(REPLAY_REPORTS.dump_json(tuple(reports), indent=2).decode() + "\n")
    if any(report.identical is False for report in reports):
        raise typer.Exit(PROBLEM)
