"""`dos serve`: watch, and serve the API."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        help="Configuration file. Default: $DOS_CONFIG, else ./config.yaml, else none.",
    ),
]


def serve(
    config: ConfigOption = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port; 0: any.")] = None,
) -> None:
    """Run DOS: take in telemetry, find incidents and causes, alert, serve the API.

    Without a configuration file it waits for samples pushed to its API and keeps its data in
    ./data. Stops on Ctrl-C or SIGTERM.
    """
    from dos.app.serving import serve as run
    from dos.app.settings_load import load
    from dos.kit import log

    settings = load(config).settings
    given = {"host": host, "port": port}
    chosen = {key: value for key, value in given.items() if value is not None}
    server = settings.server.model_copy(update=chosen)
    settings = settings.model_copy(update={"server": server})
    log.configure(settings.log.level, settings.log.format)
    run(settings)
