"""`dos logs`: what is in log files, and what is unusual in them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dos.cli.output import out

if TYPE_CHECKING:
    from dos.detect.logs.detector import LogDetector
    from dos.kit.clock import Millis
    from dos.model.logs import LogFinding, LogLine

_BATCH = 20_000
"""Lines looked at in one go."""


def logs(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE…", help="Log files; - for standard input.")
    ],
    baseline: Annotated[
        list[Path] | None,
        typer.Option(
            "--baseline", "-b", metavar="FILE", help="Lines of a healthy time, learned from only."
        ),
    ] = None,
    service: Annotated[
        str | None, typer.Option(help="Whose lines they are, where they do not say so.")
    ] = None,
    top: Annotated[
        int, typer.Option(min=1, help="Templates and findings shown of each kind.")
    ] = 20,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Find the templates of log lines, and lines that are new, too many or have strange values.

    Lines are text or one JSON object each, plain or gzip. Without a baseline the first five
    minutes are learned from. Where lines have no times there are templates only.
    """
    from dos.cli import logs_report
    from dos.detect.logs.detector import LogDetector
    from dos.ingest.log_files import read_lines
    from dos.kit.clock import SystemClock

    now = SystemClock().now()
    detector = LogDetector()
    before = read_lines(baseline or [], now, service)
    _play(detector, before, history=True)
    known = max((one.serial for one in detector.templates()), default=0) if baseline else None
    lines = read_lines(files, now, service)
    findings = _play(detector, lines, history=False, after=before[-1].timestamp if before else None)
    report = logs_report.LogsReport(
        lines=len(lines),
        began=lines[0].timestamp if lines else None,
        ended=lines[-1].timestamp if lines else None,
        templates=tuple(detector.templates()),
        known=known,
        findings=tuple(findings),
    )
    if json:
        sys.stdout.write(report.to_json() + "\n")
    else:
        logs_report.show(report, out(), top)


def _play(
    detector: LogDetector, lines: list[LogLine], *, history: bool, after: Millis | None = None
) -> list[LogFinding]:
    """Give `lines` to the detector in order of time.

    A gap between the baseline, which ended at `after`, and the lines is left out: the lines are
    moved to follow on it, and what is found in them back again.
    """
    from dataclasses import replace

    from dos.kit.clock import SECOND, Millis
    from dos.model.logs import LogBatch

    if not lines:
        return []
    every = round(detector.config.every * SECOND)
    shift = 0 if after is None else (after // every + 1 - lines[0].timestamp // every) * every
    found: list[LogFinding] = []
    for start in range(0, len(lines), _BATCH):
        part = lines[start : start + _BATCH]
        moved = [replace(one, timestamp=Millis(one.timestamp + shift)) for one in part]
        for line_end in _stretches(moved, every):
            step = detector.step(LogBatch.of(line_end), line_end[-1].timestamp, history=history)
            found += step.findings
    if not history:
        found += detector.step(None, Millis(lines[-1].timestamp + shift + every)).findings
    return [
        replace(one, timestamp=Millis(one.timestamp - shift), onset=Millis(one.onset - shift))
        for one in found
    ]


def _stretches(lines: list[LogLine], every: int) -> list[list[LogLine]]:
    """Lines cut where a new stretch of time begins."""
    from itertools import groupby

    return [list(group) for _, group in groupby(lines, key=lambda line: line.timestamp // every)]
