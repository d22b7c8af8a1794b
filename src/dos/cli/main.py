"""The `dos` command. Commands import what they need when they run, so that `--help` is quick."""

from __future__ import annotations

import io
import sys
from importlib import import_module
from importlib.util import find_spec
from typing import Annotated

import typer

from dos.cli import (
    alerts,
    backtest,
    bench,
    config,
    demo,
    feedback,
    forecasts,
    logs,
    models,
    notify,
    oncall,
    rca,
    replay,
    rules,
    serve,
    train,
)
from dos.cli.output import OK, DosGroup
from dos.kit.version import __version__

app = typer.Typer(
    name="dos",
    cls=DosGroup,
    help="Dependency Ops Sentinel: watches services and their dependencies, names the root cause.",
    epilog="Exit codes: 0 all is well, 1 a problem was found, 2 wrong usage, 130 interrupted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"dos {__version__}")
        raise typer.Exit(OK)


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error (for bug reports).")
    ] = False,
) -> None:
    """Options that stand before the command; `DosGroup` reads `debug`."""
    del version, debug
    for stream in (sys.stdout, sys.stderr):
        # A terminal or pipe that cannot show a character gets a `?`, not a traceback.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


app.command("serve")(serve.serve)
app.command("demo")(demo.demo)
app.command("replay")(replay.replay)
app.command("logs")(logs.logs)
app.command("forecasts")(forecasts.forecasts)
app.command("backtest")(backtest.backtest)
app.command("check-config")(config.check_config)
app.add_typer(alerts.app, name="alerts")
app.add_typer(bench.app, name="bench")
app.add_typer(config.app, name="config")
app.add_typer(feedback.app, name="feedback")
app.add_typer(models.app, name="models")
app.add_typer(notify.app, name="notify")
app.add_typer(rules.app, name="rules")
app.add_typer(oncall.app, name="oncall")
app.add_typer(rca.app, name="rca")
app.add_typer(train.app, name="train")
if find_spec("dos.cli.simulate") is not None:  # comes with the simulator's commands
    app.add_typer(import_module("dos.cli.simulate").app, name="simulate")
