"""From a file and the environment to `Settings`, or to a list of problems with places.

find ─▶ read YAML ─▶ lay DOS_… variables over it ─▶ validate ─▶ Settings
                                                       └─▶ ValidationError ─▶ Problems
"""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from dos.app.settings import Settings
from dos.app.settings_explain import explain
from dos.kit.errors import ConfigError
from dos.kit.yaml_source import Document, DocumentError, Location, Problem, Value, read

DEFAULT_FILE = Path("config.yaml")
PREFIX = "DOS_"
FILE_VARIABLE = "DOS_CONFIG"


class SettingsError(ConfigError):
    """The configuration is wrong in one or more places."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        lines = [str(problem) for problem in problems]
        heading = [f"the configuration has {len(lines)} problems:"] if len(lines) > 1 else []
        super().__init__("\n".join(heading + lines))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """Settings and the file they came from."""

    settings: Settings
    path: Path | None
    """None: there was no file."""


def find(path: Path | None, env: Mapping[str, str]) -> Path | None:
    """The configuration file: `path`, else `$DOS_CONFIG`, else `./config.yaml`, else none.

    A file that was named must exist (reading it reports when it does not); only the last one
    may be missing.
    """
    if path is not None:
        return path
    if env.get(FILE_VARIABLE):
        return Path(env[FILE_VARIABLE])
    return DEFAULT_FILE if DEFAULT_FILE.is_file() else None


def load(path: Path | None = None, env: Mapping[str, str] | None = None) -> Loaded:
    """Find, read and validate the configuration.

    Args:
        path: The file, when one was named.
        env: The environment; the process's own by default.

    Raises:
        SettingsError: With every problem that was found.
    """
    env = os.environ if env is None else env
    found = find(path, env)
    if found is None:
        document = Document(source="defaults", value={})
    else:
        try:
            document = read(found)
        except DocumentError as error:
            raise SettingsError(error.problems) from error
    return Loaded(settings=validate(document, env), path=found)


def validate(document: Document, env: Mapping[str, str]) -> Settings:
    """Settings from a document and the environment.

    Raises:
        SettingsError: With every problem that was found.
    """
    value, variables, problems = _overlay(document.value, env)
    try:
        settings = Settings.model_validate(value)
    except ValidationError as error:
        problems += explain(error, Settings, value, document, variables)
    else:
        if not problems:
            return settings
    raise SettingsError(problems)


def _overlay(
    value: dict[str, Value], env: Mapping[str, str]
) -> tuple[dict[str, Value], dict[Location, str], list[Problem]]:
    """`value` with the `DOS_…` variables laid over it, and which variable set which place."""
    result = copy.deepcopy(value)
    variables: dict[Location, str] = {}
    problems: list[Problem] = []
    # Shorter names first: DOS_SOURCES as a whole, then DOS_SOURCES__0__URL within it.
    for name in sorted(env, key=lambda name: (name.count("__"), name)):
        if not name.startswith(PREFIX) or name == FILE_VARIABLE:
            continue
        parts = name.removeprefix(PREFIX).lower().split("__")
        # A variable of one word that is no key is not ours: Kubernetes gives every pod
        # DOS_PORT and DOS_SERVICE_HOST when there is a Service called `dos`.
        if len(parts) == 1 and parts[0] not in Settings.model_fields:
            continue
        try:
            location = _put(result, parts, _parse_variable(env[name]))
        except ValueError as error:
            source = f"environment variable {name}"
            problems.append(Problem(source=source, mark=None, location=(), message=str(error)))
        else:
            variables[location] = name
    return result, variables, problems


def _parse_variable(text: str) -> Value:
    """JSON where it begins like a list or an object, `null`, else the text itself.

    Numbers and booleans stay text: validation reads them as the key's type demands, and a token
    of digits stays a token.
    """
    if text == "null":
        return None
    if not text.lstrip().startswith(("[", "{")):
        return text
    try:
        parsed: Value = json.loads(text)
    except json.JSONDecodeError as error:
        msg = f"begins like JSON but is not: {error.msg} at character {error.pos + 1}"
        raise ValueError(msg) from None
    return parsed


def _put(root: dict[str, Value], parts: Sequence[str], new: Value) -> Location:
    """Set the place that `parts` name in `root`, making the way there; returns the place."""
    here: dict[str, Value] | list[Value] = root
    location: list[str | int] = []
    for part, following in zip(parts, [*parts[1:], None], strict=True):
        below = new
        if following is not None:
            below = _get(here, part)
            if not isinstance(below, (dict, list)):
                below = [] if following.isdecimal() else {}
        location.append(_set(here, part, below))
        if isinstance(below, (dict, list)):
            here = below
    return tuple(location)


def _get(container: dict[str, Value] | list[Value], part: str) -> Value:
    if isinstance(container, dict):
        return container.get(part)
    return container[int(part)] if part.isdecimal() and int(part) < len(container) else None


def _set(container: dict[str, Value] | list[Value], part: str, new: Value) -> str | int:
    """Set or append; returns the key or index it has."""
    if isinstance(container, dict):
        container[part] = new
        return part
    if not part.isdecimal() or int(part) > len(container):
        msg = f"{part!r} is not an index from 0 to {len(container)} (the next new item)"
        raise ValueError(msg)
    container[int(part) : int(part) + 1] = [new]
    return int(part)
