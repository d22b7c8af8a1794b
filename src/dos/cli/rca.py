"""`dos rca`: rank a recorded case, and explain a stored incident."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dos.cli.output import out, parse_seconds
from dos.cli.serve import ConfigOption

if TYPE_CHECKING:
    from pydantic import TypeAdapter
    from rich.console import RenderableType

    from dos.app.recall import Recalled
    from dos.app.settings import Settings
    from dos.cli.rca_report import ExplainReport, TrueCause
    from dos.evaluate.cases import Truth
    from dos.kit.clock import Millis
    from dos.model.rootcause import RootCause
    from dos.rca.base import EntityScores, Ranker

app = typer.Typer(
    no_args_is_help=True, help="Rank root causes of recorded cases and stored incidents."
)

RankerOption = Annotated[
    str | None,
    typer.Option("--ranker", metavar="NAME", help="A ranker by name. Default: as configured."),
]
KeysOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="A key of the ranker's configuration."),
]
JsonOption = Annotated[
    Path | None,
    typer.Option("--json", metavar="FILE", help="Write JSON; - for standard output."),
]


@app.command("rank")
def rank(
    case: Annotated[Path, typer.Argument(metavar="CASE", help="Directory of a recorded case.")],
    *,
    ranker: RankerOption = None,
    keys: KeysOption = None,
    late: Annotated[
        float,
        typer.Option(parser=parse_seconds, metavar="TIME", help="Report the start so much later."),
    ] = 0.0,
    json: JsonOption = None,
    config: ConfigOption = None,
) -> None:
    """Rank the causes of a recorded case, with evidence, and the true cause where it is known.

    The layout of cases is in the documentation of the `file` source. The ranker never sees the
    true cause, nor the names of the fault and the folder.
    """
    from dos.cli.rca_report import RANK_REPORT, RankReport, ScoreLine, render_rank
    from dos.cli.view_format import signs_for
    from dos.evaluate.cases import load_case
    from dos.kit.clock import SystemClock
    from dos.rca.missing import missing

    name, chosen = _ranker(ranker, keys or [], _settings(config))
    loaded = load_case(case, late_s=late)
    clock = SystemClock()
    began = clock.monotonic()
    cause = chosen.rank(loaded.case)
    seconds = clock.monotonic() - began
    scores = chosen.score(loaded.case)
    report = RankReport(
        case=str(case),
        ranker=name,
        start=loaded.case.start,
        late_seconds=late,
        root_cause=cause,
        scores=tuple(ScoreLine(entity=entity, score=one) for entity, one in scores.ordered()),
        truth=_truth(loaded.truth, scores) if loaded.truth is not None else None,
        missing=missing(loaded.case, cause),
        seconds=seconds,
    )
    console = out()
    _show(report, RANK_REPORT, json, lambda: render_rank(report, signs_for(console)))


@app.command("explain")
def explain(
    incident: Annotated[str, typer.Argument(metavar="INCIDENT", help="Its id, `inc-…`.")],
    *,
    server: Annotated[
        str | None,
        typer.Option(
            "--server", metavar="URL", help="Ask the running DOS. Default: read its data_dir."
        ),
    ] = None,
    ranker: RankerOption = None,
    keys: KeysOption = None,
    until: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="With what was known then (RFC 3339). Default: when its cause was last told.",
        ),
    ] = None,
    json: JsonOption = None,
    config: ConfigOption = None,
) -> None:
    """Rank a stored incident again: evidence for and against, and what would change the verdict.

    Says whether the same cause leads as was told at the time, what information is missing that
    would tell the leading hypotheses apart, and without which kind of information another would
    lead. Nothing of the running DOS is changed.
    """
    from dos.cli.rca_report import EXPLAIN_REPORT, render_explain
    from dos.cli.view_format import signs_for
    from dos.kit import log

    log.configure("warning")
    settings = _settings(config)
    name, chosen = _ranker(ranker, keys or [], settings)
    recalled = _recalled(incident, server, config, settings, until)
    report = _explained(recalled, name, chosen)
    console = out()
    _show(report, EXPLAIN_REPORT, json, lambda: render_explain(report, signs_for(console)))


def _recalled(
    incident: str, server: str | None, config: Path | None, settings: Settings, until: str | None
) -> Recalled:
    """The incident as a case, from files or from the running DOS."""
    import asyncio

    from dos.app.recall import recall
    from dos.cli.rca_remote import recall_from
    from dos.model.ids import IncidentId

    identity, end = IncidentId(incident), None if until is None else _moment(until)
    if server is not None:
        return recall_from(server, config, settings, identity, end)
    return asyncio.run(recall(settings, identity, end))


def _explained(recalled: Recalled, name: str, chosen: Ranker) -> ExplainReport:
    """What is said of it now, beside what was told, and what would change it."""
    from dos.cli.rca_report import ExplainReport, Resting
    from dos.rca.missing import missing, rests_on

    case, incident = recalled.case, recalled.incident
    cause, told = chosen.rank(case), incident.root_cause
    return ExplainReport(
        incident=incident.id,
        title=incident.title,
        ranker=name,
        began_at=incident.began_at,
        at=case.end,
        entities=len(case.entities()),
        series=len(case.series),
        told=told,
        root_cause=cause,
        same=None if told is None else _leader(told) == _leader(cause),
        missing=missing(case, cause),
        rests_on=tuple(
            Resting(
                without=one.without,
                leader=one.leader,
                probability=one.probability,
                text=one.text,
            )
            for one in rests_on(case, chosen.rank)
        ),
    )


def _settings(config: Path | None) -> Settings:
    from dos.app.settings_load import load

    return load(config).settings


def _ranker(name: str | None, keys: list[str], settings: Settings) -> tuple[str, Ranker]:
    """The ranker that was asked for; configured keys hold where it is the configured one.

    Raises:
        ConfigError: There is no such ranker.
        typer.BadParameter: A key that it does not have, or a value that it does not take.
    """
    from pydantic import ValidationError

    from dos.kit.plugins import load
    from dos.rca.base import ROOM

    configured = settings.rca.ranker
    chosen = name or configured.type
    plugin = load(ROOM, chosen)
    own = configured.config.model_dump() if chosen == configured.type else {}
    for key in keys:
        field, is_pair, value = key.partition("=")
        if not is_pair:
            msg = f"{key!r} is not KEY=VALUE"
            raise typer.BadParameter(msg, param_hint="--set")
        own[field] = value
    try:
        ranker: Ranker = plugin.build(plugin.config.model_validate(own))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        msg = f"{chosen}: {'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise typer.BadParameter(msg, param_hint="--set") from None
    return chosen, ranker


def _truth(truth: Truth, scores: EntityScores) -> TrueCause:
    from dos.cli.rca_report import TrueCause
    from dos.evaluate.score import place_of

    return TrueCause(
        entity=truth.entity,
        metric=truth.metric,
        fault=truth.fault,
        place=place_of(truth, scores.ordered()),
    )


def _leader(cause: RootCause) -> str | None:
    return cause.top.entity if cause.top is not None else None


def _moment(text: str) -> Millis:
    from dos.kit.clock import from_rfc3339

    try:
        return from_rfc3339(text)
    except (ValueError, OverflowError):
        msg = f"{text!r} is not a time; write 2026-11-28T22:00:00Z"
        raise typer.BadParameter(msg, param_hint="--until") from None


def _show(report: Any, adapter: TypeAdapter[Any], json: Path | None, render: Any) -> None:
    """JSON where it was asked for; for people unless that went to standard output."""
    shown: RenderableType
    if json is not None:
        text = adapter.dump_json(report, indent=2).decode() + "\n"
        if str(json) == "-":
            sys.stdout.write(text)
            return
        json.write_text(text, encoding="utf-8")
    shown = render()
    out().print(shown)
