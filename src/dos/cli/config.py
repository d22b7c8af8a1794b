"""`dos check-config` and `dos config …`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from dos.cli.output import PROBLEM, err, out, plain
from dos.cli.serve import ConfigOption

app = typer.Typer(no_args_is_help=True, help="Show the configuration and its schema.")


def check_config(
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="[FILE]", help="Default: $DOS_CONFIG, else ./config.yaml, else none."
        ),
    ] = None,
) -> None:
    """Check a configuration: each problem with file, line, column and what to write instead."""
    from dos.app.settings_load import SettingsError, load

    try:
        loaded = load(file)
    except SettingsError as error:
        for problem in error.problems:
            out().print(plain(str(problem)), markup=False)
        count = len(error.problems)
        err().print(f"{count} problem{'s' if count > 1 else ''}", style="red")
        raise typer.Exit(PROBLEM) from None
    from dos.app import wiring
    from dos.kit.clock import SystemClock

    # Files that the configuration names are read where they are used.
    wiring.check_alerting(loaded.settings)
    wiring.build_sources(loaded.settings, SystemClock(), 0)
    where = plain(str(loaded.path)) if loaded.path else "no file: the defaults"
    out().print(f"{where}: valid", markup=False)


@app.command("show")
def show(config: ConfigOption = None) -> None:
    """Print the effective configuration as YAML: defaults, file and environment together.

    Secrets are shown as `***`.
    """
    import yaml

    from dos.app.settings_load import load

    settings = load(config).settings
    sys.stdout.write(
        yaml.safe_dump(settings.model_dump(mode="json", by_alias=True), sort_keys=False)
    )


@app.command("schema")
def schema() -> None:
    """Print the JSON Schema of the configuration, with the keys of every plugin type."""
    from dos.app.settings_schema import json_schema

    sys.stdout.write(json.dumps(json_schema(), indent=2) + "\n")


@app.command("example")
def example() -> None:
    """Print a configuration with every key, its meaning and its default."""
    from dos.app.settings_example import example as text

    sys.stdout.write(text())


@app.command("reference")
def reference() -> None:
    """Print the reference of all keys, as Markdown."""
    from dos.app.settings_reference import reference as text

    sys.stdout.write(text())
