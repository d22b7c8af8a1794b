"""`dos check-config` and `dos config …`."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
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


@app.command("import")
def import_alertmanager(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An alertmanager.yml.")],
    *,
    secrets: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where to write what is secret, each in a file."),
    ] = None,
) -> None:
    """Print a configuration of DOS with the routes and channels of an Alertmanager.

    The file stays as it is, for the routes. What could not be taken over is said on stderr.
    """
    import yaml

    from dos.alerting.alertmanager import read_alertmanager
    from dos.alerting.imported import imported
    from dos.kit.errors import ConfigError

    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{file} cannot be read: {error}."
        raise ConfigError(msg) from None
    config = read_alertmanager(text, str(file))
    made = imported(
        config, str(secrets or "secrets"), _templates(file.resolve().parent, config.templates)
    )
    if made.secrets and secrets is None:
        msg = f"{file} holds {len(made.secrets)} secrets."
        raise ConfigError(msg, remedy="Say with --secrets DIR where to write them, each in a file.")
    if made.secrets and secrets is not None:
        _write_secrets(secrets, made.secrets)
    written = {"alerting": {"routes_file": str(file), "receivers": made.receivers}}
    sys.stdout.write(yaml.safe_dump(written, sort_keys=False, allow_unicode=True))
    for note in made.notes:
        err().print(plain(note), style="yellow", markup=False)


def _templates(folder: Path, patterns: Sequence[str]) -> dict[str, str]:
    """What the files of templates define that Alertmanager would read, by name."""
    from dos.alerting.gotemplate import defined

    found: dict[str, str] = {}
    for pattern in patterns:
        place = folder / pattern  # an absolute pattern stays what it is
        for name in sorted(Path(place.anchor).glob(str(place.relative_to(place.anchor)))):
            try:
                found |= defined(name.read_text(encoding="utf-8"))
            except (OSError, ValueError) as error:  # a UnicodeDecodeError is a ValueError
                line = f"templates: {name} cannot be read: {error}."
                err().print(plain(line), style="yellow", markup=False)
    return found


def _write_secrets(folder: Path, secrets: Mapping[str, str]) -> None:
    """Each in a file that only this user may read; what is there already is left alone."""
    import os

    from dos.kit.errors import ConfigError

    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name, value in secrets.items():
        try:
            number = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as error:
            msg = f"{folder / name} cannot be written: {error.strerror}."
            raise ConfigError(msg, remedy="Name an empty folder.") from None
        with os.fdopen(number, "w", encoding="utf-8") as file:
            file.write(value + "\n")


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
