"""What `dos logs` says, for people and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.text import Text

from dos.cli.output import plain
from dos.cli.view_format import safe, signs_for
from dos.detect.logs.detector import Template
from dos.kit.clock import Millis, to_datetime, to_rfc3339
from dos.model.logs import LogFinding, LogSignal

_TITLES = {
    LogSignal.NEW: "new lines",
    LogSignal.BURST: "bursts",
    LogSignal.PARAMETER: "strange values",
}
_NAMES = ((21, "fatal"), (17, "error"), (13, "warn"), (9, "info"), (5, "debug"), (1, "trace"))


@dataclass(frozen=True, slots=True, kw_only=True)
class LogsReport:
    """What was found in log files."""

    lines: int
    began: Millis | None
    ended: Millis | None
    """Time of the first and last line, None for no lines; 0 where they have no times."""
    templates: tuple[Template, ...]
    """Of the baseline too, in order of first sight."""
    known: int | None
    """The last template of the baseline, None where there was none."""
    findings: tuple[LogFinding, ...]

    @property
    def timed(self) -> bool:
        """Whether the lines have times."""
        return bool(self.ended)

    def is_new(self, template: Template) -> bool:
        """Whether a template was not in the baseline."""
        return self.known is not None and template.serial > self.known

    @property
    def unusual(self) -> list[LogFinding]:
        """Findings that began, each at its strongest."""
        strongest: dict[tuple[str, LogSignal, Millis], LogFinding] = {}
        for one in self.findings:
            key = (one.entity, one.signal, one.onset)
            known = strongest.get(key)
            if one.started and (known is None or one.score >= known.score):
                strongest[key] = one
        return list(strongest.values())

    def to_json(self) -> str:
        """One JSON document."""
        document = {
            "lines": self.lines,
            "began": to_rfc3339(self.began) if self.began else None,
            "ended": to_rfc3339(self.ended) if self.ended else None,
            "templates": [
                {
                    "service": one.entity,
                    "template": one.text,
                    "example": one.example,
                    "count": one.count,
                    "severity": severity(one.severity) or None,
                    "first": to_rfc3339(one.first) if self.timed else None,
                    "last": to_rfc3339(one.last) if self.timed else None,
                    "new": self.is_new(one),
                }
                for one in sorted(self.templates, key=lambda one: -one.count)
            ],
            "findings": [
                {
                    "service": one.entity,
                    "kind": one.signal.value,
                    "at": to_rfc3339(one.timestamp),
                    "onset": to_rfc3339(one.onset),
                    "score": round(one.score, 4),
                    "rarity": one.rarity,
                    "detail": one.detail,
                }
                for one in self.unusual
            ],
        }
        return json.dumps(document, indent=2, ensure_ascii=False)


def severity(number: int) -> str:
    """`error`; empty where it is not known."""
    return next((name for least, name in _NAMES if number >= least), "")


def show(report: LogsReport, console: Console, top: int) -> None:
    """Print it."""
    services = {one.entity for one in report.templates}
    console.print(
        Text(
            f"{report.lines:,} lines, {len(report.templates):,} templates, "
            f"{len(services)} service{'' if len(services) == 1 else 's'}"
        )
    )
    ordered = sorted(report.templates, key=lambda one: (-one.count, one.serial))
    _table(ordered, report, console, top, several=len(services) > 1)
    fresh = [one for one in ordered if report.is_new(one)]
    if fresh:
        console.print(Text(f"\nnot in the baseline: {len(fresh)}", style="bold"))
        _table(fresh, report, console, top, several=len(services) > 1)
    if not report.timed and report.lines:
        console.print(Text("\nThe lines have no times that are understood: no rates.", "yellow"))
    for signal in LogSignal:
        found = [one for one in report.unusual if one.signal is signal]
        if found:
            console.print(Text(f"\n{_TITLES[signal]}: {len(found)}", style="bold"))
            for one in sorted(found, key=lambda one: -one.score)[:top]:
                console.print(_line_of(one))
    if report.timed and not report.unusual:
        sign = signs_for(console).done
        console.print(Text.assemble((f"\n{sign} ", "green"), "nothing unusual over time"))


def _table(
    templates: Sequence[Template], report: LogsReport, console: Console, top: int, *, several: bool
) -> None:
    total = max(1, sum(one.count for one in report.templates))
    wide = max((len(one.entity) for one in templates[:top]), default=0)
    for one in templates[:top]:
        line = Text(f"{one.count:>10,} {one.count / total:>6.1%}  ", no_wrap=True)
        name = severity(one.severity)
        style = "red" if one.severity >= 17 else "yellow" if one.severity >= 13 else "dim"
        line.append(f"{name:<6}", style=style)
        if several:
            line.append(plain(f"{one.entity:<{wide}}  "), style="cyan")
        line.append_text(safe(one.text))
        console.print(line)
    if len(templates) > top:
        rest = sum(one.count for one in templates[top:])
        console.print(Text(f"{rest:>10,} {rest / total:>6.1%}  in {len(templates) - top} more"))


def _line_of(finding: LogFinding) -> Text:
    at = to_datetime(finding.onset).strftime("%Y-%m-%d %H:%M:%S")
    line = Text(f"  {at}  {finding.score:.2f}  ", no_wrap=True)
    line.append(plain(f"{finding.entity}  "), style="cyan")
    line.append_text(safe(finding.detail))
    return line
