"""The models of a data directory: candidates, what was promoted, and who did so when and why.

::

    models/state.json            what is live, what runs in shadow, and the log of changes
    models/<name>/candidate.json where it came from, and its `detect` section
    models/<name>/model.onnx, card.json         its network, where it has one

A candidate is made from a configuration file, whose `detect` section it is, or from a folder with
a network (`dos train detect`), which the detector named in its card then uses. It never changes.
What is promoted takes the place of the `detect` section at the next start; the configuration file
stays as it is. `state.json` is replaced as a whole, under a lock, so a kill at any moment leaves
the state before or the one after.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from dos.app.settings import DetectSettings, Settings
from dos.app.settings_load import load
from dos.kit.clock import Millis
from dos.kit.errors import ConfigError, CorruptDataError, PermanentError
from dos.ml.card import CARD, MODEL, read_card
from dos.model.candidate import Candidate, ModelAction, ModelChange

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class _State(BaseModel):
    """`state.json`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: int = 1
    live: str | None = None
    shadow: str | None = None
    log: tuple[ModelChange, ...] = ()
    """Oldest first."""


class _Made(BaseModel):
    """`candidate.json`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: int = 1
    name: str
    made_at: int
    origin: str
    detect: dict[str, Any]
    network: str | None = None
    """The detector that uses the network."""


class ModelBook:
    """The models in `directory`, a data directory. Safe to use from several processes."""

    def __init__(self, directory: Path) -> None:
        self._home = directory / "models"

    @property
    def live(self) -> str | None:
        """The promoted model, if one was."""
        return self._state().live

    @property
    def shadow(self) -> str | None:
        """What is to run beside the live one."""
        return self._state().shadow

    @property
    def log(self) -> Sequence[ModelChange]:
        """Who changed what and why, newest first."""
        return self._state().log[::-1]

    def candidates(self) -> list[Candidate]:
        """All candidates, by name."""
        return [
            Candidate(
                name=made.name,
                made_at=Millis(made.made_at),
                origin=made.origin,
                has_network=made.network is not None,
            )
            for path in sorted(self._home.glob("*/candidate.json"))
            for made in [self._made(path.parent.name)]
        ]

    def add(self, name: str, source: Path, present: Settings, now: Millis) -> None:
        """Make a candidate of a configuration file or a network's folder.

        Args:
            name: Not taken yet.
            source: The file or folder; what is needed of it is copied.
            present: Whose `detect` section a network is put into.
            now: The time.

        Raises:
            ConfigError: The name is taken or no name, or `source` is neither.
            SettingsError: The configuration has mistakes.
            DosError: The network cannot be read.
        """
        if not _NAME.fullmatch(name):
            msg = f"{name!r} is no name of a model."
            raise ConfigError(msg, remedy="Use letters, digits, dots, dashes and underscores.")
        if (self._home / name).exists():
            raise ConfigError(f"There is a model {name!r} already.", remedy="Choose another name.")
        detect, network = _detect_of(source, present)
        made = _Made(
            name=name,
            made_at=now,
            origin=str(source),
            detect=detect,
            network=network,
        )
        new = self._home / f".{name}.new"
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        if network is not None:
            for part in (MODEL, CARD):
                shutil.copyfile(source / part, new / part)
        _write(new / "candidate.json", made.model_dump_json(indent=2) + "\n")
        new.rename(self._home / name)

    def settings_of(self, name: str, present: Settings) -> Settings:
        """The present settings with the `detect` section of a candidate.

        Raises:
            PermanentError: There is no such candidate.
            ConfigError: This version of DOS does not understand its section.
        """
        made = self._made(name)
        return _with(made.detect, made.network, self._home / name, present, name)

    def applied(self, present: Settings) -> Settings:
        """The present settings, with what was promoted in the place of `detect`."""
        live = self.live
        return present if live is None else self.settings_of(live, present)

    def run_beside(self, name: str | None, *, by: str, now: Millis, note: str = "") -> None:
        """Let a candidate run in shadow, or none.

        Raises:
            PermanentError: There is no such candidate.
        """
        if name is not None:
            self._made(name)
        action = ModelAction.STOPPED if name is None else ModelAction.SHADOWED
        with self._changing() as state:
            change = ModelChange(
                at=now, by=by, action=action, name=name, previous=state.shadow, note=note
            )
            self._save(state.model_copy(update={"shadow": name}), change)

    def promote(self, name: str, *, by: str, now: Millis, note: str = "") -> None:
        """Let a candidate decide from the next start on; its shadow ends.

        Raises:
            PermanentError: There is no such candidate, or it is live already.
        """
        self._made(name)
        with self._changing() as state:
            if state.live == name:
                raise PermanentError(f"The model {name!r} is live already.")
            change = ModelChange(
                at=now,
                by=by,
                action=ModelAction.PROMOTED,
                name=name,
                previous=state.live,
                note=note,
            )
            shadow = None if state.shadow == name else state.shadow
            self._save(state.model_copy(update={"live": name, "shadow": shadow}), change)

    def roll_back(self, *, by: str, now: Millis, note: str = "") -> str | None:
        """Undo the newest promotion that was not undone; returns what is live then.

        Raises:
            PermanentError: Nothing was promoted.
        """
        with self._changing() as state:
            if state.live is None:
                raise PermanentError("Nothing was promoted: the configuration decides.")
            previous = _before(state.log, state.live)
            change = ModelChange(
                at=now,
                by=by,
                action=ModelAction.ROLLED_BACK,
                name=previous,
                previous=state.live,
                note=note,
            )
            self._save(state.model_copy(update={"live": previous}), change)
        return previous

    def _made(self, name: str) -> _Made:
        path = self._home / name / "candidate.json"
        try:
            if not _NAME.fullmatch(name):
                raise FileNotFoundError
            return _Made.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            msg = f"There is no model {name!r}."
            raise PermanentError(msg, remedy="`dos models list` shows them.") from None
        except ValidationError as error:
            msg = f"{path} is damaged: {error.errors()[0]['msg']}."
            raise CorruptDataError(msg, remedy="Restore it, or make the candidate anew.") from error

    def _state(self) -> _State:
        path = self._home / "state.json"
        try:
            return _State.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return _State()
        except ValidationError as error:
            msg = f"{path} is damaged: {error.errors()[0]['msg']}."
            remedy = "Restore it, or remove it: the configuration then decides."
            raise CorruptDataError(msg, remedy=remedy) from error

    def _save(self, state: _State, change: ModelChange) -> None:
        after = state.model_copy(update={"log": (*state.log, change)})
        _write(self._home / "state.json", after.model_dump_json(indent=2) + "\n")

    @contextmanager
    def _changing(self) -> Iterator[_State]:
        """The state, which nobody else changes meanwhile."""
        self._home.mkdir(parents=True, exist_ok=True)
        lock = os.open(self._home / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield self._state()
        finally:
            os.close(lock)


def settings_from(source: Path, present: Settings) -> Settings:
    """The present settings with the `detect` section that a file or a network's folder stands for.

    Raises:
        ConfigError: `source` is neither a configuration nor a network's folder.
    """
    detect, network = _detect_of(source, present)
    return _with(detect, network, source, present, str(source))


def _with(
    detect: Mapping[str, Any], network: str | None, folder: Path, present: Settings, name: str
) -> Settings:
    """The present settings with this `detect` section, whose network is in `folder`."""
    section = dict(detect)
    if network is not None:
        model = {"model": str(folder.resolve())}
        if network == section["detector"]:
            section["parameters"] = {**section.get("parameters", {}), **model}
        else:
            options = section.get("options", {})
            section["options"] = {**options, network: {**options.get(network, {}), **model}}
    try:
        made = DetectSettings.model_validate(section)
    except ValidationError as error:
        msg = f"The model {name!r} cannot be used: {error.errors()[0]['msg']}."
        raise ConfigError(msg, remedy="It was made for another version of DOS.") from error
    return present.model_copy(update={"detect": made})


def _detect_of(source: Path, present: Settings) -> tuple[dict[str, Any], str | None]:
    """The `detect` section a candidate stands for, and the detector that uses its network.

    Raises:
        ConfigError: `source` is neither a configuration nor a network's folder.
    """
    if (source / MODEL).is_file():
        detector = read_card(source).name
        detect = _dump(present.detect)
        if detector not in {detect["detector"], *detect["beside"], *detect["closely"]}:
            detect["closely"] = [*detect["closely"], detector]
        return detect, detector
    if not source.is_file():
        msg = f"{source} is neither a configuration nor a folder with {MODEL}."
        raise ConfigError(msg, remedy="`dos train detect --out DIR` makes such a folder.")
    return _dump(load(source, env={}).settings.detect), None


def _dump(detect: DetectSettings) -> dict[str, Any]:
    return detect.model_dump(mode="json", exclude={"shadow"})


def _before(log: Sequence[ModelChange], live: str) -> str | None:
    """What was live before `live` was promoted last."""
    promotions = (
        one for one in reversed(log) if one.action is ModelAction.PROMOTED and one.name == live
    )
    newest = next(promotions, None)
    return newest.previous if newest else None


def _write(path: Path, text: str) -> None:
    """Write a small file as a whole or not at all."""
    new = path.with_name(f"{path.name}.new")
    with new.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
