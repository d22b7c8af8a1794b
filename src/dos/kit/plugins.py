"""One file is one plugin.

`type: mad` in the configuration of a room means the module `<room>.mad`, imported by that name
only when used, so that a cloud SDK loads only where somebody asked for it. Each plugin module
holds a pydantic `Config`, one class that satisfies the room's protocol, and
`PLUGIN = Plugin(Config, TheClass)`. Third parties publish an entry point in a group named after
the room (for example `dos.ingest.sources`).
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

from dos.kit.errors import ConfigError

C = TypeVar("C", bound=BaseModel)
T = TypeVar("T")

_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Plugin(Generic[C, T]):
    """What a plugin module offers: its configuration model and how to build it from one."""

    config: type[C]
    """Pydantic model of the plugin's own keys (without `type` and `name`)."""
    build: Callable[..., T]
    """Called as `build(config, **context)`; each room says which context it gives."""


def load(room: str, name: str, also: Mapping[str, str] | None = None) -> Plugin[Any, Any]:
    """Find the plugin `name` of `room` (a package name such as `dos.ingest.sources`).

    Args:
        room: The package whose modules are the built-in plugins; also the entry-point group.
        name: The `type:` a user wrote.
        also: Further built-in names and the modules that hold them, for plugins that live
            elsewhere in the house.

    Raises:
        ConfigError: No such plugin; the message lists those there are.
    """
    if _NAME.fullmatch(name):
        module_name = (also or {}).get(name, f"{room}.{name}")
        try:
            module = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            if error.name != module_name:
                msg = f"{room}: type {name!r} needs the Python package {error.name!r}."
                raise ConfigError(msg, remedy="Install the matching extra of DOS.") from error
        else:
            return _plugin_of(module, module_name)
        for entry in entry_points(group=room, name=name):
            return _plugin_of(entry.load(), entry.value)
    msg = f"{room}: there is no type {name!r}."
    raise ConfigError(msg, remedy=f"Use one of: {', '.join(names(room, also))}.")


def names(room: str, also: Mapping[str, str] | None = None) -> list[str]:
    """Every plugin name of `room`, sorted, without importing the plugins themselves."""
    package = importlib.import_module(room)
    found = {module.name for module in pkgutil.iter_modules(package.__path__)}
    found |= set(also or {})
    found |= {entry.name for entry in entry_points(group=room)}
    return sorted(name for name in found if not name.startswith("_"))


def resolve(path: str) -> Any:
    """The object named `package.module:attribute`, imported now.

    Lets a lower layer name the factory that a higher layer provides without importing it.
    """
    module_name, _, attribute = path.partition(":")
    return getattr(importlib.import_module(module_name), attribute)


def _plugin_of(module: object, where: str) -> Plugin[Any, Any]:
    plugin = module if isinstance(module, Plugin) else getattr(module, "PLUGIN", None)
    if not isinstance(plugin, Plugin):
        msg = f"{where} is not a DOS plugin: it has no PLUGIN = Plugin(Config, Class)."
        raise ConfigError(msg)
    return plugin
