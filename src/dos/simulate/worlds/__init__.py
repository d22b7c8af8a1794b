"""The worlds that come with DOS, by name, the generator, and those that somebody wrote in YAML."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from dos.kit.errors import ConfigError
from dos.simulate import world_file
from dos.simulate.world import World
from dos.simulate.worlds.generated import generate
from dos.simulate.worlds.online_boutique import online_boutique
from dos.simulate.worlds.shop import shop
from dos.simulate.worlds.sketch import sketch
from dos.simulate.worlds.train_ticket import train_ticket

__all__ = ["BUILT_IN", "generate", "online_boutique", "shop", "sketch", "train_ticket", "world"]

BUILT_IN: dict[str, Callable[[], World]] = {
    "shop": shop,
    "sketch": sketch,
    "online-boutique": online_boutique,
    "train-ticket": train_ticket,
}
FILES = {".yaml", ".yml"}
"""What the name of a file with a world ends in."""


def world(name: str, *, services: int = 50, seed: int = 0) -> World:
    """The built-in world `name`, a generated one for `generated` (`services`, `seed`), or a file's.

    Raises:
        ConfigError: There is no such world, or the file is not one.
    """
    if name == "generated":
        return generate(services, seed)
    if name in BUILT_IN:
        return BUILT_IN[name]()
    if Path(name).suffix in FILES:
        return world_file.read(Path(name))
    msg = f"There is no world {name!r}."
    known = ", ".join([*BUILT_IN, "generated"])
    raise ConfigError(msg, remedy=f"Use one of: {known}, or a YAML file with one.")
