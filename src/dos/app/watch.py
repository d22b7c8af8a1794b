"""What looks over the shoulder of the running pipeline: the drift watch, and a model in shadow.

Both follow every input under the runner's lock and change nothing that is decided. What they know
survives a restart: that of the drift watch in `drift.json`, that of a shadow in the samples it
learns from when it begins again.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dos.alerting.base import Receiver
from dos.app.models import ModelBook, settings_from
from dos.app.pipeline import Pipeline
from dos.app.settings import Settings
from dos.app.shadow import Shadow
from dos.detect.drift import DriftWatch, group_of, places
from dos.kit import log
from dos.kit.clock import SECOND
from dos.kit.errors import CorruptDataError, DosError
from dos.model.candidate import ModelsStatus
from dos.model.drift import DriftReading
from dos.model.events import Decisions
from dos.model.intake import Intake
from dos.model.telemetry import Int32Array

_logger = log.get("app")
_HEAD = b"drift 1 "
_FRESH = 3
"""A sample this many looks old is not looked at again."""


class DriftFollower:
    """Shows the newest samples to the drift watch now and then.

    Args:
        settings: How often, and when drift is drift.
        pipeline: Whose bands are looked at.
        directory: Where the state is kept; None: nowhere.
    """

    def __init__(self, settings: Settings, pipeline: Pipeline, directory: Path | None) -> None:
        self._watch = DriftWatch(settings.drift)
        self._fresh = round(_FRESH * settings.drift.every * SECOND)
        self._pipeline = pipeline
        self._path = directory / "drift.json" if directory else None
        self._groups: list[str] = []
        self._member: Int32Array = np.empty(0, np.int32)

    def follow(self, intake: Intake, decisions: Decisions) -> None:
        """Look, if it is time. Cost: O(series) once every `drift.every`."""
        now = intake.now
        if intake.history or not self._watch.due(now):
            return
        self._grow()
        parts = self._pipeline.parts
        found, members = [], []
        for state in parts.host.states:
            seen = parts.kernel.readings(state)
            place, known = places(seen.value, seen.lower, seen.expected, seen.upper)
            known &= seen.timestamp > now - self._fresh
            found.append(place[known])
            members.append(self._member[seen.series_id[known]])
        self._watch.look(now, self._groups, np.concatenate(found), np.concatenate(members))

    def readings(self) -> Sequence[DriftReading]:
        """Every group of series, by name."""
        return list(self._watch.readings())

    def load(self) -> None:
        """Go on where the last process was, if it watched the same model."""
        if self._path is None or not self._path.exists():
            return
        head, _, body = self._path.read_bytes().partition(b"\n")
        if head != self._mark():
            return  # another model decides: what fitted the old one says nothing
        try:
            self._watch.load(body)
        except CorruptDataError as error:
            _logger.warning("drift watch begins anew", file=str(self._path), reason=str(error))

    def save(self) -> None:
        """Write the state down; the file is replaced as a whole."""
        if self._path is None:
            return
        new = self._path.with_name(f"{self._path.name}.new")
        new.write_bytes(self._mark() + b"\n" + self._watch.dump())
        new.replace(self._path)

    def _mark(self) -> bytes:
        """Names the form of the file and the model."""
        return _HEAD + self._pipeline.parts.kernel.version.encode()

    def _grow(self) -> None:
        """Give series that are new their group."""
        known = len(self._member)
        fresh = self._pipeline.parts.registry.since(known)
        if not fresh:
            return
        place = {name: index for index, name in enumerate(self._groups)}
        for one in fresh:
            name = group_of(one.spec)
            if name not in place:
                place[name] = len(self._groups)
                self._groups.append(name)
        added = np.array([place[group_of(one.spec)] for one in fresh], np.int32)
        self._member = np.concatenate([self._member, added])


class Watchers:
    """The drift watch and the shadow of a running pipeline.

    Args:
        settings: Those that are in effect, with what was promoted.
        pipeline: The live one.
        receivers: Who is told.
        directory: The data directory; None when nothing outlives the process.
        running: Name of the promoted model that is in effect.
    """

    def __init__(
        self,
        settings: Settings,
        pipeline: Pipeline,
        receivers: Sequence[Receiver],
        directory: Path | None,
        running: str | None,
    ) -> None:
        self._settings = settings
        self._pipeline = pipeline
        self._receivers = receivers
        self._book = ModelBook(directory) if directory else None
        self._directory = directory
        self._running = running
        self._wanted: str | None = None
        self.shadow: Shadow | None = None
        self.drift = DriftFollower(settings, pipeline, directory)

    def follow(self, intake: Intake, decisions: Decisions) -> None:
        """Show both what came and what was decided."""
        self.drift.follow(intake, decisions)
        if self.shadow is not None:
            self.shadow.follow(intake, decisions)

    def refresh(self) -> None:
        """Begin or end the shadow, as was asked for since; hold the runner's lock."""
        wanted = (self._book.shadow if self._book else None) or self._settings.detect.shadow
        if wanted == self._wanted:
            return
        self._wanted, self.shadow = wanted, None
        if wanted is None:
            return
        try:
            settings, directory = self._candidate(wanted)
            self.shadow = Shadow(wanted, settings, self._pipeline, self._receivers, directory)
        except DosError as error:
            _logger.warning("no shadow", model=wanted, reason=str(error))
            return
        _logger.info("shadow begins", model=wanted)

    def status(self) -> ModelsStatus:
        """What decides, what runs beside it, and what there is."""
        book = self._book
        return ModelsStatus(
            live=book.live if book else None,
            running=self._running,
            shadow=self.shadow.status() if self.shadow else None,
            candidates=tuple(book.candidates()) if book else (),
            log=tuple(book.log) if book else (),
        )

    def _candidate(self, wanted: str) -> tuple[Settings, Path | None]:
        """Settings of a candidate by name, or of a file or folder, and where it may write.

        Raises:
            DosError: There is neither.
        """
        if self._book is not None and wanted in {one.name for one in self._book.candidates()}:
            home = self._directory / "models" / wanted if self._directory else None
            return self._book.settings_of(wanted, self._settings), home
        return settings_from(Path(wanted), self._settings), None
