"""Recordings: a run's whole input and its decisions, so that `dos replay` can repeat it.

    <directory>/manifest.json     version, and the settings that decisions depend on
    <directory>/intake/*.log      the intake log, kept whole (see `dos.bus.segment`)
    <directory>/decisions.jsonl   every event, one canonical JSON object a line

The intake log of a recording is the run's own log and not a copy: what was decided on is what is
recorded, also when the process was killed and went on.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from dos.alerting.base import Receiver
from dos.app import wiring
from dos.app.settings import Settings
from dos.kit.errors import ConfigError, CorruptDataError, PermanentError
from dos.kit.version import __version__
from dos.model.events import Decisions
from dos.storage.base import Store

FORMAT = 1
ROUTES = "routes.yml"
"""File in the recording with the routes that alerts went by."""
MARK = "recording"
"""File in the data directory that names the run, while it is being recorded."""
_SECTIONS = {
    "topology",
    "detect",
    "log_lines",
    "calendars",
    "feedback",
    "incidents",
    "rca",
    "impact",
}
_PAGE = 1000


class Manifest(BaseModel):
    """The head of a recording."""

    model_config = ConfigDict(frozen=True)

    format: int = FORMAT
    dos_version: str = __version__
    run: str = ""
    """Random name of the run, also in its data directory."""
    settings: dict[str, Any]
    """The sections of the configuration that decisions depend on, as in the file."""
    receivers: tuple[Receiver, ...]
    """Who was told; their channels do not matter for the decisions."""
    routes: str = ""
    """What `alerting.routes_file` said, without channels; empty where there was none."""


def manifest_of(settings: Settings, receivers: Sequence[Receiver]) -> Manifest:
    """The head of a recording made under `settings`."""
    kept = settings.model_dump(mode="json", include=_SECTIONS)
    kept["history"] = settings.model_dump(mode="json")["history"]
    dumped = settings.model_dump(mode="json", include={"alerting"}, by_alias=True)
    kept["alerting"] = dumped["alerting"]
    kept["alerting"].pop("receivers", None)
    routes = ""
    if settings.alerting.routes_file:
        kept["alerting"]["routes_file"] = ROUTES
        routes = wiring.routing_of(settings, receivers).text
    return Manifest(settings=kept, receivers=tuple(receivers), routes=routes)


def settings_of(manifest: Manifest, directory: Path) -> Settings:
    """The settings under which `directory` was recorded; nothing is kept."""
    kept = {**manifest.settings, "storage": {"url": wiring.IN_MEMORY}}
    if manifest.routes:
        kept["alerting"] = {**kept["alerting"], "routes_file": str(directory / ROUTES)}
    return Settings.model_validate(kept)


def read_manifest(directory: Path) -> Manifest:
    """The head of the recording in `directory`.

    Raises:
        PermanentError: There is no recording there.
        CorruptDataError: The file is damaged, or of a newer version.
    """
    path = directory / "manifest.json"
    try:
        manifest = Manifest.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        msg = f"{directory} holds no recording: there is no manifest.json in it."
        raise PermanentError(msg, remedy="Give the directory that `--record` wrote.") from None
    except ValidationError as error:
        msg = f"{path} is damaged: {error.errors()[0]['msg']}."
        remedy = "Fetch an undamaged copy of the recording, or record anew."
        raise CorruptDataError(msg, remedy=remedy) from error
    if manifest.format != FORMAT:
        msg = f"{path} has format {manifest.format}; this DOS reads format {FORMAT}."
        raise CorruptDataError(msg, remedy=f"It was written by DOS {manifest.dos_version}.")
    return manifest


class Recorder:
    """Writes manifest and decisions; the runner's log writes the input."""

    def __init__(self, directory: Path, manifest: Manifest) -> None:
        self._directory = directory
        self._manifest = manifest
        self._decisions = directory / "decisions.jsonl"

    def begin(self, data: Path | None, *, fresh: bool) -> None:
        """Before anything is opened: a recording begins with the run, or goes on with it.

        A file in the data directory says which recording the run belongs to. It is written
        first, so that a kill at any moment leaves what the next start can go on with.

        Args:
            data: The run's data directory; None when nothing outlives the process.
            fresh: Whether the run has no past.

        Raises:
            ConfigError: The run has a past that is not in the recording, or the other way round.
        """
        mine = _read(data / MARK) if data else ""
        manifest = self._directory / "manifest.json"
        theirs = read_manifest(self._directory).run if manifest.exists() else ""
        if theirs and theirs != mine:
            msg = f"{self._directory} holds the recording of another run."
            raise ConfigError(msg, remedy="Record into an empty directory.")
        if not theirs and not fresh:
            msg = "A recording has to begin with the run, and the data directory has a past."
            raise ConfigError(msg, remedy="Record with another, empty data_dir.")
        mine = mine or secrets.token_hex(8)
        self._manifest = self._manifest.model_copy(update={"run": mine})
        if theirs and read_manifest(self._directory) != self._manifest:
            msg = f"The settings are not those under which {self._directory} was begun."
            raise ConfigError(msg, remedy="Record into an empty directory, with a new data_dir.")
        if data:
            _write(data / MARK, mine)
        if not theirs:
            if self._manifest.routes:
                _write(self._directory / ROUTES, self._manifest.routes)
            _write(manifest, self._manifest.model_dump_json(indent=2) + "\n")

    async def catch_up(self, store: Store) -> None:
        """After recovery: write down all decisions of the store, the last ones may be missing."""
        after = 0
        with self._decisions.open("wb") as file:
            while page := await store.events(after=after, limit=_PAGE):
                file.writelines(one.to_json() + b"\n" for one in page)
                after = page[-1].seq

    def write(self, decisions: Decisions) -> None:
        """Add what a step decided."""
        with self._decisions.open("ab") as file:
            file.write(b"".join(one.to_json() + b"\n" for one in decisions.events))


def forget(data: Path | None) -> None:
    """The run goes on without being recorded: it cannot be taken up again later."""
    if data:
        (data / MARK).unlink(missing_ok=True)


def _read(path: Path) -> str:
    return path.read_text("utf-8") if path.exists() else ""


def _write(path: Path, text: str) -> None:
    """Write a small file as a whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.new")
    new.write_text(text, "utf-8")
    new.replace(path)
